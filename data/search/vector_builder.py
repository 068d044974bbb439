"""Encodes the pairs that have no vectors yet, in the background, and checks their language.

Several processes may do so at once: each looks for what is missing before every step, and vectors
are stored only for words that a pair still has.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial

from data.domains import Domain
from data.search import language_check, vectors
from data.search.encoder import SentenceEncoder
from data.search.language_check import LanguageCheck
from data.store.db import Store
from data.store.errors import UnderstudyError

AT_ONCE = 16  # pairs in one transaction: a third of a second with the shipped encoder
NICE = 10  # of the thread
RETRY_S = 30.0  # after a failure

log = logging.getLogger(__name__)


def build(
    store: Store,
    domain: Domain,
    encoder: SentenceEncoder,
    encoded: Callable[[list[int]], None] = lambda ids: None,
    stop: threading.Event | None = None,
) -> int:
    """Encode what is missing, and return how many pairs were encoded. `encoded` receives the ids
    of each step. Raises EncoderFailed, StoreFull or StoreBusy; what was stored stays."""
    count = after = 0
    while stop is None or not stop.is_set():
        some = vectors.without_vectors(store.db, domain, encoder, after, AT_ONCE)
        if not some:
            break
        after = some[-1].pair_id
        both = vectors.encode(encoder, some)
        with store.write() as db:
            saved = vectors.save(db, encoder.digest, some, both)
        count += len(saved)
        encoded(saved)
    return count


class VectorBuilder:
    """A thread that encodes the pairs of the domains it is told about."""

    def __init__(
        self,
        store: Store,
        encoder: SentenceEncoder,
        encoded: Callable[[int, list[int]], None],
        suits: Callable[[Domain, LanguageCheck | None], bool],
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._encoded = encoded  # receives a domain's id and the ids of its pairs
        self._suits = suits  # receives the result of a check: whether the encoder is used
        self._wanted: dict[int, tuple[Domain, bool]] = {}
        self._suited: dict[int, bool] = {}  # by domain
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def want(self, domain: Domain, *, check: bool) -> None:
        """Have a domain's missing vectors made soon. With `check`, its language is checked first,
        and nothing is made if the encoder does not know it."""
        with self._lock:
            _, before = self._wanted.get(domain.id, (domain, False))
            self._wanted[domain.id] = domain, check or before
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pair-vectors", daemon=True)
                self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """Stop after the current step."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        if sys.platform == "linux":  # where threads have priorities: questions come first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        try:
            while not self._stop.is_set():
                self._wake.wait()
                self._wake.clear()
                with self._lock:
                    wanted, self._wanted = self._wanted, {}
                for domain, check in wanted.values():
                    self._build(domain, check)
        finally:
            self._store.release()

    def _build(self, domain: Domain, check: bool) -> None:
        try:
            if check:
                found = language_check.check(self._store.db, domain, self._encoder)
                self._suited[domain.id] = self._suits(domain, found)
            if self._suited.get(domain.id, True):
                done = partial(self._encoded, domain.id)
                build(self._store, domain, self._encoder, done, self._stop)
        except UnderstudyError as error:
            log.warning(
                "pairs of %s could not be encoded, trying again in %d s: %s",
                domain.name,
                RETRY_S,
                error,
            )
            self._stop.wait(RETRY_S)
            self.want(domain, check=check)
