"""One engine as others see it, and the thread that keeps it in step with the registry.

Each replica has a thread of its own, so that one that hangs delays no other; its engine has another
(`serving/engine/engine.py`, `serving/engine/external_engine.py`), which notices at once when the
engine ends, whatever this one waits for. The state in the store is what decides who is asked: a
replica is `ready` only when its engine holds `base@0` and has been given all it should hold, and
from the transaction that makes it `draining` on nobody new is sent to it.
"""

import logging
import threading

from data.adapters import placements
from data.adapters.placements import STOPPED, ReplicaState
from data.config.settings import Settings
from data.conversations import conversations
from data.store.clock import now_us
from data.store.db import Store, sqlite3
from data.store.errors import UnderstudyError
from serving.engine.command import precision
from serving.engine.engine import Engine
from serving.engine.external_engine import ExternalEngine
from serving.fleet.reconciler import RETRY_S, Reconciler

log = logging.getLogger(__name__)

LOOK_S = 0.2  # at the registry


class ReplicaThread:
    """`start` it once, `stop` it once. `drain` and `resume` between are for restarts."""

    def __init__(self, store: Store, settings: Settings, engine: Engine | ExternalEngine) -> None:
        self.store = store
        self.settings = settings
        self.engine = engine
        self.name = engine.name
        self.ours = isinstance(engine, Engine)
        self.state: ReplicaState = "starting"
        self.detail = "starting"
        self.draining = False
        self._keeper = Reconciler(store, settings, engine, ours=self.ours)
        self._precision = precision(settings) if self.ours else ""
        self._life = 0  # of the engine: the one that was filled last
        self._forgotten = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"keep {self.name}", daemon=True)

    def start(self) -> None:
        """Raises EngineFailed when its port is taken; then nobody has heard of it."""
        self.engine.on_change = self._engine_changed
        self.engine.start()
        self.beat()
        self._thread.start()

    def stop(self, grace_s: float) -> None:
        """End the engine, if it is ours, letting its streams finish for `grace_s` at most."""
        self._stop.set()
        self.engine.stop(grace_s)
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            self.draining = False
        self.set("down", str(self.engine.failure or STOPPED).partition("\n")[0])

    def set(self, state: ReplicaState, detail: str = "") -> None:
        """Change the state, and tell at once. A draining one becomes nothing but `down`."""
        with self._lock:
            if self.draining and state != "down":
                return
            if (state, detail) != (self.state, self.detail):
                self.state, self.detail = state, detail
                self._tell_if_possible()

    def beat(self) -> None:
        with self._lock:
            self._tell_if_possible()

    def forget(self) -> None:
        """Another one has its place: from now on nothing is told of it, by whomever."""
        with self._lock:
            self._forgotten = True

    def drain(self, why: str) -> None:
        """Let nobody new be sent here. It is so when this returns; raises what the store raises."""
        with self._lock:
            self.draining = True
            if self.state != "down":
                self.state, self.detail = "draining", why
            self._tell()

    def restart(self) -> None:
        """Begin a new life of the engine, once it is drained; returns at once."""
        self.engine.restart()
        self.resume()

    def resume(self) -> None:
        """The engine's own state counts again."""
        with self._lock:
            self.draining = False

    def rest(self, why: str) -> None:
        """It was drained, and its engine sleeps. It is so when this returns."""
        self._become("asleep", why)

    def rouse(self) -> None:
        """Its engine is about to wake: nobody may take its card any more. It is so when this
        returns."""
        self._become("starting", "waking")

    def renew(self) -> None:
        """Hold nothing that was known of the engine for true: fill it as at its beginning."""
        self._keeper = Reconciler(self.store, self.settings, self.engine, ours=self.ours)
        self._life = 0
        with self._lock:
            self.state, self.detail = "starting", "starting"
            self.draining = False

    def busy(self) -> bool:
        """Whether it writes an answer. One that is older than an answer may be belongs to a bot
        that crashed. A store that cannot be read says yes."""
        oldest = now_us() - (self.settings.bot.answer_timeout_s + 10) * 1_000_000
        try:
            return conversations.being_written(self.store.db, self.name, oldest) > 0
        except sqlite3.Error as error:
            log.warning("Nobody knows whether %s is writing: %s", self.name, error)
            return True

    def _run(self) -> None:
        try:
            self._keep()
        finally:
            self.store.release()

    def _keep(self) -> None:
        while not self._stop.is_set():
            try:
                if not self.draining:
                    self._step()
            except (UnderstudyError, sqlite3.Error) as error:
                log.warning("%s is not in step with the registry: %s", self.name, error)
                if self.state not in ("ready", "draining"):
                    self.set("starting", str(error))
                self._stop.wait(RETRY_S)
            except Exception:  # a defect of ours; the others and the next attempt go on
                log.exception("%s could not be brought in step with the registry.", self.name)
                self._stop.wait(RETRY_S)
            self._stop.wait(LOOK_S)

    def _step(self) -> None:
        life = self.engine.lives
        if self.engine.state != "ready":
            self.set(self.engine.state, self.engine.detail)
        elif life != self._life:
            self._keeper.fill(life)
            self._life = life
        else:
            self._keeper.look()
        if self.engine.state == "ready" and self._life == self.engine.lives:
            self.set("ready", self._keeper.note)

    def _engine_changed(self) -> None:
        if self.engine.state != "ready":  # what it becomes then, it is only when it is filled
            self.set(self.engine.state, self.engine.detail)

    def _become(self, state: ReplicaState, detail: str) -> None:
        """A state of a drained replica; raises what the store raises."""
        with self._lock:
            if (state, detail) != (self.state, self.detail):
                self.state, self.detail = state, detail
                self._tell()

    def _tell_if_possible(self) -> None:
        try:
            self._tell()
        except (UnderstudyError, sqlite3.Error) as error:
            log.warning("No heartbeat of %s: %s", self.name, error)

    def _tell(self) -> None:
        """By the store's one writing thread: the callers are many, and some short-lived."""
        if self._forgotten:
            return
        size = self.engine.sizes
        self.store.submit_soon(
            lambda db: placements.beat(
                db,
                self.name,
                self.engine.url,
                self.settings.base.model,
                self.state,
                self.detail,
                precision=self._precision,
                max_loras=size.max_loras if size else 0,
                max_cpu_loras=size.max_cpu_loras if size else 0,
                max_rank=size.max_rank if size else 0,
            )
        ).result()
