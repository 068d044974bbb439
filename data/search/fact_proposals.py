"""Which fact a pending pair probably states: that of the pair that the search finds for it.

It is only a proposal. A reviewer confirms it, because a newer answer replaces the older ones of its
fact.
"""

from dataclasses import dataclass
from typing import Literal

from data.domains import Domain
from data.pairs import fact_links
from data.pairs.pairs import Pair, fact_of, normalise
from data.search.search import PairSearch, Reference

ALIKE = 0.5  # similarity from which a question may ask for a fact
FOUND = 4  # pairs that are looked at


@dataclass(frozen=True)
class PairTurn:
    """A turn before the pair's question, as the search takes it."""

    role: Literal["user", "assistant"]
    text: str


def propose(search: PairSearch, domain: Domain, pair: Pair) -> Reference | None:
    """The approved pair whose fact a pending one probably states: one with the same answer, or else
    the most similar one. None for a pair that names a fact, and where nothing is similar enough.
    Blocks for a search."""
    if not fact_links.is_open(pair):
        return None
    turns = [PairTurn(turn.role, turn.content) for turn in pair.turns]
    found = search.find(domain, pair.prompt, turns, limit=FOUND)
    named = [r for r in found.references if r.fact != fact_of(r.response)]
    same = [r for r in named if normalise(r.response) == normalise(pair.response)]
    alike = [r for r in named if r.similarity >= ALIKE]
    return next(iter([*same, *alike]), None)
