"""Finds the approved pairs that bear on a question: the one way into search.

An approved pair counts from the next question on, and a rejected, edited or erased one is gone at
once, whichever process changed it: each question first looks at what changed in the store.

Where a pair has a newer answer, the newer pair is found in its place
(`data/pairs/current_answers.py`).

One thread answers all questions of a process. It takes those that wait together, encodes them
together, and owns the indexes, so it needs no locks around them.
"""

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sqlite_utils import Database

from data.config.settings import SearchSettings
from data.domains import Domain
from data.pairs import current_answers
from data.pairs.pairs import normalise
from data.search import confidence, follow_ups, language_check, vectors, word_search
from data.search.encoder import EncoderFailed, SentenceEncoder, open_encoder
from data.search.follow_ups import EarlierMessage
from data.search.index import Candidate, DomainIndex, pair_score
from data.search.language_check import LanguageCheck
from data.search.vector_builder import VectorBuilder, build
from data.store.db import Row, Store, rows
from data.store.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np

Method = Literal["encoder", "words"]
CANDIDATES = 40  # pairs that word search looks at
TOGETHER = 32  # questions that are encoded together
ON_THE_SPOT = 4  # pairs without vectors that are encoded before a question is answered
SPARE_FACTS = 4  # candidates beyond those wanted, in case several have the same response
RETRY_S = 30.0  # before an encoder that failed is tried again

log = logging.getLogger(__name__)


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
    # the probability that the best reference answers, 0..1; None: not known for this encoder
    confidence: float | None = None

    @property
    def similarity(self) -> float:
        """Of the best reference; 0.0 when there is none."""
        return self.references[0].similarity if self.references else 0.0


@dataclass
class _Request:
    domain: Domain
    question: str
    earlier: tuple[EarlierMessage, ...]
    limit: int
    without: frozenset[int]
    result: "Future[SearchResult]" = field(default_factory=Future)


