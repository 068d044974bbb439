"""The circuit breaker: stops requests to a replica or adapter that has just failed, then probes it
with one request.

Each replica has a circuit, and so does each adapter on it: a failing adapter does not block the
other adapters of its replica, and an unreachable replica blocks all of them. An adapter's circuit
opens after a few failures in a row. A replica's circuit opens after failures of several adapters,
because one broken adapter may fail a hundred people at once. A circuit opens immediately after a
failure that leaves no doubt: nothing listens at the address, or the wrong adapter answered. It
stays open for a pause that doubles each time, or for as long as the engine asked for; then one
request, the probe, decides whether it closes. Each process keeps its own circuits in memory:
nothing here survives a restart.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from data.store.clock import now_us

REPLICA_LIMIT = 5  # different adapters that failed on a replica, without a success in between
ADAPTER_LIMIT = 3  # failures in a row of one adapter on a replica
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 30.0
EXPIRE_S = 600.0  # an open circuit unused for this long belongs to a removed replica


class OpenCircuit(NamedTuple):
    """An open circuit, for metrics and alerts."""

    replica: str
    adapter: str | None  # None: the whole replica
    since: int  # microseconds
    reason: str


@dataclass
class _Circuit:
    failures: set[object] = field(default_factory=set)  # in a row: each failure, or each adapter
    reopen_on_failure: bool = False  # its probe has started to answer but has not ended
    openings: int = 0  # in a row; 0: closed
    opened_at: float = 0.0  # the first opening in the row
    until: float = 0.0
    reason: str = ""
    probing: bool = False


Key = tuple[str, str | None]


class Breaker:
    """The circuits of one process. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: dict[Key, _Circuit] = {}  # only those with a failure
        self._generations: dict[str, int] = {}  # replica -> its engine's last known generation

    def note_generation(self, replica: str, generation: int) -> None:
        """Close the circuits of a replica whose engine has been restarted."""
        if self._generations.get(replica, generation) != generation:
            for key in [k for k in self._circuits if k[0] == replica]:
                del self._circuits[key]
        self._generations[replica] = generation

    def allows(self, replica: str, adapter: str) -> bool:
        """Whether a request for this adapter may be sent to this replica now."""
        return not self._circuits or all(
            circuit.openings == 0 or (circuit.until <= self._clock() and not circuit.probing)
            for circuit in self._known(replica, adapter)
        )

    def attempt(self, replica: str, adapter: str) -> "Attempt":
        """Start a request that `allows` permitted. Report its outcome to the attempt."""
        probed = [c for c in self._known(replica, adapter) if c.openings]
        for circuit in probed:
            circuit.probing = True
        return Attempt(self, replica, adapter, probed)

    def open(self) -> list[OpenCircuit]:
        """The circuits that are open or wait for a probe, sorted by name."""
        now, now_in_us = self._clock(), now_us()
        expired = [k for k, c in self._circuits.items() if c.openings and c.until + EXPIRE_S < now]
        for key in expired:
            del self._circuits[key]
        return sorted(
            (
                OpenCircuit(replica, adapter, now_in_us - int((now - c.opened_at) * 1e6), c.reason)
                for (replica, adapter), c in self._circuits.items()
                if c.openings
            ),
            key=lambda o: (o.replica, o.adapter or ""),
        )

    def wait_s(self, replica: str, adapter: str) -> float:
        """Seconds until a request for this adapter may be sent to this replica again."""
        waits = [c.until - self._clock() for c in self._known(replica, adapter) if c.openings]
        return max([0.0, *waits])

    def reason(self, replica: str, adapter: str) -> str:
        """Why the circuit is open; '' when it is closed."""
        return next((c.reason for c in self._known(replica, adapter) if c.openings), "")

    def _known(self, replica: str, adapter: str) -> Iterator[_Circuit]:
        for key in ((replica, None), (replica, adapter)):
            if key in self._circuits:
                yield self._circuits[key]

    def _failed(
        self,
        key: Key,
        failure: object,
        limit: int,
        reason: str,
        probe: bool,
        pause_s: float | None = None,
    ) -> None:
        """Count `failure`; `limit` different ones open the circuit. While the circuit is open, only
        its probe counts. `pause_s`: how long it stays open; None: by the number of openings."""
        circuit = self._circuits.setdefault(key, _Circuit())
        if circuit.openings and not probe:
            return  # sent before the circuit opened: it adds no information
        circuit.failures.add(failure)
        if not (probe or circuit.reopen_on_failure or len(circuit.failures) >= limit):
            return
        now = self._clock()
        if circuit.openings == 0:
            circuit.opened_at = now
        doubled = min(FIRST_PAUSE_S * 2.0**circuit.openings, MAX_PAUSE_S)
        pause = doubled if pause_s is None else pause_s
        circuit.openings = min(circuit.openings + 1, 10)  # by then the pause is at its maximum
        circuit.until, circuit.reason = now + pause, reason
        circuit.probing = circuit.reopen_on_failure = False

    def _succeeded(self, key: Key, probe: bool) -> None:
        circuit = self._circuits.get(key)
        if circuit is not None and (probe or circuit.openings == 0):
            del self._circuits[key]


class Attempt:
    """One request, which reports its outcome to its circuits. Always `release` it."""

    def __init__(
        self, breaker: Breaker, replica: str, adapter: str, probed: list[_Circuit]
    ) -> None:
        self._breaker = breaker
        self._replica: Key = (replica, None)
        self._adapter: Key = (replica, adapter)
        self._probed = probed

    def started(self) -> None:
        """The first piece arrived: other requests are allowed again. If this request then fails,
        its circuits reopen."""
        for circuit in self._probed:
            circuit.openings, circuit.probing, circuit.reopen_on_failure = 0, False, True
        self._probed = []

    def succeeded(self) -> None:
        """The answer is complete."""
        for key in (self._replica, self._adapter):
            self._breaker._succeeded(key, self._is_probe(key))

    def failed(self, reason: str) -> None:
        """The request failed, and the adapter or the replica may be the cause."""
        self._fail(self._adapter, object(), ADAPTER_LIMIT, reason)
        self._fail(self._replica, self._adapter, REPLICA_LIMIT, reason)

    def adapter_failed(self, reason: str) -> None:
        """The replica does not have this adapter, or served another one in its place."""
        self._fail(self._adapter, object(), 1, reason)

    def replica_failed(self, reason: str) -> None:
        """The replica cannot be reached."""
        self._fail(self._replica, self._adapter, 1, reason)

    def asked_to_wait(self, reason: str, seconds: float) -> None:
        """The replica answered that it has no time for `seconds`."""
        self._fail(self._replica, self._adapter, 1, reason, seconds)

    def release(self) -> None:
        """The request has ended, with or without an outcome; another one may be the probe."""
        for circuit in self._probed:
            circuit.probing = False
        self._probed = []

    def _fail(
        self, key: Key, failure: object, limit: int, reason: str, pause_s: float | None = None
    ) -> None:
        self._breaker._failed(key, failure, limit, reason, self._is_probe(key), pause_s)

    def _is_probe(self, key: Key) -> bool:
        return any(c is self._breaker._circuits.get(key) for c in self._probed)
