"""Preference sets: the rated answers that a preference-tuning run learns from.

A thumb does not say what would have been a better answer, only whether this answer was wanted, for
this question and after these turns. A rated answer is therefore useful only if the exact prompt can
be reconstructed; `tuning/training/preference_set.py` compares the number of tokens with the
engine's.

The answers are recorded when a run starts, so that a run that resumes after a crash, or that is
examined years later, refers to the same answers. Rated answers that a file brought
(`judged_answers.py`) count like the thumbs that people press.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlite_utils import Database

from data.conversations import conversations
from data.conversations.conversations import Message
from data.domains import Domain
from data.pairs import judged_answers, reply_sources
from data.pairs.reply_sources import Source
from data.people import identities
from data.store.db import Row, rows, value
from data.store.errors import Conflict

LEAST = 4  # liked answers, and as many disliked ones, that a run needs at least
MOST = 20_000  # ratings that a run learns from, the newest ones

MOST_EACH = 20  # ratings of one person that count, the newest ones, or `SHARE_EACH` of all
SHARE_EACH = 0.1

# a whole answer of the model, given in a conversation that nobody keeps from being learned
TRAINABLE = """
r.domain_id = ? AND r.status = 'done' AND r.finish_reason = 'stop'
  AND r.outcome = 'generated' AND r.constrained = 0
  AND NOT EXISTS (SELECT 1 FROM opt_outs o WHERE o.person = f.person OR o.person IN
    (SELECT e.person FROM replies e WHERE e.conversation_id = r.conversation_id))
"""
RATED = f"""
SELECT f.reply_id, f.person, f.value
FROM feedback f JOIN replies r ON r.id = f.reply_id
WHERE {TRAINABLE} AND f.kind = 'thumb' AND f.live = 1 AND f.counts = 1
ORDER BY r.created_at DESC, r.id, f.created_at DESC, f.id DESC
"""
# of an answer that a run was to learn: somebody whose words it would use opted out meanwhile
OPTED_OUT = """
EXISTS (SELECT 1 FROM opt_outs o JOIN replies e ON e.person = o.person
        WHERE e.conversation_id = r.conversation_id)
OR (EXISTS (SELECT 1 FROM feedback f JOIN opt_outs o ON o.person = f.person
            WHERE f.reply_id = r.id AND f.live = 1)
    AND NOT EXISTS (SELECT 1 FROM feedback f WHERE f.reply_id = r.id AND f.live = 1
                    AND f.counts = 1 AND f.person NOT IN (SELECT person FROM opt_outs)))
"""
JUDGES = """
SELECT j.reply_id, f.person FROM run_judgements j JOIN feedback f ON f.reply_id = j.reply_id
WHERE j.run_id = ? AND f.live = 1 AND f.counts = 1 AND (
  (f.kind = 'thumb' AND (f.value > 0.5) = j.liked)
  OR (f.kind = 'correction' AND f.pair_id = j.pair_id))
"""
RECORDED = """
SELECT EXISTS (SELECT 1 FROM run_judgements WHERE run_id = :run)
    OR EXISTS (SELECT 1 FROM run_judged_answers WHERE run_id = :run)