class PairSearch:
    """Searches the pairs of a store. One per process; thread-safe. Closes with the store."""

    def __init__(self, store: Store, settings: SearchSettings) -> None:
        self._store = store
        self._settings = settings
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._encoded: queue.SimpleQueue[tuple[int, list[int]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._loading = threading.Lock()
        self._unsuited: set[int] = set()  # domains in a language that the encoder does not know
        self._encoder: SentenceEncoder | None = None
        # only the thread uses what follows
        self._builder: VectorBuilder | None = None
        self._indexes: dict[int, DomainIndex] = {}
        self._checked: dict[int, int] = {}  # by domain: its pairs when its language was checked
        self._try_again_at = 0.0
        store.before_close(self.close)

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
        return self._submit(domain, question, earlier, limit, without).result()

    async def afind(
        self,
        domain: Domain,
        question: str,
        earlier: Sequence[EarlierMessage] = (),
        limit: int = 4,
        without: Collection[int] = (),
    ) -> SearchResult:
        """The same, off the event loop."""
        return await asyncio.wrap_future(self._submit(domain, question, earlier, limit, without))

    def encode(self, questions: Sequence[str]) -> "np.ndarray | None":
        """The vectors of questions, shape (questions, dimensions), rows of length 1; None where
        words are searched, or while the encoder fails. Blocks."""
        try:
            encoder = self.encoder()
            return None if encoder is None else encoder.encode(questions, questions=True)
        except EncoderFailed as error:
            log.warning("questions are compared by their words: %s", error)
            return None

    def complete(self, domain: Domain, progress: Callable[[int], None] = lambda done: None) -> None:
        """Encode the pairs that have no vectors yet, and return when all have. `progress` receives
        the number of pairs after each step. Blocks for 5 ms a pair; without it, the background
        does the same. Does nothing where words are searched. Raises EncoderFailed."""
        encoder = self.encoder()
        if encoder is not None:
            build(self._store, domain, encoder, lambda ids: self._note(domain.id, ids, progress))
            self._suits(domain, language_check.check(self._store.db, domain, encoder))

    def check_language(self, domain: Domain) -> LanguageCheck | None:
        """Whether the encoder suits the domain's pairs; if not, they are searched by words. None:
        there is no encoder, or the domain has too few facts to tell. Blocks for half a second;
        without it, the background does the same. Raises EncoderFailed."""
        if not language_check.enough(self._store.db, domain):
            return None
        encoder = self.encoder()
        if encoder is None:
            return None
        found = language_check.check(self._store.db, domain, encoder)
        self._note_check(domain, found)
        return found

    def why_by_words(self, domain: Domain) -> str:
        """Why the domain is searched by words although there is an encoder; '' if it is not, or if
        that is what the settings say. Blocks like `check_language`."""
        try:
            found = self.check_language(domain)
        except EncoderFailed as error:
            return f"{domain.name} is searched by words. {error}"
        return "" if found is None or found.suits else found.sentence(domain)

    def _suits(self, domain: Domain, found: LanguageCheck | None) -> bool:
        """Search the domain as the check says, and log it if that means words. Returns whether the
        encoder is used."""
        if found is not None and not found.suits and domain.id not in self._unsuited:
            log.warning("%s", found.sentence(domain))
        self._note_check(domain, found)
        return domain.id not in self._unsuited

    def _note_check(self, domain: Domain, found: LanguageCheck | None) -> None:
        if found is None or found.suits:
            self._unsuited.discard(domain.id)
        else:
            self._unsuited.add(domain.id)

    def _note(self, domain_id: int, ids: list[int], progress: Callable[[int], None]) -> None:
        self._encoded.put((domain_id, ids))
        progress(len(ids))

    def encoder(self) -> SentenceEncoder | None:
        """The encoder, loaded once; None where words are searched. Blocks for half a second the
        first time. Raises EncoderFailed."""
        with self._loading:
            if self._encoder is None:
                self._encoder = open_encoder(self._settings)
            return self._encoder

    def close(self) -> None:
        """Answer what waits, and stop."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._requests.put(None)
            thread = self._thread
        if thread is not None:
            thread.join()

    def _submit(
        self,
        domain: Domain,
        question: str,
        earlier: Sequence[EarlierMessage],
        limit: int,
        without: Collection[int],
    ) -> "Future[SearchResult]":
        request = _Request(domain, question, tuple(earlier), limit, frozenset(without))
        with self._lock:
            if self._closed:
                raise Unavailable("The search is closed.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pair-search", daemon=True)
                self._thread.start()
            self._requests.put(request)
        return request.result

    # -- everything below runs in the thread -----------------------------------------------------

    def _run(self) -> None:
        try:
            while (first := self._requests.get()) is not None:
                batch, last = [first], False
                with contextlib.suppress(queue.Empty):
                    while len(batch) < TOGETHER and not last:
                        request = self._requests.get_nowait()
                        if request is None:
                            last = True
                        else:
                            batch.append(request)
                self._answer([r for r in batch if r.result.set_running_or_notify_cancel()])
                if last:
                    break
        finally:
            if self._builder is not None:
                self._builder.close()
            self._store.release()

    def _answer(self, batch: list[_Request]) -> None:
        try:
            results = self._results(batch)
        except Exception as error:  # the askers get it
            for request in batch:
                request.result.set_exception(error)
            return
        for request, result in zip(batch, results, strict=True):
            request.result.set_result(result)

    def _results(self, batch: list[_Request]) -> list[SearchResult]:
        db = self._store.db
        encoder = self._ready_encoder()
        if encoder is not None:
            try:
                for request in batch:
                    self._prepare(db, encoder, request)
                suited = [r for r in batch if r.domain.id not in self._unsuited]
                found = dict(
                    zip(map(id, suited), self._by_encoder(db, encoder, suited), strict=True)
                )
                return [found.get(id(request)) or _by_words(db, request) for request in batch]
            except EncoderFailed as error:
                self._failed(error)
        return [_by_words(db, request) for request in batch]

    def _ready_encoder(self) -> SentenceEncoder | None:
        """None: words have to do."""
        if self._settings.encoder == "words" or time.monotonic() < self._try_again_at:
            return None
        try:
            encoder = self.encoder()
        except EncoderFailed as error:
            self._failed(error)
            return None
        if encoder is not None and self._builder is None:
            self._builder = VectorBuilder(
                self._store, encoder, lambda *done: self._encoded.put(done), self._suits
            )
        return encoder

    def _failed(self, error: EncoderFailed) -> None:
        self._try_again_at = time.monotonic() + RETRY_S
        log.warning("searching by words for %d s: %s", RETRY_S, error)

    def _by_encoder(
        self, db: Database, encoder: SentenceEncoder, batch: list[_Request]
    ) -> list[SearchResult]:
        if not batch:
            return []
        texts = [follow_ups.texts(r.question, r.earlier) for r in batch]
        distinct = list(dict.fromkeys(text for some in texts for text in some))
        encoded = dict(zip(distinct, encoder.encode(distinct, questions=True), strict=True))
        return [
            self._result(db, encoder, request, [encoded[text] for text in some])
            for request, some in zip(batch, texts, strict=True)
        ]

    def _prepare(self, db: Database, encoder: SentenceEncoder, request: _Request) -> None:
        """Bring the index up to date. A few pairs without vectors are encoded at once: those that
        share most words with the question."""
        domain = request.domain
        index = self._indexes.get(domain.id)
        if index is None:
            index = DomainIndex(domain, encoder.digest, encoder.dimensions)
            self._indexes[domain.id] = index
        for domain_id, ids in self._drained():
            if domain_id in self._indexes:
                self._indexes[domain_id].reread(db, ids)
        index.refresh(db)
        pairs = len(index) + len(index.pending)
        grown = pairs > 0 and pairs >= 2 * self._checked.get(domain.id, 0)
        if grown:
            self._checked[domain.id] = pairs
        if self._builder is not None and (grown or index.pending):
            self._builder.want(domain, check=grown)
        if not index.pending or domain.id in self._unsuited:
            return
        chosen = sorted(index.pending)
        if len(chosen) > ON_THE_SPOT:
            hits = word_search.find(db, domain, request.question, CANDIDATES)
            chosen = [h.pair_id for h in hits if h.pair_id in index.pending][:ON_THE_SPOT]
        words = vectors.words_of(db, chosen)
        if words:
            facts = _facts(db, chosen)
            for some, made in zip(words, vectors.encode(encoder, words), strict=True):
                if some.pair_id in facts:
                    index.put(some.pair_id, facts[some.pair_id], made.astype("float32"))
                    index.unsaved[some.pair_id] = made

    def _drained(self) -> Iterator[tuple[int, list[int]]]:
        """What the builder has encoded since the last question."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._encoded.get_nowait()

    def _result(
        self,
        db: Database,
        encoder: SentenceEncoder,
        request: _Request,
        encoded: "list[np.ndarray]",
    ) -> SearchResult:
        index = self._indexes[request.domain.id]
        queries = follow_ups.queries(encoded)
        answers = follow_ups.answers(request.earlier) if len(queries) > 1 else []
        facts = request.limit + SPARE_FACTS + len(answers)
        found = index.best(queries, facts, request.without)
        pairs, cosines = _read(db, encoder, index, follow_ups.all_of(found), queries)
        pairs = _as_valid_now(db, request, pairs)
        found = [_exactly_scored(some, cosines, query) for query, some in enumerate(found)]
        similar = _similar(follow_ups.all_of(found), cosines)
        said = {
            c.fact
            for c in follow_ups.all_of(found)
            if follow_ups.was_said(pairs[c.pair_id]["response"], answers)
        }
        said -= follow_ups.asked_again(found[0], similar)
        said -= _asked_on(encoder, found, pairs, said, queries)
        query, likely = _surest(encoder, found, similar, said)
        references = _one_for_each_fact(
            (
                Reference(**pairs[c.pair_id], score=c.score)
                for c in follow_ups.merged(found, query, said)
            ),
            request.limit,
        )
        return SearchResult(references, "encoder", encoder.digest, likely)


def _exactly_scored(
    candidates: Sequence[Candidate], cosines: "dict[int, np.ndarray]", query: int
) -> list[Candidate]:
    """Those that were read, with the scores that their stored vectors give, best first."""
    scored = [
        Candidate(c.pair_id, c.fact, pair_score(*cosines[c.pair_id][:, query].tolist()))
        for c in candidates
        if c.pair_id in cosines
    ]
    return sorted(scored, key=lambda c: -c.score)


def _similar(
    candidates: Sequence[Candidate], cosines: "dict[int, np.ndarray]"
) -> "dict[int, np.ndarray]":
    """By fact: the best cosines of its pairs, shape (3, queries)."""
    import numpy as np

    found: dict[int, np.ndarray] = {}
    for candidate in candidates:
        own = cosines[candidate.pair_id]
        found[candidate.fact] = np.maximum(own, found.get(candidate.fact, own))
    return found


def _asked_on(
    encoder: SentenceEncoder,
    found: Sequence[Sequence[Candidate]],
    pairs: dict[int, Row],
    said: Collection[int],
    queries: "np.ndarray",
) -> set[int]:
    """The fact that was said and still answers, if the even mixture finds it first and one of its
    sentences is similar to the question by itself."""
    first = found[follow_ups.EVEN][:1] if len(found) > 1 else []
    if not first or first[0].fact not in said:
        return set()
    texts = follow_ups.sentences(pairs[first[0].pair_id]["response"])
    similar = encoder.encode(texts) @ queries[follow_ups.ALONE]
    return {first[0].fact} if similar.max() >= follow_ups.SENTENCE_ANSWERS else set()


def _surest(
    encoder: SentenceEncoder,
    found: Sequence[Sequence[Candidate]],
    similar: "dict[int, np.ndarray]",
    said: Collection[int],
) -> tuple[int, float | None]:
    """Which query says what comes first, and how likely that answers: the surest one. Where the
    confidence is not known, it is the light mixture."""
    calibration = confidence.shipped(encoder.digest)
    likely = []
    for query in follow_ups.CHOOSING if len(found) > 1 else (0,):
        chosen = [c for c in found[query] if c.fact not in said]
        if calibration is not None and chosen:
            of_fact: dict[int, float] = {}
            for candidate in chosen:
                of_fact.setdefault(candidate.fact, candidate.score)
            similarity = float(similar[chosen[0].fact][vectors.BOTH, query])
            sure = calibration.confidence(similarity, list(of_fact.values()))
            if query != follow_ups.ALONE:
                sure = max(sure - follow_ups.MIXED_COUNTS_LESS, 0.0)
            likely.append((sure, query))
    if likely:
        best, query = max(likely, key=lambda each: each[0])
        return query, best
    return min(follow_ups.LIGHT, len(found) - 1), None


def _read(
    db: Database,
    encoder: SentenceEncoder,
    index: DomainIndex,
    candidates: list[Candidate],
    queries: "np.ndarray",
) -> "tuple[dict[int, Row], dict[int, np.ndarray]]":
    """The candidates as the store holds them now, with their similarity, by id; and by id, the
    cosines of their vectors and each query, shape (3, queries)."""
    import numpy as np

    sql = (
        "SELECT p.id AS pair_id, p.prompt, p.response, p.fact, v.vectors FROM searchable_pairs p "
        "LEFT JOIN pair_vectors v ON v.pair_id = p.id AND v.encoder = ? "
        f"WHERE p.id IN ({', '.join('?' * len(candidates))})"
    )
    found = rows(db, sql, [encoder.digest, *(c.pair_id for c in candidates)])
    known, made = [], []
    for pair in found:
        blob = pair.pop("vectors")
        unsaved = index.unsaved.get(pair["pair_id"])
        if blob is not None:
            made.append(vectors.loaded(blob, encoder.dimensions))
        elif unsaved is not None:
            made.append(unsaved.astype(np.float32))
        else:  # edited since the candidates were found: the next question finds it
            continue
        known.append(pair)
    if not known:
        return {}, {}
    stacked = np.stack(made)
    best_alone = float((stacked[:, 0] @ queries[0]).max())
    of_fact: dict[str, float] = {}
    for pair, similarity in zip(
        known, follow_ups.similarities(queries, stacked[:, 0], best_alone), strict=True
    ):
        of_fact[pair["fact"]] = max(similarity, of_fact.get(pair["fact"], -1.0))
    return (
        {p["pair_id"]: {**p, "similarity": of_fact[p["fact"]]} for p in known},
        {p["pair_id"]: each @ queries.T for p, each in zip(known, stacked, strict=True)},
    )


def _as_valid_now(db: Database, request: _Request, pairs: dict[int, Row]) -> dict[int, Row]:
    """The pairs that were found, by id: where a pair has a newer answer, the newer pair in its
    place. A newer pair that the request leaves out lends its answer only."""
    valid = dict(pairs)
    for pair_id, new in current_answers.replacements(db, request.domain, list(pairs)).items():
        old = pairs[pair_id]
        if new.id in request.without:
            valid[pair_id] = {**old, "response": new.response}
            continue
        fact = new.fact if current_answers.is_named(new) else old["fact"]
        words = {"prompt": new.prompt, "response": new.response, "fact": fact}
        valid[pair_id] = {**old, "pair_id": new.id, **words}
    return valid


def _one_for_each_fact(found: Iterable[Reference], limit: int) -> tuple[Reference, ...]:
    """The first reference of each fact, and of each response."""
    best: dict[str, Reference] = {}
    responses: set[str] = set()
    for reference in found:
        response = normalise(reference.response)
        if reference.fact not in best and response not in responses:
            responses.add(response)
            best[reference.fact] = reference
            if len(best) == limit:
                break
    return tuple(best.values())


def _facts(db: Database, pair_ids: list[int]) -> dict[int, str]:
    marks = ", ".join("?" * len(pair_ids))
    return dict(db.execute(f"SELECT id, fact FROM pairs WHERE id IN ({marks})", pair_ids))


def _by_words(db: Database, request: _Request) -> SearchResult:
    question = request.question
    if not word_search.terms(question):  # such as "why?": search with the question before it
        question = follow_ups.texts(question, request.earlier)[-1]
    hits = word_search.find(db, request.domain, question, CANDIDATES + len(request.without))
    hits = [hit for hit in hits if hit.pair_id not in request.without]
    of_fact: dict[str, float] = {}
    for hit in hits:
        of_fact[hit.fact] = max(hit.similarity, of_fact.get(hit.fact, 0.0))
    pairs: dict[int, Row] = {
        h.pair_id: {
            "pair_id": h.pair_id,
            "prompt": h.prompt,
            "response": h.response,
            "fact": h.fact,
            "similarity": of_fact[h.fact],
        }
        for h in hits
    }
    pairs = _as_valid_now(db, request, pairs)
    references = _one_for_each_fact(
        (Reference(**pairs[h.pair_id], score=h.score) for h in hits), request.limit
    )
    return SearchResult(references, "words")
