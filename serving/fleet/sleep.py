"""Puts engines to sleep while a run uses the GPU, and wakes them again.

The main thread of `understudy serve` calls `step` several times a second. Worker and engines agree
through the store (`data/gpu/time_sharing.py`). Sleep is vLLM's level 1: the weights move to the
machine's memory and the cache is dropped. It begins only when no answer is being written.

After waking, the adapters in the engine are not trusted: vLLM has been seen to apply adapters
wrongly then, without an error (https://github.com/vllm-project/vllm/issues/53888). All adapters are
unloaded, loaded again and compared with their reference outputs before the replica is ready. An
engine that does not wake, or that fails the comparison, is restarted.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

from data.adapters import placements
from data.config.settings import Settings
from data.gpu import time_sharing
from data.retry import Backoff, retry
from data.runs import runs
from data.store.db import Store, sqlite3
from data.store.errors import UnderstudyError
from serving.adapters import sync
from serving.engine.engine import Engine
from serving.engine.management_api import EngineRefused, ask
from serving.fleet.fleet import Fleet
from serving.fleet.replica import ReplicaThread

log = logging.getLogger(__name__)

POLL_S = 0.2
MARGIN_S = 10.0  # on top of the time that an answer may take
SLEEP_TIMEOUT_S = 300.0  # tens of gigabytes are copied
RELEASE_S = 60.0  # how long an interrupted run may take to release the GPU
RETRY_S = 60.0  # before an engine that refused to sleep is asked again
WAKING = Backoff(attempts=3)  # before the engine is restarted instead


def put_to_sleep(url: str) -> None:
    """Raises EngineRefused, for example for an engine without sleep mode."""
    ask(f"{url}/sleep?level=1", {}, timeout=SLEEP_TIMEOUT_S)


def wake(url: str) -> None:
    """Wake the engine and unload every adapter. Raises EngineRefused."""
    if not is_sleeping(url):
        return
    ask(f"{url}/wake_up", {}, timeout=SLEEP_TIMEOUT_S)
    for name in sync.held_adapters(url):
        sync.unload(url, name)


def is_sleeping(url: str) -> bool:
    """Raises EngineRefused."""
    answer = ask(f"{url}/is_sleeping")
    if not isinstance(answer, dict) or not isinstance(answer.get("is_sleeping"), bool):
        raise EngineRefused(f"The server at {url} has no sleep mode.")
    return bool(answer["is_sleeping"])


def _sleeps(url: str) -> bool:
    """Whether an engine sleeps although its answer to the request said otherwise."""
    try:
        return is_sleeping(url)
    except EngineRefused:
        return False


def await_gpu(settings: Settings, store: Store, stopping: threading.Event) -> None:
    """Before engines are started or watched: wait for a run that uses the GPU, and wake external
    engines that were left asleep."""
    if settings.serving.gpu_sharing != "sleep":
        return
    while runs.any_running(store.db) and not stopping.wait(1.0):
        pass
    for url in settings.serving.url:
        try:
            wake(url)
        except EngineRefused as error:  # the state of its replica will say what is wrong
            log.warning("It is unknown whether %s sleeps: %s", url, error)


class SleepController:
    """Puts all engines of a fleet to sleep and wakes them. Call `step` repeatedly, from one
    thread."""

    def __init__(self, fleet: Fleet, stopping: threading.Event) -> None:
        self.fleet = fleet
        self.settings = fleet.settings
        self._stopping = stopping
        self._asleep: dict[str, int] = {}  # replica -> `starts` of the engine that sleeps
        self._woken: dict[str, int] = {}  # the same, of engines to check after waking
        self._release_by = 0.0  # when an interrupted run must have released the GPU
        self._not_before = 0.0

    @property
    def on(self) -> bool:
        """Whether any engine sleeps. Nothing else may be done with the engines then."""
        return bool(self._asleep)

    def step(self) -> None:
        """Put to sleep, wake, or do nothing."""
        if self.settings.serving.gpu_sharing != "sleep":
            return
        try:
            self._forget_crashed()
            if self._wanted():
                self._release_by = time.monotonic() + RELEASE_S
                self._put_all_to_sleep()
            elif self._asleep and self._gpu_released():
                self._wake_all()
            self._check_woken()
        except (UnderstudyError, sqlite3.Error) as error:  # the store is busy; try again later
            log.warning("No engine is put to sleep or woken now: %s", error)

    def _wanted(self) -> bool:
        return time_sharing.card_wanted(self.fleet.store.db, self.settings, _now())

    def _gpu_released(self) -> bool:
        """Whether the run has released the GPU, or its time for that is over."""
        return not runs.any_running(self.fleet.store.db) or time.monotonic() > self._release_by

    def _put_all_to_sleep(self) -> None:
        for replica in self.fleet.replicas:
            if replica.name in self._asleep:
                replica.mark_asleep(self._sentence())
            elif replica.state == "ready" and time.monotonic() > self._not_before:
                self._put_to_sleep(replica)

    def _put_to_sleep(self, replica: ReplicaThread) -> None:
        starts = replica.engine.starts
        replica.drain(self._sentence())
        limit = self.settings.bot.answer_timeout_s + MARGIN_S
        self._wait(lambda: not replica.busy() or not self._wanted(), limit)
        if self._stopping.is_set():
            return
        if not self._wanted():
            replica.resume()
            return
        try:
            put_to_sleep(replica.engine.url)
        except EngineRefused as error:
            log.warning("%s does not go to sleep: %s", replica.name, error)
            if not _sleeps(replica.engine.url):
                self._not_before = time.monotonic() + RETRY_S
                replica.reset()
                return
        log.info("%s sleeps.", replica.name)
        self._asleep[replica.name] = starts
        replica.mark_asleep(self._sentence())

    def _wake_all(self) -> None:
        for replica in [r for r in self.fleet.replicas if r.name in self._asleep]:
            replica.mark_waking()
            if self._wanted():  # a worker saw the engine asleep and has the GPU
                replica.mark_asleep(self._sentence())
                continue
            starts = self._asleep.pop(replica.name)
            if self._woke(replica):
                self._woken[replica.name] = starts
            else:
                self._restart(replica)
            replica.reset()

    def _woke(self, replica: ReplicaThread) -> bool:
        """Try to wake an engine; returns whether it is awake."""
        name, url = replica.name, replica.engine.url
        try:
            retry(
                lambda _: wake(url),
                WAKING,
                on=EngineRefused,
                on_error=lambda error, _: log.warning("%s does not wake: %s", name, error),
                sleep=self._stopping.wait,
            )
        except EngineRefused:
            return False
        log.info("%s is awake.", name)
        return True

    def _restart(self, replica: ReplicaThread) -> None:
        """Restart an engine that does not wake. An external engine stays as it is; its state says
        what is wrong."""
        if isinstance(replica.engine, Engine):
            log.warning("%s is restarted.", replica.name)
            replica.engine.restart()

    def _forget_crashed(self) -> None:
        """An engine that ended while it slept is restarted by its supervisor, and is awake then."""
        for replica in self.fleet.replicas:
            starts = self._asleep.get(replica.name)
            if starts is not None and (
                replica.engine.starts != starts or replica.engine.state != "ready"
            ):
                log.warning("%s ended while it slept.", replica.name)
                del self._asleep[replica.name]
                replica.reset()

    def _check_woken(self) -> None:
        """Restart an engine whose adapters no longer give their reference outputs after waking."""
        for replica in self.fleet.replicas:
            starts = self._woken.get(replica.name)
            if starts is None or replica.state != "ready":
                continue
            del self._woken[replica.name]
            rows = placements.placements_on(self.fleet.store.db, replica.name)
            wrong = any(p.state == "failed" and p.agreement is not None for p in rows)
            if wrong and starts == replica.engine.starts and isinstance(replica.engine, Engine):
                with self.fleet.store.write() as db:
                    why = "its adapters answer differently since it slept"
                    placements.request_restart(db, replica.name, "serving", why)

    def _sentence(self) -> str:
        return time_sharing.unavailable_message(self.fleet.store.db, _now())

    def _wait(self, true: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not true() and time.monotonic() < deadline and not self._stopping.wait(POLL_S):
            pass


def _now() -> datetime:
    """Local time, in which `sleep_hours` are given."""
    return datetime.now()
