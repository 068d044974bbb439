"""Preference pairs: an answer that was given, and one that is preferred to it, for DPO.

The rejected answer is one of these:

- one that a verified person corrected, once a reviewer approved the correction, which is preferred;
- one that verified people rated down, if an approved pair answers the same question otherwise;
- a disliked answer from a file, if an approved pair, or else a liked answer of a file, answers the
  same question otherwise.

So what people and the model write is only preferred once a reviewer has approved it, and of files
what they say is liked. Of one person as many corrections and ratings count as in
`preference_sets.py`. The pairs are recorded when a run starts, as rated answers are.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import orjson
from sqlite_utils import Database

from data.conversations import conversations
from data.domains import Domain
from data.pairs import current_answers, judged_answers, pairs, preference_sets
from data.pairs.judged_answers import JudgedAnswer
from data.pairs.pairs import Pair, normalise
from data.pairs.preference_sets import LEAST, MOST, RECORDED, TRAINABLE, RatedReply, TooFewRated
from data.store.db import rows, value

CORRECTED = f"""
SELECT f.reply_id, f.person, f.pair_id
FROM feedback f JOIN replies r ON r.id = f.reply_id
WHERE {TRAINABLE} AND f.kind = 'correction' AND f.live = 1 AND f.counts = 1
  AND f.pair_id IS NOT NULL
ORDER BY f.created_at DESC, f.id DESC
"""
OPENING = """
SELECT r.id FROM replies r WHERE r.id IN (SELECT value FROM json_each(?)) AND NOT EXISTS
  (SELECT 1 FROM replies e WHERE e.conversation_id = r.conversation_id
   AND e.created_at < r.created_at)
"""


@dataclass(frozen=True)
class PreferencePair:
    """A rejected answer with its prompt, and the preferred one."""

    rejected: RatedReply
    chosen: str


@dataclass(frozen=True)
class _Chosen:
    """The pairs of a domain now: which is preferred to which answer."""

    of_replies: Mapping[str, int]  # reply -> approved pair
    of_answers: Mapping[int, int]  # rated answer of a file -> approved pair
    among_answers: Mapping[int, int]  # rated answer of a file -> liked one of the file

    def __len__(self) -> int:
        return len(self.of_replies) + len(self.of_answers) + len(self.among_answers)


def count(db: Database, domain: Domain) -> int:
    """The number of preference pairs."""
    return len(_found(db, domain))


def unlearned(db: Database, domain: Domain, runs: Sequence[int]) -> bool:
    """Whether one of the preference pairs is new to all of these runs."""
    found = _found(db, domain)
    now: set[tuple[str | int, int]] = {*found.of_replies.items(), *found.of_answers.items()}
    now |= {(answer_id, -chosen) for answer_id, chosen in found.among_answers.items()}
    of_these = "run_id IN (SELECT value FROM json_each(:runs))"
    learned = rows(
        db,
        f"SELECT reply_id AS rejected, pair_id AS chosen FROM run_judgements WHERE {of_these} "
        "UNION ALL SELECT answer_id, coalesce(pair_id, -chosen_id) FROM run_judged_answers "
        f"WHERE {of_these}",
        {"runs": orjson.dumps(runs).decode()},
    )
    return bool(now - {(r["rejected"], r["chosen"]) for r in learned})


def check(db: Database, domain: Domain) -> None:
    """Raises TooFewRated if there are not enough preference pairs to learn from."""
    found = count(db, domain)
    if found < LEAST:
        raise TooFewRated(
            f"{domain.name} has {found} answers with a better one: approved corrections by "
            "verified people, and answers rated down to questions that an approved pair answers. "
            f"DPO needs at least {LEAST}."
        )


def freeze(db: Database, run_id: int, domain: Domain) -> None:
    """Record which pairs the run learns from. A resumed run keeps its pairs."""
    if value(db, RECORDED, {"run": run_id}):
        return
    found = _found(db, domain)
    db.conn.executemany(
        "INSERT INTO run_judgements (run_id, reply_id, liked, pair_id) VALUES (?, ?, 0, ?)",
        [(run_id, reply_id, pair_id) for reply_id, pair_id in found.of_replies.items()],
    )
    db.conn.executemany(
        "INSERT INTO run_judged_answers (run_id, answer_id, pair_id) VALUES (?, ?, ?)",
        [(run_id, answer_id, pair_id) for answer_id, pair_id in found.of_answers.items()],
    )
    db.conn.executemany(
        "INSERT INTO run_judged_answers (run_id, answer_id, chosen_id) VALUES (?, ?, ?)",
        [(run_id, answer_id, chosen) for answer_id, chosen in found.among_answers.items()],
    )


def of_run(db: Database, run_id: int, history_turns: int) -> list[PreferencePair]:
    """The pairs of a run with their words, except those that have been erased, and those whose
    preferred answer is no longer approved."""
    found = rows(
        db,
        "SELECT j.reply_id, p.response FROM run_judgements j JOIN pairs p ON p.id = j.pair_id "
        "WHERE j.run_id = ? AND p.status = 'approved' AND p.forgotten_at IS NULL",
        [run_id],
    )
    chosen = {r["reply_id"]: r["response"] for r in found}
    in_files = rows(
        db,
        "SELECT a.source_ref, coalesce(p.response, c.response) AS response "
        "FROM run_judged_answers j JOIN judged_answers a ON a.id = j.answer_id "
        "LEFT JOIN pairs p ON p.id = j.pair_id AND p.status = 'approved' "
        "AND p.forgotten_at IS NULL LEFT JOIN judged_answers c ON c.id = j.chosen_id "
        "WHERE j.run_id = ? AND NOT a.liked",
        [run_id],
    )
    chosen |= {r["source_ref"]: r["response"] for r in in_files if r["response"] is not None}
    rejected = preference_sets.of_run(db, run_id, history_turns)
    return [PreferencePair(one, chosen[one.reply_id]) for one in rejected if one.reply_id in chosen]


def _found(db: Database, domain: Domain) -> _Chosen:
    approved = [p for p in pairs.list_pairs(db, domain, "approved") if p.split != "golden"]
    current = current_answers.current_pairs(approved)
    valid = {p.id: p for p in current.pairs if p.id not in current.replaced_by}
    better = _by_question(valid.values())
    replies = {**_wrong(db, domain, better), **_corrected(db, domain, valid)}
    answers, among = _in_files(judged_answers.list_answers(db, domain, MOST), better)
    return _Chosen(dict(list(replies.items())[:MOST]), answers, among)


def _by_question(valid: Collection[Pair]) -> dict[str, Pair]:
    """Question -> the newest pair that asks it alone, under the domain's system prompt."""
    return {normalise(p.prompt): p for p in valid if not p.turns and not p.system}


