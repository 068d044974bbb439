"""Measures thresholds anew after the pairs or the golden questions of a domain have changed.

Only thresholds that were measured before are measured again: a domain that answers from the shipped
threshold on goes on doing so. Nor is that of an adapter that reads references: its own answers
count there, and only an evaluation knows them.

A domain waits until its pairs have been unchanged between two looks, and at least `wait_s` between
two measurements, each of which searches every golden question twice.
"""

import json
import logging
import time
from dataclasses import dataclass

from sqlite_utils import Database

from data import domains
from data.domains import Domain
from data.pairs import golden
from data.search import confidence, domain_calibration, layout
from data.search.search import PairSearch
from data.store.db import Store, row

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measurable:
    """What the threshold of a domain depends on. It is measured anew when this has changed."""

    encoder: str
    revision: int | None  # of the pairs; None: not known
    golden: int  # golden questions


class Recalibration:
    """The look of one process at all domains. One thread at a time uses it."""

    def __init__(self, store: Store, search: PairSearch, wait_s: float) -> None:
        self._store = store
        self._search = search
        self._wait_s = wait_s
        self._seen: dict[int, Measurable] = {}  # by domain, at the last look
        self._tried: dict[int, tuple[Measurable, float]] = {}  # with the time that it was measured

    def look(self) -> list[str]:
        """Measure the domains that are due; returns the names of those that were measured. Blocks
        for some 10 ms a golden question, twice. Raises EncoderFailed."""
        try:
            found = domains.list_domains(self._store.db)
            return [domain.name for domain in found if self._renewed(domain)]
        finally:
            self._store.release()

    def _renewed(self, domain: Domain) -> bool:
        known = domain_calibration.in_use(self._store.db, domain)
        if known is None or _reads_references(self._store.db, domain):
            return False
        encoder = self._search.encoder()
        if encoder is None or confidence.shipped(encoder.digest) is None:
            return False
        now = Measurable(
            encoder.digest,
            domain_calibration.revision(self._store.db, domain),
            golden.count(self._store.db, domain),
        )
        before, self._seen[domain.id] = self._seen.get(domain.id), now
        if now == Measurable(known.encoder, known.revision, known.questions) or now != before:
            return False
        tried, at = self._tried.get(domain.id, (None, 0.0))
        if tried == now or (tried is not None and time.monotonic() < at + self._wait_s):
            return False
        made = domain_calibration.refit(self._store, domain, self._search)
        self._tried[domain.id] = now, time.monotonic()
        if made is not None:
            log.info(
                "The pairs of %s changed: it answers from a confidence of %.2f on, before %.2f",
                domain.name,
                made.answer_from,
                known.answer_from,
            )
        return made is not None


def _reads_references(db: Database, domain: Domain) -> bool:
    """Whether the live adapter does."""
    sql = "SELECT recipe FROM adapters WHERE domain_id = ? AND state = 'live'"
    found = row(db, sql, [domain.id])
    return found is not None and layout.references_of(json.loads(found["recipe"])) > 0
