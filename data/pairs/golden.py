"""The golden set of a domain: frozen questions that every adapter is measured on and none is
trained on.

A question is golden because its pair is marked so, and its words never change. What is trained must
not ask the same (`contamination.py` says what is the same): it is refused when it is imported, when
it is approved, and when a run begins; a golden question is refused when a trainable pair asks it.
Both are named each time, because a person has to decide which one is to stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from data.domains import Domain
from data.pairs import datasets, pairs
from data.pairs.contamination import Index, Match
from data.pairs.pairs import SELECT, Draft, Pair, _pair
from data.pairs.question import question_text
from data.store import audit
from data.store.db import rows
from data.store.errors import Conflict, Invalid, NotFound

SHOWN = 5  # leaks that a refusal names
SHORT = 90  # characters of a question in a sentence

Side = Literal["golden", "trainable"]


class Leak(Conflict):
    """The same question would be both measured and trained."""


@dataclass(frozen=True)
class GoldenAdded:
    pair: Pair
    seen_by: tuple[str, ...]  # adapters that were trained on the same question before


class Guard:
    """Refuses drafts that leak, one after the other; what was let through counts for the next."""

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
        """It is there now."""
        side: Side = "golden" if draft.split == "golden" else "trainable"
        if side in self._indexes:
            self._indexes[side].add(pair_id, question_text(draft))

    def _index(self, side: Side) -> Index[int]:
        """Made when it is first needed: most files have nothing golden in them."""
        if side not in self._indexes:
            index: Index[int] = Index()
            for pair in pairs.list_pairs(self._db, self._domain):
                if (pair.split == "golden") == (side == "golden") and _counts(pair):
                    index.add(pair.id, question_text(pair))
            self._indexes[side] = index
        return self._indexes[side]


def add(
    db: Database, domain: Domain, prompt: str, response: str, actor: str, fact: str = ""
) -> GoldenAdded:
    """Add a golden question. Raises Leak when a trainable pair asks the same, Conflict when it is
    there already, Invalid when it cannot be a pair."""
    draft = Draft(prompt, response, fact=fact, split="golden")
    pairs.check(draft)
    Guard(db, domain).refuse(draft)
    added = pairs.add(db, domain, [draft], source="golden", author=actor, status="approved")
    if not added.ids:
        raise Conflict(f"{domain.name} has a pair with these words already.")
    audit.record(db, actor, "golden add", f"pair {added.ids[0]}", domain=domain.name)
    pair = pairs.get(db, added.ids[0])
    return GoldenAdded(pair, seen_by(db, domain, [pair])[pair.id])


def list_golden(db: Database, domain: Domain) -> list[Pair]:
    """The golden set, oldest first."""
    return [pair for pair in pairs.list_pairs(db, domain, "approved") if pair.split == "golden"]


def release(db: Database, domain: Domain, pair_id: int, actor: str) -> Pair:
    """Make a golden question an ordinary pair: from now on it may be trained. Raises NotFound when
    it is none of the domain's golden questions."""
    pair = pairs.get(db, pair_id)
    if pair.domain_id != domain.id or pair.split != "golden":
        raise NotFound(f"Pair {pair_id} is no golden question of {domain.name}.")
    db.execute("UPDATE pairs SET split = 'auto' WHERE id = ?", [pair_id])
    audit.record(db, actor, "golden release", f"pair {pair_id}", domain=domain.name)
    return pairs.get(db, pair_id)


def refuse_approval(db: Database, pair: Pair) -> None:
    """Raises Leak when approving the pair would have a golden question trained, or a trained one
    measured."""
    index: Index[int] = Index()
    others = "<>" if pair.split == "golden" else "="
    sql = (
        f"{SELECT} WHERE domain_id = ? AND status = 'approved' AND id <> ? "
        f"AND split {others} 'golden'"
    )
    for other in rows(db, sql, [pair.domain_id, pair.id]):
        index.add(other["id"], question_text(_pair(other)))
    match = index.find(question_text(pair))
    if match is not None:
        sentence = _sentence(pair.prompt, match, golden=pair.split == "golden")
        raise Leak(f"Pair {pair.id} cannot be approved. {sentence}")


def refuse_leaks(db: Database, dataset_id: int) -> None:
    """The last look before a run: raises Invalid, naming pairs, when what it would train on asks
    what it is measured on."""
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
            f"What is measured would be trained: {'; '.join(found[:SHOWN])}{more}. Reject the "
            "pairs, or release the golden questions (`understudy pairs golden release`)."
        )


def refuse_earlier_answers(golden: Sequence[Pair], trained: Sequence[Pair]) -> None:
    """For a run that learns every answer of a conversation: raises Invalid, naming pairs, when an
    earlier one of them is to a golden question, asked by itself or after the same turns."""
    index: Index[int] = Index()
    for pair in golden:
        index.add(pair.id, question_text(pair))
    found = []
    for pair in trained:
        said = [turn.content for turn in pair.turns]
        for i, (turn, after) in enumerate(zip(pair.turns, pair.turns[1:], strict=False)):
            if (turn.role, after.role) != ("user", "assistant"):
                continue
            if match := index.find("\n".join(said[: i + 1])) or index.find(turn.content):
                found.append(f"pair {pair.id} ({_short(turn.content)}) asks golden question "
                             f"{match.key}")  # fmt: skip
    if found:
        more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise Invalid(
            f"What is measured would be trained: in an earlier turn {'; '.join(found[:SHOWN])}"
            f"{more}. Reject the pairs, or ask for loss_turns=last."
        )


def seen_by(db: Database, domain: Domain, golden: Sequence[Pair]) -> dict[int, tuple[str, ...]]:
    """Golden pair id -> the adapters that were trained on the same question, before it was golden:
    their figures on it say little."""
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
    found: dict[int, dict[str, None]] = {pair.id: {} for pair in golden}
    for pair in pairs.list_pairs(db, domain):
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
            f"{_short(match.text)}, which is trained on. Ask it in other words, or reject that "
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
