"""What `understudy serve` does: an engine, kept holding what the registry wants.

Three threads. The engine's own supervises vLLM. The heartbeat's writes this replica's state into
the store every few seconds, so that a bot on another machine knows whom to ask. The main one looks
at the registry several times a second, at the cost of one small query, and corrects the engine
when something differs. `ready` is said only when the engine holds `base@0` and has been given
all it should hold.

With `[serving] url` nothing is started: an engine that somebody else runs is watched and kept in
step. It must see the adapters' folder at the same path.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from data import placements
from data.config import Settings
from data.db import Store
from data.errors import UnderstudyError
from serving import adapters
from serving.engine import Engine, State, healthy

log = logging.getLogger(__name__)

LOOK_S = 0.2  # at the registry
BEAT_S = 4.0
COMPARE_S = 10.0  # with what the engine says it holds, though nothing changed
RETRY_S = 1.0
STATE_POLL_S = 1.0  # of an engine that is not ours


@dataclass
class Replica:
    """This process as others see it: what the heartbeat tells."""

    store: Store
    name: str
    url: str
    base_model: str
    state: State = "starting"
    detail: str = "starting"
    lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, state: State, detail: str = "") -> None:
        """Change the state, and tell at once."""
        with self.lock:
            if (state, detail) != (self.state, self.detail):
                self.state, self.detail = state, detail
                self._tell()

    def beat(self) -> None:
        with self.lock:
            self._tell()

    def _tell(self) -> None:
        try:
            with self.store.write() as db:
                placements.beat(db, self.name, self.url, self.base_model, self.state, self.detail)
        except UnderstudyError as error:
            log.warning("No heartbeat: %s", error)


class Keeper:
    """Decides when to compare the engine with the registry, and does it."""

    def __init__(self, settings: Settings, replica: Replica, *, ours: bool) -> None:
        self.settings = settings
        self.replica = replica
        self.ours = ours
        self._version = -1  # of the store's content, as SQLite counts it
        self._wanted: frozenset[str] = frozenset()
        self._next = 0.0

    def renew(self) -> None:
        """The engine has begun a new life: everything is to be loaded again."""
        adapters.forget_failures(self.replica.store, self.replica.name)
        adapters.ensure_base(self.replica.url, self.settings)
        self._compare()
        self.replica.set("ready")

    def look(self) -> None:
        """One look at the registry."""
        if self._registry_changed() or time.monotonic() >= self._next:
            self._compare()

    def _registry_changed(self) -> bool:
        db = self.replica.store.db
        version = db.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return False
        self._version = version
        now = adapters.wanted(db)
        changed = now != self._wanted
        self._wanted = now
        return changed

    def _compare(self) -> None:
        store, name, url = self.replica.store, self.replica.name, self.replica.url
        self._next = time.monotonic() + RETRY_S
        adapters.ensure_base(url, self.settings)
        outcome = adapters.sync(store, self.settings, name, url, ours=self.ours)
        if not outcome.unfinished:
            self._next = time.monotonic() + COMPARE_S


def run(settings: Settings, *, stop: threading.Event | None = None) -> int:
    """Serve until `stop` is set or the process is told to end; returns the exit code.

    Raises EngineFailed when the engine cannot be started at all.
    """
    stopping = threading.Event() if stop is None else stop
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
    with Store(settings.store_path) as store:
        if settings.serving.url:
            _follow(settings, store, stopping)
        else:
            _supervise(settings, store, stopping)
    return 0


def _supervise(settings: Settings, store: Store, stopping: threading.Event) -> None:
    """Run an engine of our own."""
    engine = Engine(settings)
    engine.start()  # before a word to the store: the port may be another `understudy serve`'s
    replica = Replica(store, "local", engine.url, settings.base.model)
    keeper = Keeper(settings, replica, ours=True)
    seen = 0
    beats = _beats(replica, stopping)
    try:
        while not stopping.is_set():
            if engine.failure is not None:
                raise engine.failure
            if engine.state != "ready":
                replica.set(engine.state, engine.detail)
            elif (life := engine.lives) != seen:
                if _try(keeper.renew, replica, stopping):
                    seen = life
            else:
                _try(keeper.look, replica, stopping)
            stopping.wait(LOOK_S)
    finally:
        stopping.set()
        beats.join()
        replica.set("down", "stopping")
        engine.stop()
        replica.set("down", str(engine.failure or "stopped").partition("\n")[0])


def _follow(settings: Settings, store: Store, stopping: threading.Event) -> None:
    """Keep an engine that somebody else runs in step with the registry."""
    url = settings.serving.url[0].rstrip("/")
    replica = Replica(store, urlsplit(url).netloc, url, settings.base.model)
    keeper = Keeper(settings, replica, ours=False)
    beats = _beats(replica, stopping)
    checked = 0.0
    try:
        while not stopping.is_set():
            if time.monotonic() - checked > STATE_POLL_S:
                checked = time.monotonic()
                if not healthy(url):
                    replica.set("down", f"{url} does not answer")
                elif replica.state != "ready":
                    _try(keeper.renew, replica, stopping)
            if replica.state == "ready":
                _try(keeper.look, replica, stopping)
            stopping.wait(LOOK_S)
    finally:
        stopping.set()
        beats.join()
        replica.set("down", "stopped")


def _try(step: Callable[[], None], replica: Replica, stopping: threading.Event) -> bool:
    """Run a step against the engine. A failure is logged, shows in the replica's state while it
    is not ready, and is followed by a pause."""
    try:
        step()
    except UnderstudyError as error:
        if replica.state != "ready":
            replica.set("starting", str(error))
        log.warning("The engine is not in step with the registry: %s", error)
        stopping.wait(RETRY_S)
        return False
    return True


def _beats(replica: Replica, stopping: threading.Event) -> threading.Thread:
    """Start the heartbeat."""

    def beat() -> None:
        while not stopping.wait(BEAT_S):
            replica.beat()

    replica.beat()
    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    return thread
