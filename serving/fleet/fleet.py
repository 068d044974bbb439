"""All replicas of this process: one for each engine, made from the settings.

Engines of our own are `local-1`, `local-2`, ... on ports from `[serving] port` on; somebody else's
are called by their address. A replica may be added beside the others and one taken away while the
rest answers: that is how a single engine is restarted without a gap (`rolling_restart.py`).
"""

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
LOOK_S = 0.2
PORTS = 100  # how far from `[serving] port` a free one is looked for
AGAIN_S = 30.0  # until an engine whose first start failed is tried anew, while others answer


class Fleet:
    """`start` it once, `stop` it once."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.replicas: list[ReplicaThread] = []
        self._given_up: dict[str, float] = {}  # when an engine's first start failed
        self._stop = threading.Event()
        self._beats = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start an engine, or watch one, for each replica that is configured. Raises EngineFailed
        when one cannot even be tried; then none is left."""
        serving = self.settings.serving
        made: list[ReplicaThread]
        if serving.url:
            made = [self._watched(url) for url in serving.url]
        else:
            made = [self._own(n + 1, serving.port + n) for n in range(serving.replicas)]
        with self.store.write() as db:
            placements.keep_only(db, [replica.name for replica in made])
        try:
            for replica in made:
                replica.start()
                self.replicas.append(replica)
        except EngineFailed:
            self._end(self.replicas, 0)
            raise
        self._beats.start()

    def stop(self) -> None:
        """Send nobody new here, wait for the answers that are being written, for `SHUTDOWN_S` at
        most, then end all engines."""
        began = time.monotonic()
        for replica in self.replicas:
            try:
                replica.drain("stopping")
            except UnderstudyError as error:
                log.warning("%s is stopped without being drained: %s", replica.name, error)
        while time.monotonic() - began < SHUTDOWN_S and any(r.busy() for r in self.replicas):
            time.sleep(LOOK_S)
        self._end(self.replicas, max(2.0, SHUTDOWN_S + 2 - (time.monotonic() - began)))
        self._stop.set()
        if self._beats.is_alive():
            self._beats.join()

    def check(self) -> None:
        """See to engines whose first start failed. Raises the failure when no other is left."""
        failed = [r for r in self.replicas if r.engine.failure is not None]
        if failed and len(failed) == len(self.replicas):
            failure = failed[0].engine.failure
            assert failure is not None
            raise failure
        for replica in failed:
            since = self._given_up.setdefault(replica.name, time.monotonic())
            if time.monotonic() - since > AGAIN_S:
                del self._given_up[replica.name]
                self._try_anew(replica)

    def by_name(self, name: str) -> ReplicaThread | None:
        return next((r for r in self.replicas if r.name == name), None)

    def others_ready(self, replica: ReplicaThread) -> bool:
        return any(r.state == "ready" for r in self.replicas if r is not replica)

    def add_beside(self) -> ReplicaThread:
        """One more engine of our own, starting. Raises EngineFailed when that is impossible."""
        taken = {r.name for r in self.replicas}
        number = next(n for n in range(1, 1000) if f"{placements.OURS}{n}" not in taken)
        replica = self._own(number, self._free_port())
        replica.start()
        self.replicas.append(replica)
        return replica

    def take_away(self, replica: ReplicaThread) -> None:
        """End one that is not needed any more, and forget it."""
        self._end([replica], SHUTDOWN_S + 2)
        replica.forget()
        self.replicas.remove(replica)
        self.forget_gone()

    def forget_gone(self) -> None:
        """Delete what the store knows of replicas that are not here any more."""
        with self.store.write() as db:
            placements.keep_only(db, [r.name for r in self.replicas])

    def _own(self, number: int, port: int) -> ReplicaThread:
        serving = self.settings.serving
        size = capacity.roomy(capacity.needed_capacity(self.store.db, serving), serving)
        engine = Engine(self.settings, number, port, size)
        return ReplicaThread(self.store, self.settings, engine)

    def _watched(self, url: str) -> ReplicaThread:
        return ReplicaThread(self.store, self.settings, ExternalEngine(self.settings, url))

    def _try_anew(self, replica: ReplicaThread) -> None:
        engine = replica.engine
        assert isinstance(engine, Engine)
        try:
            anew = self._own(engine.number, engine.port)
        except (UnderstudyError, sqlite3.Error) as error:  # the others answer on
            log.warning("%s is not tried anew: %s", replica.name, error)
            return
        self._end([replica], 0)
        replica.forget()
        self.replicas.remove(replica)
        try:
            anew.start()
        except EngineFailed as error:
            anew.engine.failure = error
            anew.set("down", str(error))
        self.replicas.append(anew)

    def _free_port(self) -> int:
        first = self.settings.serving.port
        taken = {r.engine.port for r in self.replicas if isinstance(r.engine, Engine)}
        for port in range(first, min(first + PORTS, 65536)):
            if port not in taken and port != self.settings.bot.port and ports.free(port):
                return port
        raise EngineFailed(f"No port from {first} on is free for another engine.")

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
