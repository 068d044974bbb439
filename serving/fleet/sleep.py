"""Puts engines to sleep while a run has the card, and wakes them again.

The main thread of `understudy serve` looks here several times a second; who wants what is in the
store (`data/gpu/time_sharing.py`). Sleep (vLLM's level 1: weights into the machine's memory, cache
thrown away) begins only when no answer is being written. After waking, nothing that the engine
holds is trusted: vLLM has been seen to apply adapters wrongly then, without an error
(https://github.com/vllm-project/vllm/issues/53888). All are unloaded, loaded again and asked their
canary questions like new ones before the replica is ready; an engine that then fails them, or does
not wake, is started anew.
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

LOOK_S = 0.2
SLACK_S = 10.0  # more than an answer may take
SLEEP_TIMEOUT_S = 300.0  # tens of gigabytes are copied
RELEASE_S = 60.0  # a run that is interrupted may take so long to let go of the card
AGAIN_S = 60.0  # until an engine that refused to sleep is asked again
WAKING = Backoff(attempts=3)  # before the engine is restarted instead


def put_to_sleep(url: str) -> None:
    """Raises EngineRefused, for an engine without sleep mode say."""
    ask(f"{url}/sleep?level=1", {}, timeout=SLEEP_TIMEOUT_S)


def wake(url: str) -> None:
    """Wake the engine and have it forget every adapter. Raises EngineRefused."""
    if not is_sleeping(url):
        return
    ask(f"{url}/wake_up", {}, timeout=SLEEP_TIMEOUT_S)
    for name in sync.held(url):
        sync.unload(url, name)


def is_sleeping(url: str) -> bool:
    """Raises EngineRefused."""
    answer = ask(f"{url}/is_sleeping")
    if not isinstance(answer, dict) or not isinstance(answer.get("is_sleeping"), bool):
        raise EngineRefused(f"What answers at {url} has no sleep mode.")
    return bool(answer["is_sleeping"])


def _sleeps(url: str) -> bool:
    """Whether an engine that did not say so has gone to sleep nevertheless."""
    try:
        return is_sleeping(url)
    except EngineRefused:
        return False


def await_card(settings: Settings, store: Store, stopping: threading.Event) -> None:
    """Before engines are started or watched: let a run that has the card end, and wake engines of
    somebody else's that were left asleep."""
    if settings.serving.gpu_sharing != "sleep":
        return
    while runs.any_at_work(store.db) and not stopping.wait(1.0):
        pass
    for url in settings.serving.url:
        try:
            wake(url)
        except EngineRefused as error:  # its replica's state will say what is wrong with it
            log.warning("Nobody knows whether %s sleeps: %s", url, error)


class Sleep:
    """The nap of all engines of a fleet. `look` again and again, from one thread."""

    def __init__(self, fleet: Fleet, stopping: threading.Event) -> None:
        self.fleet = fleet
        self.settings = fleet.settings
        self._stopping = stopping
        self._asleep: dict[str, int] = {}  # replica -> the life of the engine that sleeps
        self._woken: dict[str, int] = {}  # replica -> the life whose canaries are to be looked at
        self._until = 0.0  # how long a run may take to let go of the card
        self._not_before = 0.0

    @property
    def on(self) -> bool:
        """Whether an engine sleeps: nothing else is to be done with them then."""
        return bool(self._asleep)

    def look(self) -> None:
        """Put to sleep, wake, or do nothing."""
        if self.settings.serving.gpu_sharing != "sleep":
            return
        try:
            self._forget_crashed()
            if self._wanted():
                self._until = time.monotonic() + RELEASE_S
                self._all_to_sleep()
            elif self._asleep and self._let_go():
                self._wake_all()
            self._judge_woken()
        except (UnderstudyError, sqlite3.Error) as error:  # the store is busy: next time
            log.warning("Nobody is put to sleep or woken now: %s", error)

    def _wanted(self) -> bool:
        return time_sharing.card_wanted(self.fleet.store.db, self.settings, _now())

    def _let_go(self) -> bool:
        """Whether the run has released the card, or had its time for that."""
        return not runs.any_at_work(self.fleet.store.db) or time.monotonic() > self._until

    def _all_to_sleep(self) -> None:
        for replica in self.fleet.replicas:
            if replica.name in self._asleep:
                replica.rest(self._sentence())
            elif replica.state == "ready" and time.monotonic() > self._not_before:
                self._one_to_sleep(replica)

    def _one_to_sleep(self, replica: ReplicaThread) -> None:
        life = replica.engine.lives
        replica.drain(self._sentence())
        limit = self.settings.bot.answer_timeout_s + SLACK_S
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
                self._not_before = time.monotonic() + AGAIN_S
                replica.renew()
                return
        log.info("%s sleeps.", replica.name)
        self._asleep[replica.name] = life
        replica.rest(self._sentence())

    def _wake_all(self) -> None:
        for replica in [r for r in self.fleet.replicas if r.name in self._asleep]:
            replica.rouse()
            if self._wanted():  # a worker was faster: it saw the engine asleep
                replica.rest(self._sentence())
                continue
            life = self._asleep.pop(replica.name)
            if self._woke(replica):
                self._woken[replica.name] = life
            else:
                self._start_anew(replica)
            replica.renew()

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

    def _start_anew(self, replica: ReplicaThread) -> None:
        """An engine of somebody else's stays as it is: its state says what is wrong with it."""
        if isinstance(replica.engine, Engine):
            log.warning("%s is started anew.", replica.name)
            replica.engine.restart()

    def _forget_crashed(self) -> None:
        """An engine that ended in its sleep is started by its supervisor, and is awake then."""
        for replica in self.fleet.replicas:
            life = self._asleep.get(replica.name)
            if life is not None and (
                replica.engine.lives != life or replica.engine.state != "ready"
            ):
                log.warning("%s has ended in its sleep.", replica.name)
                del self._asleep[replica.name]
                replica.renew()

    def _judge_woken(self) -> None:
        """Start an engine anew that, since it woke, fails its adapters' canary questions."""
        for replica in self.fleet.replicas:
            life = self._woken.get(replica.name)
            if life is None or replica.state != "ready":
                continue
            del self._woken[replica.name]
            rows = placements.of_replica(self.fleet.store.db, replica.name)
            wrong = any(p.state == "failed" and p.agreement is not None for p in rows)
            if wrong and life == replica.engine.lives and isinstance(replica.engine, Engine):
                with self.fleet.store.write() as db:
                    why = "its adapters answer otherwise since it slept"
                    placements.ask_restart(db, replica.name, "serving", why)

    def _sentence(self) -> str:
        return time_sharing.learning(self.fleet.store.db, _now())

    def _wait(self, true: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not true() and time.monotonic() < deadline and not self._stopping.wait(LOOK_S):
            pass


def _now() -> datetime:
    """Local time, as `sleep_hours` are."""
    return datetime.now()
