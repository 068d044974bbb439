"""The metrics for Prometheus.

Answers are counted when they end. Values from the store (runs, replicas, adapters that failed to
load, feedback) are read at each request of `/metrics`, so they are correct after a restart too.
"""

from collections import Counter as Counts
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from sqlite_utils import Database

from bot.answering.chat import Chat
from bot.answering.recording import Closed
from data import domains
from data.adapters import placements
from data.domains import Domain
from data.experiments import decisions, experiments
from data.feedback import feedback, raters
from data.monitoring import alerts
from data.store.db import rows, value

RUN_STATES = ("queued", "running", "done", "failed", "cancelled")
STATES = ("collecting", "better", "worse", "no difference", "unhealthy")  # of a comparison
REPLICA_STATES = ("starting", "ready", "draining", "asleep", "down")
FIRST_TOKEN_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
ANSWER_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120)


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._answers = self._counter("answers", "Answers by final status", "status")
        self._outcomes = self._counter("outcomes", "Answers by how they came about", "outcome")
        self._tokens = self._counter("tokens", "Tokens by kind", "kind")
        self._first_token = self._histogram("first_token", "Time to the first token", FIRST_TOKEN_S)
        self._total = self._histogram("answer", "Time to the complete answer", ANSWER_S)
        self._fallbacks = self._counter("stand_ins", "Answers by a fallback", "instead_of")
        self._in_flight = self._gauge("answers_in_flight", "Answers being written")
        self._waiting = self._gauge("questions_waiting", "Questions waiting for an engine")
        self._busy = self._gauge("questions_refused", "Questions refused since the start")
        self._circuits = self._gauge("circuits_open", "Open circuit breakers", "replica")
        self._alerts = self._gauge("alerts", "Alerts that need attention", "kind")
        self._queue = self._gauge("store_queue", "Writes waiting for the store")
        self._feedback = self._gauge("feedback", "Feedback that counts", "domain", "kind")
        self._runs = self._gauge("runs", "Tuning runs", "state")
        self._replicas = self._gauge("replicas", "Engine replicas", "state")
        self._refused = self._gauge(
            "placements_failed", "Adapters that failed to load on a replica"
        )
        self._compared = self._gauge("comparisons", "Running comparisons", "domain", "state")
        self._decided = self._gauge("decisions", "Decisions so far", "domain", "action")
        self._quarantined = self._gauge("voters_quarantined", "Quarantined raters", "domain")
        self._pending = self._gauge("pairs_pending", "Pairs waiting for review")

    def closed(self, answer: Closed) -> None:
        """Count an answer that has ended. `Chat` calls this."""
        who = (answer.domain, answer.adapter)
        self._answers.labels(*who, answer.status).inc()
        self._outcomes.labels(*who, answer.outcome).inc()
        self._tokens.labels(*who, "prompt").inc(answer.prompt_tokens)
        self._tokens.labels(*who, "completion").inc(answer.completion_tokens)
        self._total.labels(*who).observe(answer.latency_us / 1e6)
        if answer.instead_of is not None:
            self._fallbacks.labels(*who, answer.instead_of).inc()
        if answer.first_token_us is not None:
            self._first_token.labels(*who).observe(answer.first_token_us / 1e6)

    def read_store(self, db: Database) -> None:
        """Update the values that come from the store."""
        for domain in domains.list_domains(db):
            for kind, count in feedback.counts(db, domain.id).items():
                self._feedback.labels(domain.name, kind).set(count)
            self._read_comparisons(db, domain)
        found = rows(db, "SELECT state, count(*) AS n FROM runs GROUP BY state")
        _set_all(self._runs, RUN_STATES, {r["state"]: r["n"] for r in found})
        states = ["down" if r.stale else r.state for r in placements.replicas(db)]
        _set_all(self._replicas, REPLICA_STATES, {s: states.count(s) for s in states})
        self._refused.set(value(db, "SELECT count(*) FROM placements WHERE state = 'failed'"))
        self._pending.set(value(db, "SELECT count(*) FROM pairs WHERE status = 'pending'"))
        kinds: Counts[str] = Counts(alert.kind for alert in alerts.alerts(db))
        _set_all(self._alerts, alerts.KINDS, kinds)

    def _read_comparisons(self, db: Database, domain: Domain) -> None:
        """Update the states of comparisons by their last decisions; without one, collecting."""
        running = experiments.running(db, domain.id)
        last = decisions.latest(db, running.id) if running else None
        state = (last.state if last else "collecting") if running else ""
        for known in STATES:
            self._compared.labels(domain.name, known).set(int(state == known))
        for action, count in decisions.counts(db, domain.id).items():
            self._decided.labels(domain.name, action).set(count)
        self._quarantined.labels(domain.name).set(raters.count_quarantined(db, domain.id))

    def page(self, chat: Chat, queue: int) -> bytes:
        """The metrics in Prometheus text format; `queue` is the number of waiting writes."""
        self._in_flight.set(chat.admission.running)
        self._waiting.set(chat.admission.waiting + chat.admission.waiting_for_engine)
        self._busy.set(chat.admission.refused)
        self._circuits.clear()
        for replica, count in Counts(o.replica for o in chat.breaker.open()).items():
            self._circuits.labels(replica).set(count)
        self._queue.set(queue)
        return generate_latest(self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        names = ("domain", "adapter", *labels)
        return Counter(f"understudy_{name}", about, names, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: Iterable[float]) -> Histogram:
        return Histogram(
            f"understudy_{name}_seconds",
            about,
            ("domain", "adapter"),
            registry=self.registry,
            buckets=tuple(buckets),
        )

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"understudy_{name}", about, labels, registry=self.registry)


def _set_all(gauge: Gauge, states: Iterable[str], counts: Mapping[str, int]) -> None:
    """Set the gauge for every state; states without a count get 0."""
    for state in states:
        gauge.labels(state).set(counts.get(state, 0))
