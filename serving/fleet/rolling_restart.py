"""Restarts replicas one at a time, so that no answer is cut and some replica always answers.

A restart is requested in the store, by a person (`understudy replicas restart`) or by a replica
whose capacity is too small for the registry. The replica is drained first: from that transaction on
it receives no new questions, and running answers finish. If another replica is ready, the engine is
then stopped and started again in place. The last ready replica is not stopped like that: on a CPU,
its replacement starts before it stops, if memory allows. A GPU has no memory for two engines, so
questions wait there, and the replica's state says so.
"""

import logging
import threading
import time
from collections.abc import Callable

from data.adapters import placements
from data.store.db import sqlite3
from data.store.errors import UnderstudyError
from serving.engine import capacity, host_memory
from serving.engine.engine import Engine, EngineFailed
from serving.fleet.fleet import Fleet
from serving.fleet.reconciler import ACTOR
from serving.fleet.replica import ReplicaThread

log = logging.getLogger(__name__)

POLL_S = 0.2
MARGIN_S = 10.0  # on top of the time that an answer may take
RETRY_S = 600.0  # before a restart for more capacity is tried again after a failure


class RollingRestart:
    """Carries out requested restarts. Call `step` repeatedly, from one thread."""

    def __init__(self, fleet: Fleet, stopping: threading.Event) -> None:
        self.fleet = fleet
        self.settings = fleet.settings
        self.store = fleet.store
        self._stopping = stopping
        self._postponed: dict[str, float] = {}  # replica -> time of the next try

    def step(self) -> None:
        """Carry out the oldest requested restart, if there is one, to its end."""
        try:
            requested = [r for r in placements.replicas(self.store.db) if self._due(r)]
            for row in sorted(requested, key=lambda r: r.restart_asked_at or 0)[:1]:
                replica = self.fleet.by_name(row.name)
                if replica is None:  # it was removed while the store was busy
                    self.fleet.forget_gone()
                elif isinstance(replica.engine, Engine):
                    log.info(
                        "%s is restarted at the request of %s.", row.name, row.restart_asked_by
                    )
                    self._restart(replica, replica.engine)
                with self.store.write() as db:
                    placements.restart_done(db, row.name, row.restart_asked_at)
        except (UnderstudyError, sqlite3.Error) as error:  # the request stays in the store
            log.warning("The restart is postponed: %s", error)
            self._stopping.wait(MARGIN_S)

    def _due(self, row: placements.Replica) -> bool:
        """People's requests are due at once; automatic ones not soon after a failure."""
        if row.restart_asked_at is None:
            return False
        return row.restart_asked_by != ACTOR or time.monotonic() > self._postponed.get(row.name, 0)

    def _restart(self, replica: ReplicaThread, engine: Engine) -> None:
        serving = self.settings.serving
        if too_large := engine.reserve(capacity.needed_capacity(self.store.db, serving)):
            log.warning("%s keeps its capacity: %s", replica.name, too_large)
        if replica.state == "ready" and not self.fleet.others_ready(replica):
            if engine.build.device == "cpu" and host_memory.fits_another(engine.pid):
                self._replace(replica)
                return
            self._wait(lambda: self.fleet.others_ready(replica), self._time_for_others())
        self._in_place(replica, engine)

    def _time_for_others(self) -> float:
        """Seconds in which another replica, if there is one, should become ready."""
        return self.settings.serving.start_timeout_s if len(self.fleet.replicas) > 1 else 0.0

    def _in_place(self, replica: ReplicaThread, engine: Engine) -> None:
        alone = not self.fleet.others_ready(replica)
        self._drain(replica, "restarting; questions wait" if alone else "restarting")
        before = engine.starts
        if self._stopping.is_set():
            return
        replica.restart()
        self._wait(
            lambda: (
                engine.failure is not None or (engine.starts > before and replica.state == "ready")
            ),
            self.settings.serving.start_timeout_s + MARGIN_S,
        )

    def _replace(self, old: ReplicaThread) -> None:
        """Start a second engine, and stop the old one when the new one is ready."""
        try:
            new = self.fleet.add_replica()
        except EngineFailed as error:
            log.error("%s stays as it is: %s", old.name, error)  # noqa: TRY400 - an expected failure
            self._postponed[old.name] = time.monotonic() + RETRY_S
            return
        self._wait(
            lambda: new.state == "ready" or new.engine.failure is not None,
            self.settings.serving.start_timeout_s + MARGIN_S,
        )
        if self._stopping.is_set():
            return
        if new.state != "ready":
            log.error("%s stays as it is: its replacement did not start.", old.name)
            self._postponed[old.name] = time.monotonic() + RETRY_S
            self.fleet.remove_replica(new)
            return
        self._drain(old, f"{new.name} replaces it")
        if not self._stopping.is_set():
            self.fleet.remove_replica(old)

    def _drain(self, replica: ReplicaThread, why: str) -> None:
        replica.drain(why)
        self._wait(lambda: not replica.busy(), self.settings.bot.answer_timeout_s + MARGIN_S)

    def _wait(self, true: Callable[[], bool], seconds: float) -> None:
        """Wait until the condition is true, the time is over, or the process should stop."""
        deadline = time.monotonic() + seconds
        while not true() and time.monotonic() < deadline and not self._stopping.wait(POLL_S):
            pass
