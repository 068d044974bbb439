"""The circuit breaker: what has just failed is left alone for a while, then tried with one request.

There is a circuit for each replica, and one for each adapter on it: an adapter that fails does not
shut out its neighbours, and a replica that is gone shuts out all of them. A circuit opens after a
few failures in a row (a replica's: of so many adapters, for one adapter may fail a hundred people
at once), or at once where one failure says enough (nobody listens, the wrong adapter answered). It
stays open for a pause that doubles each time; then one request, the probe, finds out whether it
may close. Each process learns for itself, in memory: nothing here outlives a restart.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from data.store.clock import now_us

REPLICA_LIMIT = 5  # adapters that failed there, with no success in between
ADAPTER_LIMIT = 3  # failures in a row of one adapter there
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
FORGET_S = 600.0  # a circuit that nobody has tried for so long is a replica that is no more


class Open(NamedTuple):
    """An open circuit, for metrics and alerts."""

    replica: str
    adapter: str | None  # None: the whole replica
    since: int  # microseconds
    reason: str


@dataclass
class _Circuit:
    failed: set[object] = field(default_factory=set)  # in a row: each failure, or each adapter
    on_trial: bool = False  # the next failure opens it
    openings: int = 0  # in a row; 0: closed
    opened_at: float = 0.0  # the first of them
    until: float = 0.0
    reason: str = ""
    probing: bool = False


Key = tuple[str, str | None]


class Breaker:
    """The circuits of one process. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: dict[Key, _Circuit] = {}  # those without a failure have none
        self._lives: dict[str, int] = {}  # replica -> its engine's generation when last met

    def met(self, replica: str, generation: int) -> None:
        """An engine that was started anew is not to blame for its former life."""
        if self._lives.get(replica, generation) != generation:
            for key in [k for k in self._circuits if k[0] == replica]:
                del self._circuits[key]
        self._lives[replica] = generation

    def allows(self, replica: str, adapter: str) -> bool:
        """Whether this adapter may be asked on this replica now."""
        return not self._circuits or all(
            circuit.openings == 0 or (circuit.until <= self._clock() and not circuit.probing)
            for circuit in self._known(replica, adapter)
        )

    def attempt(self, replica: str, adapter: str) -> "Attempt":
        """A request that is sent now, which `allows` let through. Tell it how it went."""
        probed = [c for c in self._known(replica, adapter) if c.openings]
        for circuit in probed:
            circuit.probing = True
        return Attempt(self, replica, adapter, probed)

    def open(self) -> list[Open]:
        """What is left alone now, or waits for its probe, by name."""
        now, now_in_us = self._clock(), now_us()
        stale = [k for k, c in self._circuits.items() if c.openings and c.until + FORGET_S < now]
        for key in stale:
            del self._circuits[key]
        return sorted(
            (
                Open(replica, adapter, now_in_us - int((now - c.opened_at) * 1e6), c.reason)
                for (replica, adapter), c in self._circuits.items()
                if c.openings
            ),
            key=lambda o: (o.replica, o.adapter or ""),
        )

    def wait_s(self, replica: str, adapter: str) -> float:
        """Seconds until this adapter may be asked on this replica again."""
        waits = [c.until - self._clock() for c in self._known(replica, adapter) if c.openings]
        return max([0.0, *waits])

    def reason(self, replica: str, adapter: str) -> str:
        """Why this adapter is not asked on this replica; '' when it may be."""
        return next((c.reason for c in self._known(replica, adapter) if c.openings), "")

    def _known(self, replica: str, adapter: str) -> Iterator[_Circuit]:
        for key in ((replica, None), (replica, adapter)):
            if key in self._circuits:
                yield self._circuits[key]

    def _failed(self, key: Key, what: object, limit: int, reason: str, probe: bool) -> None:
        """`what` failed, of which `limit` open the circuit; an opened one only hears its probe."""
        circuit = self._circuits.setdefault(key, _Circuit())
        if circuit.openings and not probe:
            return  # it was sent before the circuit opened, and says nothing new
        circuit.failed.add(what)
        if not (probe or circuit.on_trial or len(circuit.failed) >= limit):
            return
        now = self._clock()
        if circuit.openings == 0:
            circuit.opened_at = now
        pause = min(FIRST_PAUSE_S * 2.0**circuit.openings, LONGEST_PAUSE_S)
        circuit.openings = min(circuit.openings + 1, 10)  # the pause has long stopped growing
        circuit.until, circuit.reason = now + pause, reason
        circuit.probing = circuit.on_trial = False

    def _succeeded(self, key: Key, probe: bool) -> None:
        circuit = self._circuits.get(key)
        if circuit is not None and (probe or circuit.openings == 0):
            del self._circuits[key]


class Attempt:
    """One request, and what its outcome says about its circuits. Always `release` it."""

    def __init__(
        self, breaker: Breaker, replica: str, adapter: str, probed: list[_Circuit]
    ) -> None:
        self._breaker = breaker
        self._replica: Key = (replica, None)
        self._adapter: Key = (replica, adapter)
        self._probed = probed

    def answers(self) -> None:
        """The first word came: others may ask again. One more failure opens the circuit anew."""
        for circuit in self._probed:
            circuit.openings, circuit.probing, circuit.on_trial = 0, False, True
        self._probed = []

    def succeeded(self) -> None:
        """The answer is whole."""
        for key in (self._replica, self._adapter):
            self._breaker._succeeded(key, self._is_probe(key))

    def failed(self, reason: str) -> None:
        """It failed in a way that may be the adapter's or the replica's fault."""
        self._fail(self._adapter, object(), ADAPTER_LIMIT, reason)
        self._fail(self._replica, self._adapter, REPLICA_LIMIT, reason)

    def adapter_failed(self, reason: str) -> None:
        """The replica does not have this adapter, or has another one in its place."""
        self._fail(self._adapter, object(), 1, reason)

    def replica_failed(self, reason: str) -> None:
        """Nobody listens there."""
        self._fail(self._replica, self._adapter, 1, reason)

    def release(self) -> None:
        """It ended, perhaps without saying anything: the next request may be the probe."""
        for circuit in self._probed:
            circuit.probing = False
        self._probed = []

    def _fail(self, key: Key, what: object, limit: int, reason: str) -> None:
        self._breaker._failed(key, what, limit, reason, self._is_probe(key))

    def _is_probe(self, key: Key) -> bool:
        return any(c is self._breaker._circuits.get(key) for c in self._probed)
