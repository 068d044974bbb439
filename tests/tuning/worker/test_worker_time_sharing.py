"""A worker that shares a GPU with the engine by time: when it starts and stops a run."""

import threading
from collections.abc import Iterator
from datetime import datetime

import pytest

from data.adapters import placements
from data.config.settings import ServingSettings, Settings
from data.domains import Domain
from data.gpu import time_sharing
from data.runs import runs
from data.runs.runs import Run
from data.store.db import Store
from tests.tuning.conftest import teach
from tests.tuning.worker.test_worker import SLEEP, SUCCEED, Child, until
from tuning.worker import worker

NIGHT, NOON = "2026-05-04 23:00", "2026-05-04 12:00"


class Clock:
    def __init__(self) -> None:
        self.now = NIGHT

    def __call__(self) -> datetime:
        return datetime.fromisoformat(self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turning(
    settings: Settings, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Child]:
    """A worker with hours from 22:00 to 06:00; what its child does is to be said."""
    for name, seconds in (("HEARTBEAT_S", 0.1), ("WATCH_S", 0.02), ("POLL_S", 0.02)):
        monkeypatch.setattr(worker, name, seconds)
    serving = ServingSettings(gpu_sharing="sleep", sleep_hours="22:00-06:00")
    settings = settings.model_copy(update={"serving": serving})
    child = Child(settings, monkeypatch)
    child.does(SUCCEED)
    stop = threading.Event()
    given = {"stop": stop, "clock": clock}
    thread = threading.Thread(target=worker.run, args=(settings,), kwargs=given)
    thread.start()
    yield child
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def engine(store: Store, state: str) -> None:
    with store.write() as db:
        placements.record_heartbeat(db, "local-1", "http://engine", "pocket", state)


def queue(store: Store, domain: Domain) -> Run:
    teach(store, domain, 3)
    with store.write() as db:
        return runs.request(db, domain, "ann")


def phase(store: Store, run: Run) -> tuple[str, str]:
    now = runs.get(store.db, run.id)
    return now.state, now.phase


def test_a_run_waits_for_its_hours_then_for_the_engine_then_it_begins(
    turning: Child, store: Store, domain: Domain, clock: Clock
) -> None:
    clock.now = NOON
    engine(store, "ready")
    run = queue(store, domain)
    until(lambda: phase(store, run) == ("queued", "waiting for 22:00"))
    clock.now = NIGHT
    until(lambda: phase(store, run) == ("queued", time_sharing.WAITING.text))
    assert turning.pids == []
    engine(store, "asleep")
    until(lambda: runs.get(store.db, run.id).state == "done")


def test_without_an_engine_nothing_is_waited_for(
    turning: Child, store: Store, domain: Domain
) -> None:
    run = queue(store, domain)
    until(lambda: runs.get(store.db, run.id).state == "done")


def test_when_the_hours_end_a_run_releases_the_gpu_and_resumes_later(
    turning: Child, store: Store, domain: Domain, clock: Clock
) -> None:
    turning.does(SLEEP)
    run = queue(store, domain)
    until(lambda: len(turning.pids) == 1)
    clock.now = NOON
    until(lambda: phase(store, run) == ("queued", "waiting for 22:00"))
    assert runs.get(store.db, run.id).attempts == 0  # it was no failure
    turning.does(SUCCEED)
    clock.now = NIGHT
    until(lambda: runs.get(store.db, run.id).state == "done")


def test_an_engine_that_does_not_sleep_is_not_waited_for_for_ever(
    turning: Child, store: Store, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SLEEP_TIMEOUT_S", 0.3)
    engine(store, "ready")
    run = queue(store, domain)
    until(lambda: runs.get(store.db, run.id).state == "failed")
    assert "The engine did not free the GPU" in runs.get(store.db, run.id).error
    assert turning.pids == []
    engine(store, "asleep")
    again = queue(store, domain)
    until(lambda: runs.get(store.db, again.id).state == "done")
