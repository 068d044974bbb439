"""All replicas of this process: one for each engine in the settings.

Engines that are started here are named `local-1`, `local-2`, ... and use ports from `[serving]
port` on; external engines are named after their address. Replicas can be added and removed while
the others answer: a single engine is restarted without a gap like that (`rolling_restart.py`)."""

import logging
import threading
import time

from data.adapters import placements
from data.config.settings import Settings
from data.store.db import Store, sqlite3
from data.store.errors import UnderstudyError
from serving.engine import capacity, ports
from serving.engine.command import SHUTDOWN_S
from serving.engine.engine import Engine, EngineFailed
from serving.engine.external_engine import ExternalEngine
from serving.fleet.replica import ReplicaThread

log = logging.getLogger(__name__)

BEAT_S = 4.0
POLL_S = 0.2
PORTS = 100  # the range above `[serving] port` in which a free port is looked for
RETRY_S = 30.0  # before an engine whose first start failed is tried again


class Fleet:
    """Call `start` once and `stop` once."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.replicas: list[ReplicaThread] = []
        self._given_up: dict[str, float] = {}  # when an engine's first start failed
        self._stop = threading.Event()
        self._beats = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start or watch an engine for each configured replica. Raises EngineFailed when one cannot
        be started at all; then all are stopped."""
        serving = self.settings.serving
        made: list[ReplicaThread]
        if serving.url:
            made = [self._external(url) for url in serving.url]
        else:
            made = [self._local(n + 1, serving.port + n) for n in range(serving.replicas)]
        with self.store.write() as db:
            placements.delete_others(db, [replica.name for replica in made])
        try:
            for replica in made:
                replica.start()
                self.replicas.append(replica)
        except EngineFailed:
            self._end(self.replicas, 0)
            raise
        self._beats.start()

    def stop(self) -> None:
        """Stop sending questions here, wait at most `SHUTDOWN_S` for running answers, then stop all
        engines."""
        began = time.monotonic()
        for replica in self.replicas:
            try:
                replica.drain("stopping")
            except UnderstudyError as error:
                log.warning("%s is stopped without being drained: %s", replica.name, error)
        while time.monotonic() - began < SHUTDOWN_S and any(r.busy() for r in self.replicas):
            time.sleep(POLL_S)
        self._end(self.replicas, max(2.0, SHUTDOWN_S + 2 - (time.monotonic() - began)))
        self._stop.set()
        if self._beats.is_alive():
            self._beats.join()

    def check(self) -> None:
        """Retry engines whose first start failed. Raises the failure when no other engine is
        left."""
        failed = [r for r in self.replicas if r.engine.failure is not None]
        if failed and len(failed) == len(self.replicas):
            failure = failed[0].engine.failure
            assert failure is not None
            raise failure
        for replica in failed:
            since = self._given_up.setdefault(replica.name, time.monotonic())
            if time.monotonic() - since > RETRY_S:
                del self._given_up[replica.name]
                self._retry_start(replica)

    def by_name(self, name: str) -> ReplicaThread | None:
        return next((r for r in self.replicas if r.name == name), None)

    def others_ready(self, replica: ReplicaThread) -> bool:
        return any(r.state == "ready" for r in self.replicas if r is not replica)

    def add_replica(self) -> ReplicaThread:
        """Start one more local engine. Raises EngineFailed when that is impossible."""
        taken = {r.name for r in self.replicas}
        number = next(n for n in range(1, 1000) if f"{placements.OURS}{n}" not in taken)
        replica = self._local(number, self._free_port())
        replica.start()
        self.replicas.append(replica)
        return replica

    def remove_replica(self, replica: ReplicaThread) -> None:
        """Stop a replica that is no longer needed, and forget it."""
        self._end([replica], SHUTDOWN_S + 2)
        replica.forget()
        self.replicas.remove(replica)
        self.forget_gone()

    def forget_gone(self) -> None:
        """Delete replicas from the store that no longer exist."""
        with self.store.write() as db:
            placements.delete_others(db, [r.name for r in self.replicas])

    def _local(self, number: int, port: int) -> ReplicaThread:
        serving = self.settings.serving
        size = capacity.with_headroom(capacity.needed_capacity(self.store.db, serving), serving)
        engine = Engine(self.settings, number, port, size)
        return ReplicaThread(self.store, self.settings, engine)

    def _external(self, url: str) -> ReplicaThread:
        return ReplicaThread(self.store, self.settings, ExternalEngine(self.settings, url))

    def _retry_start(self, replica: ReplicaThread) -> None:
        engine = replica.engine
        assert isinstance(engine, Engine)
        try:
            again = self._local(engine.number, engine.port)
        except (UnderstudyError, sqlite3.Error) as error:  # the others continue
            log.warning("%s is not started again: %s", replica.name, error)
            return
        self._end([replica], 0)
        replica.forget()
        self.replicas.remove(replica)
        try:
            again.start()
        except EngineFailed as error:
            again.engine.failure = error
            again.set("down", str(error))
        self.replicas.append(again)

    def _free_port(self) -> int:
        first = self.settings.serving.port
        taken = {r.engine.port for r in self.replicas if isinstance(r.engine, Engine)}
        for port in range(first, min(first + PORTS, 65536)):
            if port not in taken and port != self.settings.bot.port and ports.free(port):
                return port
        raise EngineFailed(f"No port above {first} is free for another engine.")

    def _end(self, replicas: list[ReplicaThread], grace_s: float) -> None:
        """Stop them at the same time."""
        threads = [threading.Thread(target=r.stop, args=(grace_s,)) for r in replicas]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            for replica in list(self.replicas):
                replica.beat()
