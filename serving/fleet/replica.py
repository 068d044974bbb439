"""One engine, its published state, and the thread that keeps it in step with the registry.

Each replica has its own thread, so that a replica that hangs does not delay others. Its engine has
another thread (`serving/engine/engine.py`, `serving/engine/external_engine.py`), which notices at
once when the engine ends. The state in the store decides which replicas receive questions: a
replica is `ready` only when its engine holds `base@0` and every adapter it should hold. From the
transaction that makes it `draining` on, it receives no new questions.
"""

import logging
import threading

from data.adapters import placements
from data.adapters.placements import STOPPED, ReplicaState
from data.config import base_precision
from data.config.settings import Settings
from data.conversations import conversations
from data.store.db import Store, sqlite3
from data.store.errors import UnderstudyError
from serving.engine.engine import Engine
from serving.engine.external_engine import ExternalEngine
from serving.engine.liveness import Liveness
from serving.engine.management_api import EngineRefused
from serving.fleet.reconciler import RETRY_S, Reconciler

log = logging.getLogger(__name__)

POLL_S = 0.2  # between two comparisons with the registry


class ReplicaThread:
    """Call `start` once and `stop` once; `drain` and `resume` in between serve restarts."""

    def __init__(self, store: Store, settings: Settings, engine: Engine | ExternalEngine) -> None:
        self.store = store
        self.settings = settings
        self.engine = engine
        self.name = engine.name
        self.local = isinstance(engine, Engine)
        self.state: ReplicaState = "starting"
        self.detail = "starting"
        self.draining = False
        self._reconciler = Reconciler(store, settings, engine, local=self.local)
        self._liveness = Liveness(engine, settings.serving)
        self._probing = False
        self._precision = base_precision.served(settings) if self.local else ""
        self._filled = 0  # `starts` of the engine when it was last filled
        self._forgotten = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"keep {self.name}", daemon=True)

    def start(self) -> None:
        """Raises EngineFailed when its port is taken; then nothing was published about it."""
        self.engine.on_change = self._engine_changed
        self.engine.start()
        self.beat()
        self._thread.start()

    def stop(self, grace_s: float) -> None:
        """Stop the engine unless it is external, after at most `grace_s` seconds for its
        streams."""
        self._stop.set()
        self.engine.stop(grace_s)
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            self.draining = False
        self.set("down", str(self.engine.failure or STOPPED).partition("\n")[0])

    def set(self, state: ReplicaState, detail: str = "") -> None:
        """Change the state and publish it at once. A draining replica can only become `down`."""
        with self._lock:
            if self.draining and state != "down":
                return
            if (state, detail) != (self.state, self.detail):
                self.state, self.detail = state, detail
                self._publish_if_possible()

    def beat(self) -> None:
        with self._lock:
            self._publish_if_possible()

    def forget(self) -> None:
        """Publish nothing any more: another replica has taken over its name."""
        with self._lock:
            self._forgotten = True

    def drain(self, why: str) -> None:
        """Send no new questions here, from the moment this returns. Raises what the store
        raises."""
        with self._lock:
            self.draining = True
            if self.state != "down":
                self.state, self.detail = "draining", why
            self._publish()

    def restart(self) -> None:
        """Restart the engine of a drained replica; returns at once."""
        self.engine.restart()
        self.resume()

    def resume(self) -> None:
        """End draining: the state follows the engine again."""
        with self._lock:
            self.draining = False

    def mark_asleep(self, why: str) -> None:
        """Record that the engine of a drained replica sleeps, before this returns."""
        self._become("asleep", why)

    def mark_waking(self) -> None:
        """Record that the engine is about to wake, before this returns: from then on no run may
        use the GPU."""
        self._become("starting", "waking")

    def reset(self) -> None:
        """Forget what is known about the engine, and fill it as after a start."""
        self._reconciler = Reconciler(self.store, self.settings, self.engine, local=self.local)
        self._filled = 0
        with self._lock:
            self.state, self.detail = "starting", "starting"
            self.draining = False

    def busy(self) -> bool:
        """Whether it is writing an answer. Answers that are too old belong to a bot that crashed.
        True when the store cannot be read, and while the engine is probed."""
        if self._probing:
            return True
        within_s = self.settings.bot.answer_timeout_s + 10
        try:
            return conversations.count_streaming(self.store.db, self.name, within_s) > 0
        except sqlite3.Error as error:
            log.warning("It is unknown whether %s is writing: %s", self.name, error)
            return True

    def _run(self) -> None:
        try:
            self._loop()
        finally:
            self.store.release()

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(self.look())

    def look(self) -> float:
        """Compare the engine with the registry, and publish what was found; returns the seconds
        until the next time."""
        try:
            self._notice_hang()
            if not self.draining:
                self._step()
        except (UnderstudyError, sqlite3.Error) as error:
            log.warning("%s is not in step with the registry: %s", self.name, error)
            if isinstance(error, EngineRefused) and error.status is None:
                self._liveness.suspect()
            lost_base = self.state == "ready" and not self._reconciler.base_held
            if lost_base or self.state not in ("ready", "draining"):
                self.set("starting", str(error))
            return RETRY_S + POLL_S
        except Exception:  # a bug here; other replicas and the next attempt continue
            log.exception("Comparing %s with the registry failed.", self.name)
            return RETRY_S + POLL_S
        return POLL_S

    def _step(self) -> None:
        starts = self.engine.starts
        if self.engine.state != "ready":
            self.set(self.engine.state, self.engine.detail)
        elif starts != self._filled:
            self._reconciler.fill(starts)
            self._filled = starts
        else:
            self._reconciler.step()
        if self.engine.state == "ready" and self._filled == self.engine.starts:
            self.set("ready", self._reconciler.note)

    def _notice_hang(self) -> None:
        """Probe the engine if nothing came from it for a while. A draining one is about to be
        restarted, or put to sleep, which a probe would disturb."""
        with self._lock:
            if self.draining or not self._liveness.due():
                return
            self._probing = True
        try:
            self._liveness.look(self._stop)
        finally:
            self._probing = False

    def _engine_changed(self) -> None:
        if self.engine.state != "ready":  # it becomes ready only when it is filled
            self.set(self.engine.state, self.engine.detail)

    def _become(self, state: ReplicaState, detail: str) -> None:
        """Change the state of a drained replica. Raises what the store raises."""
        with self._lock:
            if (state, detail) != (self.state, self.detail):
                self.state, self.detail = state, detail
                self._publish()

    def _publish_if_possible(self) -> None:
        try:
            self._publish()
        except (UnderstudyError, sqlite3.Error) as error:
            log.warning("The heartbeat of %s was not written: %s", self.name, error)

    def _publish(self) -> None:
        """Write through the store's writing thread: there are many callers, some short-lived."""
        if self._forgotten:
            return
        size = self.engine.capacity
        self.store.submit_soon(
            lambda db: placements.record_heartbeat(
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
                lora_problem=self.engine.lora_problem or "",
                base_name=self._reconciler.base_name,
            )
        ).result()