def _corrected(db: Database, domain: Domain, valid: Mapping[int, Pair]) -> dict[str, int]:
    """Reply -> the newest approved correction of a verified person."""
    counted = preference_sets.counted(db, rows(db, CORRECTED, [domain.id]))
    found: dict[str, int] = {}
    for r in counted:
        if r["pair_id"] in valid:
            found.setdefault(r["reply_id"], r["pair_id"])
    return _otherwise(db, found, lambda pair_id: valid[pair_id].response)


def _wrong(db: Database, domain: Domain, better: Mapping[str, Pair]) -> dict[str, int]:
    """Reply that was rated down -> the approved pair that answers its question. Only the first
    question of a conversation: what a later one means depends on the turns before it."""
    disliked = [one for one, liked in preference_sets.judged(db, domain).items() if not liked]
    opening = rows(db, OPENING, [orjson.dumps(disliked).decode()])
    found: dict[str, int] = {}
    for r in opening:
        question, _ = conversations.exchange(db, r["id"])
        pair = better.get(normalise(question))
        if pair is not None:
            found[r["id"]] = pair.id
    responses = {pair.id: pair.response for pair in better.values()}
    return _otherwise(db, found, lambda pair_id: responses[pair_id])


def _otherwise(
    db: Database, found: Mapping[str, int], response: Callable[[int], str]
) -> dict[str, int]:
    """Without the replies that say the same as the preferred answer."""
    return {
        reply_id: pair_id
        for reply_id, pair_id in found.items()
        if normalise(conversations.exchange(db, reply_id)[1]) != normalise(response(pair_id))
    }


def _in_files(
    rated: Collection[JudgedAnswer], better: Mapping[str, Pair]
) -> tuple[dict[int, int], dict[int, int]]:
    """Disliked answer -> the approved pair that answers its question; and, where there is none,
    the newest liked answer to the same prompt."""
    liked = {(a.system, a.turns, normalise(a.prompt)): a for a in rated if a.liked}
    by_pair: dict[int, int] = {}
    by_answer: dict[int, int] = {}
    for one in rated:
        if one.liked:
            continue
        pair = None if one.turns or one.system else better.get(normalise(one.prompt))
        other = liked.get((one.system, one.turns, normalise(one.prompt)))
        if pair is not None and normalise(pair.response) != normalise(one.response):
            by_pair[one.id] = pair.id
        elif other is not None and normalise(other.response) != normalise(one.response):
            by_answer[one.id] = other.id
    return by_pair, by_answer
