"""The private words that were masked in a pair that waits for review.

They are kept only until the pair is decided on or erased. `data/quality/private_words.py` finds and
masks them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlite_utils import Database

from data.pairs import pairs
from data.pairs.pairs import Draft, Pair
from data.store.db import rows
from data.store.errors import Conflict


@dataclass(frozen=True)
class MaskedWords:
    field: str  # prompt, response, or turn N
    kind: str  # such as "phone number"
    original: str


def keep(db: Database, pair_id: int, words: Sequence[MaskedWords]) -> None:
    """Store what was masked in a pair, in the order of its masks."""
    sql = "INSERT INTO masked_words (pair_id, number, field, kind, original) VALUES (?, ?, ?, ?, ?)"
    for number, one in enumerate(words):
        db.execute(sql, [pair_id, number, one.field, one.kind, one.original])


def of_pair(db: Database, pair_id: int) -> list[MaskedWords]:
    """What is masked in a pair, in order."""
    sql = "SELECT field, kind, original FROM masked_words WHERE pair_id = ? ORDER BY number"
    return [MaskedWords(**r) for r in rows(db, sql, [pair_id])]


def drop(db: Database, pair_id: int) -> None:
    """Delete the original words."""
    db.execute("DELETE FROM masked_words WHERE pair_id = ?", [pair_id])


def put_back(db: Database, pair: Pair, words: Sequence[MaskedWords]) -> None:
    """Replace the masks of a pending pair by the original words. Raises Conflict if that pair
    exists already."""
    fact = pair.fact if pair.fact != pairs.fact_of(pair.response) else ""
    masked = Draft(pair.prompt, pair.response, pair.system, pair.turns, fact, pair.split)
    draft = _with(masked, words, [one.original for one in words])
    if pairs.find_same_words(db, pair.domain_id, draft) is not None:
        raise Conflict(f"Pair {pair.id} says the same as another pair once its words are shown.")
    pairs.replace_words(db, pair.id, draft)
    drop(db, pair.id)


def filled(draft: Draft, words: Sequence[MaskedWords], others: Sequence[MaskedWords]) -> Draft:
    """The draft with the masks of `others` in place of those of `words`."""
    return _with(draft, words, [mask(one) for one in others])


def mask(one: MaskedWords) -> str:
    """What stands in place of the words."""
    return f"[{one.kind}]"


def _with(draft: Draft, words: Sequence[MaskedWords], instead: Sequence[str]) -> Draft:
    """The draft with these texts in place of its masks, in order."""

    def put(text: str, field: str) -> str:
        parts, rest = [], text
        for one, shown in zip(words, instead, strict=True):
            if one.field == field:
                before, found, rest = rest.partition(mask(one))
                parts += [before, shown if found else ""]
        return "".join([*parts, rest])

    turns = tuple(
        replace(turn, content=put(turn.content, f"turn {n}"))
        for n, turn in enumerate(draft.turns, 1)
    )
    prompt, response = put(draft.prompt, "prompt"), put(draft.response, "response")
    return replace(draft, prompt=prompt, response=response, turns=turns)
