"""Restarts replicas one at a time, so that nobody's answer is cut and somebody always answers.

A restart is asked for in the store: by a person (`understudy replicas restart`), or by a replica
that the registry has outgrown. Draining comes first: from that transaction on nobody new is sent
there, and the answers that are being written end. While another replica is ready, the engine is
then ended and started again in place. The last one that answers is not taken down: on a CPU its
replacement is started beside it first, as memory allows; on a GPU there is none for two, so there
the questions wait, and the state says so.
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

LOOK_S = 0.2
SLACK_S = 10.0  # more than an answer may take
AGAIN_S = 600.0  # until what only the registry's growth asks for is tried again after a failure


class Rolling:
    """Carries out what is asked for. `look` again and again, from one thread."""

    def __init__(self, fleet: Fleet, stopping: threading.Event) -> None:
        self.fleet = fleet
        self.settings = fleet.settings
        self.store = fleet.store
        self._stopping = stopping
        self._put_off: dict[str, float] = {}  # replica -> until when

    def look(self) -> None:
        """Carry out the oldest restart that is asked for, if there is one, to its end."""
        try:
            asked = [r for r in placements.replicas(self.store.db) if self._due(r)]
            for row in sorted(asked, key=lambda r: r.restart_asked_at or 0)[:1]:
                replica = self.fleet.by_name(row.name)
                if replica is None:  # it was taken away while the store was busy
                    self.fleet.forget_gone()
                elif isinstance(replica.engine, Engine):
                    log.info("%s is restarted, as %s asked.", row.name, row.restart_asked_by)
                    self._restart(replica, replica.engine)
                with self.store.write() as db:
                    placements.restart_done(db, row.name, row.restart_asked_at)
        except (UnderstudyError, sqlite3.Error) as error:  # what is asked for stays so
            log.warning("The restart is put off: %s", error)
            self._stopping.wait(SLACK_S)

    def _due(self, row: placements.Replica) -> bool:
        """People's wishes at once, our own not again soon after they could not be met."""
        if row.restart_asked_at is None:
            return False
        return row.restart_asked_by != ACTOR or time.monotonic() > self._put_off.get(row.name, 0)

    def _restart(self, replica: ReplicaThread, engine: Engine) -> None:
        serving = self.settings.serving
        if too_large := engine.make_room(capacity.needed_capacity(self.store.db, serving)):
            log.warning("%s stays as large as it is: %s", replica.name, too_large)
        if replica.state == "ready" and not self.fleet.others_ready(replica):
            if engine.build.device == "cpu" and host_memory.room_for_another(engine.pid):
                self._replace(replica)
                return
            self._wait(lambda: self.fleet.others_ready(replica), self._others_may_take())
        self._in_place(replica, engine)

    def _others_may_take(self) -> float:
        """Seconds in which another replica, if there is one, should come back."""
        return self.settings.serving.start_timeout_s if len(self.fleet.replicas) > 1 else 0.0

    def _in_place(self, replica: ReplicaThread, engine: Engine) -> None:
        alone = not self.fleet.others_ready(replica)
        self._drain(replica, "restarting; questions wait meanwhile" if alone else "restarting")
        before = engine.lives
        if self._stopping.is_set():
            return
        replica.restart()
        self._wait(
            lambda: (
                engine.failure is not None or (engine.lives > before and replica.state == "ready")
            ),
            self.settings.serving.start_timeout_s + SLACK_S,
        )

    def _replace(self, old: ReplicaThread) -> None:
        """Start another one beside it, and end it when that one is ready."""
        try:
            new = self.fleet.add_beside()
        except EngineFailed as error:
            log.error("%s stays as it is: %s", old.name, error)  # noqa: TRY400 - a sentence
            self._put_off[old.name] = time.monotonic() + AGAIN_S
            return
        self._wait(
            lambda: new.state == "ready" or new.engine.failure is not None,
            self.settings.serving.start_timeout_s + SLACK_S,
        )
        if self._stopping.is_set():
            return
        if new.state != "ready":
            log.error("%s stays as it is, because another one did not start.", old.name)
            self._put_off[old.name] = time.monotonic() + AGAIN_S
            self.fleet.take_away(new)
            return
        self._drain(old, f"{new.name} takes its place")
        if not self._stopping.is_set():
            self.fleet.take_away(old)

    def _drain(self, replica: ReplicaThread, why: str) -> None:
        replica.drain(why)
        self._wait(lambda: not replica.busy(), self.settings.bot.answer_timeout_s + SLACK_S)

    def _wait(self, true: Callable[[], bool], seconds: float) -> None:
        """Until it is true, the time is over, or we are to stop."""
        deadline = time.monotonic() + seconds
        while not true() and time.monotonic() < deadline and not self._stopping.wait(LOOK_S):
            pass
