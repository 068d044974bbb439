"""Finds the approved pairs that bear on a question: the one way into search.

An approved pair counts from the next question on, and a rejected, edited or erased one is gone at
once, whichever process changed it: every question is answered from what the store holds then.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlite_utils import Database

from data.config.settings import SearchSettings
from data.domains import Domain
from data.search import word_search
from data.store.db import Store

Method = Literal["encoder", "words"]
CANDIDATES = 40  # pairs that are looked at for a handful of references


class EarlierMessage(Protocol):
    """A message of the conversation before the question, such as a `Message`."""

    @property
    def role(self) -> Literal["user", "assistant"]: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True)
class Reference:
    """An approved pair that the search found."""

    pair_id: int
    prompt: str
    response: str
    fact: str
    score: float  # what the references are ordered by
    similarity: float  # by encoder: best cosine of the question and a prompt of this fact, -1..1;
    # by words: the share of the question's weight that was found, 0..1


@dataclass(frozen=True)
class SearchResult:
    """What a search found, and how."""

    references: tuple[Reference, ...]  # best first, one for each fact
    method: Method
    encoder: str = ""  # its digest; '' for words

    @property
    def similarity(self) -> float:
        """Of the best reference; 0.0 when there is none."""
        return self.references[0].similarity if self.references else 0.0


class PairSearch:
    """Searches the pairs of a store. One per process; thread-safe."""

    def __init__(self, store: Store, settings: SearchSettings) -> None:
        self._store = store
        self._settings = settings

    def find(
        self,
        domain: Domain,
        question: str,
        earlier: Sequence[EarlierMessage] = (),
        limit: int = 4,
        without: Collection[int] = (),
    ) -> SearchResult:
        """At most `limit` references, each of another fact. Blocks, so never call it on the event
        loop. `earlier` is the conversation before the question, oldest first. Pairs with an id in
        `without` are left out."""
        return self._find(self._store.db, domain, question, earlier, limit, without)

    async def afind(
        self,
        domain: Domain,
        question: str,
        earlier: Sequence[EarlierMessage] = (),
        limit: int = 4,
        without: Collection[int] = (),
    ) -> SearchResult:
        """The same, off the event loop."""
        return await self._store.read(
            lambda db: self._find(db, domain, question, earlier, limit, without)
        )

    def _find(
        self,
        db: Database,
        domain: Domain,
        question: str,
        earlier: Sequence[EarlierMessage],
        limit: int,
        without: Collection[int],
    ) -> SearchResult:
        hits = word_search.find(db, domain, question, CANDIDATES + len(without))
        best: dict[str, Reference] = {}
        responses: set[str] = set()
        for hit in hits:
            if hit.pair_id in without or hit.fact in best or hit.response in responses:
                continue
            responses.add(hit.response)
            best[hit.fact] = Reference(
                pair_id=hit.pair_id,
                prompt=hit.prompt,
                response=hit.response,
                fact=hit.fact,
                score=hit.score,
                similarity=max(h.similarity for h in hits if h.fact == hit.fact),
            )
            if len(best) == limit:
                break
        return SearchResult(tuple(best.values()), "words")