"""


class TooFewRated(Conflict):
    """Too few answers are liked or disliked, or have a better one."""


@dataclass(frozen=True)
class RatedReply:
    """One answer as it was given, and whether people liked it."""

    number: int  # within the run, from 1
    reply_id: str  # or, for an answer from a file, its file and line
    system: str | None  # the variant's own system prompt; None: the domain's
    turns: tuple[Message, ...]  # earlier messages, oldest first
    question: str
    answer: str
    liked: bool
    prompt_tokens: int | None  # as counted by the engine; None: no engine of ours gave the answer
    layout: int = 0  # of the references in the prompt (data/search/layout.py); 0: there were none
    references: tuple[Source, ...] = ()  # those that are still approved, the best first


def counts(db: Database, domain: Domain) -> tuple[int, int]:
    """The number of the domain's answers with more likes than dislikes, and with more dislikes than
    likes.

    Only verified people's ratings count (`data/people/identities.py`), and of one person the newest
    `MOST_EACH`, or `SHARE_EACH` of all if that is more: otherwise anybody could invent people, or
    press long enough, to decide what is learned. Ratings by people who opted out of learning do not
    count, nor answers in conversations that they took part in, nor ratings of quarantined raters.
    An answer with as many thumbs up as down counts as neither."""
    found = judged(db, domain)
    liked = sum(found.values())
    brought = judged_answers.counts(db, domain)
    return liked + brought[0], len(found) - liked + brought[1]


def judged(db: Database, domain: Domain) -> dict[str, bool]:
    """Reply -> whether it is liked, the newest first."""
    values: dict[str, list[float]] = {}
    for r in counted(db, rows(db, RATED, [domain.id])):
        values.setdefault(r["reply_id"], []).append(r["value"])
    means = {reply_id: sum(some) / len(some) for reply_id, some in values.items()}
    return {reply_id: mean > 0.5 for reply_id, mean in means.items() if mean != 0.5}


def counted(db: Database, found: Sequence[Row]) -> list[Row]:
    """The feedback of verified people, of each person the first `MOST_EACH`, or `SHARE_EACH` of all
    if that is more."""
    people = {r["person"] for r in found}
    verified = {person for person in people if identities.is_verified(db, person)}
    of_verified = [r for r in found if r["person"] in verified][:MOST]
    most = max(MOST_EACH, round(SHARE_EACH * len(of_verified)))
    taken: Counter[str] = Counter()
    kept = []
    for r in of_verified:
        taken[r["person"]] += 1
        if taken[r["person"]] <= most:
            kept.append(r)
    return kept


def check(db: Database, domain: Domain) -> None:
    """Raises TooFewRated if there are not enough rated answers to learn from."""
    liked, disliked = counts(db, domain)
    if min(liked, disliked) < LEAST:
        raise TooFewRated(
            f"{domain.name} has {liked} liked and {disliked} disliked answers. Learning from "
            f"ratings needs at least {LEAST} of each. People's ratings count if they are verified."
        )


def freeze(db: Database, run_id: int, domain: Domain) -> None:
    """Record which answers the run learns from. A resumed run keeps its answers."""
    if not value(db, RECORDED, {"run": run_id}):
        db.conn.executemany(
            "INSERT INTO run_judgements (run_id, reply_id, liked) VALUES (?, ?, ?)",
            [(run_id, reply_id, int(liked)) for reply_id, liked in judged(db, domain).items()],
        )
        judged_answers.freeze(db, run_id, domain, MOST)


def unlearned(db: Database, domain: Domain, runs: Sequence[int]) -> bool:
    """Whether one of the rated answers is new to all of these runs, or rated otherwise now."""
    now: set[tuple[str | int, int | None]] = {*judged(db, domain).items()}
    now |= {(answer.id, None) for answer in judged_answers.list_answers(db, domain, MOST)}
    of_these = "pair_id IS NULL AND run_id IN (SELECT value FROM json_each(:runs))"
    learned = rows(
        db,
        f"SELECT reply_id AS rated, liked FROM run_judgements WHERE {of_these} UNION ALL "
        f"SELECT answer_id, NULL FROM run_judged_answers WHERE chosen_id IS NULL AND {of_these}",
        {"runs": orjson.dumps(runs).decode()},
    )
    return bool(now - {(r["rated"], r["liked"]) for r in learned})


def judges_of_run(db: Database, run_id: int) -> dict[str, tuple[str, ...]]:
    """Reply -> the verified people whose thumb or correction the run learns from, as far as they
    are known now. Rated answers from files have none."""
    found: dict[str, set[str]] = {}
    for r in rows(db, JUDGES, [run_id]):
        if identities.is_verified(db, r["person"]):
            found.setdefault(r["reply_id"], set()).add(r["person"])
    return {reply_id: tuple(sorted(people)) for reply_id, people in found.items()}


def of_run(db: Database, run_id: int, history_turns: int) -> list[RatedReply]:
    """The answers of a run with their words, those from files first, then oldest first, except
    those that have been erased, and those of people who have opted out since it began.
    `history_turns` is the setting that the bot had when it asked."""
    found = rows(
        db,
        "SELECT j.reply_id, j.liked, r.prompt_tokens, r.layout, r.conversation_id, "
        "v.system_prompt, q.id AS asked_as, q.text AS question, a.text AS answer "
        "FROM run_judgements j "
        "JOIN replies r ON r.id = j.reply_id LEFT JOIN variants v ON v.id = r.variant_id "
        "JOIN messages q ON q.reply_id = r.id AND q.role = 'user' "
        "JOIN messages a ON a.reply_id = r.id AND a.role = 'assistant' "
        f"WHERE j.run_id = ? AND a.text <> '' AND q.text <> '' AND NOT ({OPTED_OUT}) "
        "ORDER BY r.created_at, r.id",
        [run_id],
    )
    sources = reply_sources.of_replies(db, [r["reply_id"] for r in found if r["layout"]])
    from_files = [
        RatedReply(
            number=number,
            reply_id=answer.source_ref,
            system=answer.system or None,
            turns=tuple(Message(turn.role, turn.content) for turn in answer.turns),
            question=answer.prompt,
            answer=answer.response,
            liked=answer.liked,
            prompt_tokens=None,
        )
        for number, answer in enumerate(judged_answers.of_run(db, run_id), start=1)
    ]
    return from_files + [
        RatedReply(
            number=number,
            reply_id=r["reply_id"],
            system=r["system_prompt"],
            turns=tuple(
                conversations.history(db, r["conversation_id"], history_turns, before=r["asked_as"])
            ),
            question=r["question"],
            answer=r["answer"],
            liked=bool(r["liked"]),
            prompt_tokens=r["prompt_tokens"],
            layout=r["layout"],
            references=sources.get(r["reply_id"], ()) if r["layout"] else (),
        )
        for number, r in enumerate(found, start=len(from_files) + 1)
    ]
