"""Measures thresholds anew after the pairs or the golden questions of a domain have changed.

Only thresholds that were measured before are measured again: a domain that answers from the shipped
threshold on goes on doing so. Nor is that of an adapter that reads references: its own answers
count there, and only an evaluation knows them.

A domain waits until its pairs have been unchanged between two looks and all are encoded, and at
least `wait_s` between two measurements, each of which searches every golden question twice.
"""

import logging
import time
from dataclasses import dataclass

from sqlite_utils import Database

from data import domains
from data.domains import Domain
from data.pairs import golden
from data.search import confidence, domain_calibration, vectors
from data.search.domain_calibration import DomainCalibration
from data.search.search import PairSearch
from data.store.db import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measurable:
    """What the threshold of a domain depends on. It is measured anew when this has changed."""

    encoder: str
    revision: int | None  # of the pairs; None: not known
    golden: int  # golden questions
    golden_since: int  # when the newest one came: other words are a new one


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
        dated = _renewable(self._store.db, domain)
        if dated is None:
            return False
        known, measured_at = dated
        encoder = self._search.encoder()
        if encoder is None or confidence.shipped(encoder.digest) is None:
            return False
        now = Measurable(
            encoder.digest,
            domain_calibration.revision(self._store.db, domain),
            *golden.count_and_newest(self._store.db, domain),
        )
        before, self._seen[domain.id] = self._seen.get(domain.id), now
        same = (known.encoder, known.revision, known.questions)
        unchanged = same == (now.encoder, now.revision, now.golden)
        tried, at = self._tried.get(domain.id, (None, 0.0))
        if tried is None and unchanged and now.golden_since <= measured_at:
            return False
        if now == tried or now != before:
            return False
        if tried is not None and time.monotonic() < at + self._wait_s:
            return False
        if vectors.without_vectors(self._store.db, domain, encoder, 0, 1):
            self._search.find(domain, domain.name, limit=1)  # the search's own thread makes them
            return False
        report = domain_calibration.measure(self._store.db, domain, self._search)
        self._tried[domain.id] = now, time.monotonic()
        return report is not None and self._used(domain, known, report.calibration)

    def _used(self, domain: Domain, known: DomainCalibration, made: DomainCalibration) -> bool:
        """Use what was measured, unless somebody decided otherwise meanwhile: went back to the
        shipped threshold, measured, or promoted an adapter that reads references."""
        with self._store.write() as db:
            now = _renewable(db, domain)
            if now is None or now[0] != known:
                return False
            domain_calibration.save(db, domain, made)
        log.info(
            "The pairs of %s changed: it answers from a confidence of %.2f on, before %.2f",
            domain.name,
            made.answer_from,
            known.answer_from,
        )
        return True


def _renewable(db: Database, domain: Domain) -> tuple[DomainCalibration, int] | None:
    """The threshold in use and when it was measured, if it may be measured anew."""
    if domain_calibration.reads_references_since(db, domain) is not None:
        return None
    return domain_calibration.dated(db, domain)
