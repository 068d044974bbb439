"""Contamination: keeps the questions that adapters are evaluated on out of training.

A pair that asks a golden question, in the same or nearly the same words (see
`question_matching.py`), is refused on import, on approval, and at the start of a run. A golden
question is refused if a trainable pair asks the same. The message names both, because a person has
to decide which one to keep.

Between training and validation nobody has to decide: `datasets.split` puts pairs whose questions
match on one side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from data.domains import Domain
from data.pairs import datasets, pairs
from data.pairs.pairs import SELECT, Draft, Pair, _pair
from data.pairs.question import question_text
from data.pairs.question_matching import Index, Match
from data.store.db import rows, value
from data.store.errors import Conflict, Invalid

SHOWN = 5  # contaminated pairs that an error message names
SHORT = 90  # characters of a question that an error message quotes

Side = Literal["golden", "trainable"]


class Leak(Conflict):
    """The same question would be both trained on and evaluated."""


class Guard:
    """Refuses contaminated drafts, one by one. Each accepted draft counts for the next check."""

    def __init__(self, db: Database, domain: Domain) -> None:
        self._db = db
        self._domain = domain
        self._indexes: dict[Side, Index[int]] = {}

    def refuse(self, draft: Draft | Pair) -> None:
        """Raises Leak, naming both questions."""
        golden = draft.split == "golden"
        match = self._index("trainable" if golden else "golden").find(question_text(draft))
        if match is not None:
            raise Leak(_sentence(draft.prompt, match, golden=golden))

    def note(self, pair_id: int, draft: Draft | Pair) -> None:
        """Record that the draft was added."""
        side: Side = "golden" if draft.split == "golden" else "trainable"
        if side in self._indexes:
            self._indexes[side].add(pair_id, question_text(draft))

    def _index(self, side: Side) -> Index[int]:
        """Built on first use: most files contain no golden questions."""
        if side not in self._indexes:
            index: Index[int] = Index()
            for pair in pairs.list_pairs(self._db, self._domain):
                if (pair.split == "golden") == (side == "golden") and _counts(pair):
                    index.add(pair.id, question_text(pair))
            self._indexes[side] = index
        return self._indexes[side]


@dataclass(frozen=True)
class PairsState:
    """How far the pairs of a domain were when somebody read them."""

    last_id: int
    revision: int  # of the search index, which counts changes of approved pairs


def state(db: Database, domain: Domain) -> PairsState:
    """The state to give to `refuse_changed` later."""
    last = value(db, "SELECT coalesce(max(id), 0) FROM pairs")
    sql = "SELECT coalesce(max(revision), 0) FROM search_changes WHERE domain_id = ?"
    return PairsState(int(last), int(value(db, sql, [domain.id])))


def refuse_changed(db: Database, domain: Domain, golden: Draft, since: PairsState) -> None:
    """Raises Leak if a pair that was added or approved since then asks the golden question. A pair
    that still waits for review is refused when it is approved."""
    index: Index[int] = Index()
    for found in rows(db, CHANGED, [domain.id, since.last_id, domain.id, since.revision]):
        if _counts(pair := _pair(found)):
            index.add(pair.id, question_text(pair))
    if match := index.find(question_text(golden)):
        raise Leak(_sentence(golden.prompt, match, golden=True))


# the pairs are looked up one by one: with OR, SQLite reads the whole domain, under the write lock
CHANGED = f"""
{SELECT} WHERE domain_id = ? AND split <> 'golden' AND forgotten_at IS NULL AND id IN (
    SELECT id FROM pairs WHERE id > ?
    UNION SELECT pair_id FROM search_changes WHERE domain_id = ? AND revision > ?
)
"""


def refuse_approval(db: Database, pair: Pair) -> None:
    """Raises Leak if approving the pair would let a question be both trained on and evaluated."""
    if leak := approval_leaks(db, [pair]).get(pair.id):
        raise leak


def approval_leaks(db: Database, found: Sequence[Pair]) -> dict[int, Leak]:
    """The pairs of one domain that cannot be approved, each with the reason: the question would be
    both trained on and evaluated. They are compared with the approved pairs of the other kind."""
    leaks: dict[int, Leak] = {}
    for golden in (True, False):
        some = [pair for pair in found if (pair.split == "golden") == golden]
        if not some:
            continue
        index: Index[int] = Index()
        others = "<>" if golden else "="
        sql = f"{SELECT} WHERE domain_id = ? AND status = 'approved' AND split {others} 'golden'"
        for other in rows(db, sql, [some[0].domain_id]):
            index.add(other["id"], question_text(_pair(other)))
        for pair in some:
            match = index.find(question_text(pair))
            if match is not None:
                sentence = _sentence(pair.prompt, match, golden=golden)
                leaks[pair.id] = Leak(f"Pair {pair.id} cannot be approved. {sentence}")
    return leaks


def refuse_leaks(db: Database, dataset_id: int) -> None:
    """The final check before a run: raises Invalid, naming the pairs, if the run would train on a
    question that it is evaluated on."""
    index: Index[int] = Index()
    for pair in datasets.pairs_of(db, dataset_id, "golden"):
        index.add(pair.id, question_text(pair))
    found = []
    for pair in datasets.pairs_of(db, dataset_id, "train"):
        if match := index.find(question_text(pair)):
            found.append(f"pair {pair.id} ({_short(pair.prompt)}) asks golden question {match.key} "
                         f"({_short(match.text)})")  # fmt: skip
    if found:
        more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise Invalid(
            f"Golden questions would be trained on: {'; '.join(found[:SHOWN])}{more}. Reject the "
            "pairs, or release the golden questions (`understudy pairs golden release`)."
        )


def refuse_earlier_answers(golden: Sequence[Pair], trained: Sequence[Pair]) -> None:
    """For a run that learns every answer of a conversation: raises Invalid, naming the pairs, if an
    earlier turn answers a golden question, asked alone or after the same turns."""
    found = [
        f"pair {pair.id} ({_short(asked)}) asks golden question {match.key}"
        for pair, asked, match in _earlier_questions(golden, trained)
    ]
    if found:
        more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise Invalid(
            f"Golden questions would be trained on: in an earlier turn {'; '.join(found[:SHOWN])}"
            f"{more}. Reject the pairs, or ask for loss_turns=last."
        )


def answered_earlier(held_out: Sequence[Pair], trained: Sequence[Pair]) -> set[int]:
    """The ids of the held-out pairs whose question an earlier turn of a trained pair asks, alone or
    after the same turns: such a run would learn the answer."""
    return {match.key for _, _, match in _earlier_questions(held_out, trained)}


def _earlier_questions(
    measured: Sequence[Pair], trained: Sequence[Pair]
) -> Iterator[tuple[Pair, str, Match[int]]]:
    """The trained pairs with an earlier turn that asks a measured question, and that turn."""
    index: Index[int] = Index()
    for pair in measured:
        index.add(pair.id, question_text(pair))
    for pair in trained:
        said = [turn.content for turn in pair.turns]
        for i, (turn, after) in enumerate(zip(pair.turns, pair.turns[1:], strict=False)):
            if (turn.role, after.role) != ("user", "assistant"):
                continue
            if match := index.find("\n".join(said[: i + 1])) or index.find(turn.content):
                yield pair, turn.content, match


def seen_by(db: Database, domain: Domain, golden: Sequence[Pair]) -> dict[int, tuple[str, ...]]:
    """Golden pair id -> the adapters that were trained on the same question before it became
    golden. Their figures on it say little."""
    index: Index[int] = Index()
    for pair in golden:
        index.add(pair.id, question_text(pair))
    trained = rows(
        db,
        "SELECT DISTINCT dp.pair_id, a.version FROM adapters a "
        "JOIN dataset_pairs dp ON dp.dataset_id = a.dataset_id AND dp.split = 'train' "
        "WHERE a.domain_id = ? ORDER BY a.version",
        [domain.id],
    )
    versions: dict[int, list[int]] = {}
    for r in trained:
        versions.setdefault(r["pair_id"], []).append(r["version"])
    if not versions:
        return {pair.id: () for pair in golden}
    found: dict[int, dict[str, None]] = {pair.id: {} for pair in golden}
    for pair in pairs.iterate_pairs(db, domain):
        if pair.id in versions and (match := index.find(question_text(pair))):
            found[match.key] |= {f"{domain.name}@{v}": None for v in versions[pair.id]}
    return {pair_id: tuple(names) for pair_id, names in found.items()}


def _counts(pair: Pair) -> bool:
    return pair.status in ("approved", "pending")


def _sentence(prompt: str, match: Match[int], *, golden: bool) -> str:
    how = "the same as" if match.kind == "exact" else "nearly the same as"
    if golden:
        return (
            f"The golden question {_short(prompt)} is {how} pair {match.key}, "
            f"{_short(match.text)}, which may be trained on. Rephrase it, or reject that "
            f"pair first: `understudy pairs reject {match.key}`."
        )
    return (
        f"{_short(prompt)} is {how} golden question {match.key}, {_short(match.text)}, which is "
        "never trained on. Leave it out, or make that an ordinary pair first: "
        f"`understudy pairs golden release {match.key}`."
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return f"“{line if len(line) <= SHORT else line[: SHORT - 1] + '…'}”"
