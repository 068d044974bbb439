"""An engine sleeps while a run uses its GPU; then its adapters are loaded and checked again."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from data import domains
from data.adapters import placements
from data.adapters.registry import BASE_SERVED_NAME
from data.config.settings import ServingSettings, Settings
from data.gpu import time_sharing
from data.runs import runs
from data.runs.runs import Run
from data.store.clock import now_us
from data.store.db import Store
from serving import serve
from serving.engine.management_api import EngineRefused
from serving.fleet import sleep
from tests import adapter_maker
from tests.conftest import wait_until
from tests.serving.fake_vllm import FakeVllm
from tests.tuning.worker.test_worker import SUCCEED, Child
from tuning.worker import worker as tuning_worker


@dataclass
class Worker:
    """What a worker writes into the store."""

    store: Store

    def queue(self) -> Run:
        with self.store.write() as db:
            domain = domains.create(db, "learning")
            return runs.queue(db, domain, "cli:test", kind="full")

    def ask(self) -> None:
        with self.store.write() as db:
            time_sharing.request_card(db, time_sharing.WAITING)

    def begin(self) -> Run:
        with self.store.write() as db:
            claimed = runs.claim(db, "w1")
        assert claimed is not None
        return claimed

    def fall_silent(self) -> None:
        with self.store.write() as db:
            db.execute("UPDATE runs SET heartbeat_at = ?", [now_us() - 61_000_000])

    def end(self, run: Run) -> None:
        with self.store.write() as db:
            runs.fail(db, runs.get(db, run.id), "it was a test")


@pytest.fixture
def worker(store: Store) -> Worker:
    return Worker(store)


def serving_with(settings: Settings, fake: FakeVllm, hours: str) -> Settings:
    serving = ServingSettings(url=(fake.url,), gpu_sharing="sleep", sleep_hours=hours)
    return settings.model_copy(update={"serving": serving})


@pytest.fixture
def hours() -> str:
    return ""


@pytest.fixture
def sharing(settings: Settings, store: Store, fake: FakeVllm, hours: str) -> Iterator[Settings]:
    """Serving the fake, which shares its card by turns, in a thread, and ready."""
    settings = serving_with(settings, fake, hours)
    adapter_maker.register(store, settings)
    stop = threading.Event()
    thread = threading.Thread(target=serve.run, args=(settings,), kwargs={"stop": stop})
    thread.start()
    try:
        wait_until(lambda: ready(store), "readiness", 5)
        yield settings
    finally:
        stop.set()
        thread.join(15)
        assert not thread.is_alive()


def states(store: Store) -> list[str]:
    return [r.state for r in placements.replicas(store.db)]


def ready(store: Store) -> bool:
    return states(store) == ["ready"] and len(placements.loaded(store.db)) == 1


def asleep(store: Store) -> bool:
    return states(store) == ["asleep"]


def test_it_sleeps_when_a_worker_asks_and_wakes_when_the_run_has_ended(
    sharing, store, fake, worker
):
    held = set(fake.held)
    worker.queue()
    worker.ask()
    wait_until(lambda: asleep(store), "sleep", 5)
    assert fake.asleep
    assert placements.ready(store.db) == []
    run = worker.begin()
    with store.write() as db:
        runs.progress(db, runs.get(db, run.id), step=1, total_steps=9, eta_s=600)
    said = "The bot is learning until about"
    wait_until(lambda: said in placements.replicas(store.db)[0].detail, "the sentence", 5)
    fake.calls.clear()
    worker.end(run)
    wait_until(lambda: ready(store), "waking", 10)
    assert fake.naps == ["sleep", "wake_up"]
    unloaded = {name for what, name in fake.calls if what == "unload"}
    loaded = {name for what, name in fake.calls if what == "load"}
    assert unloaded == loaded == held  # nothing of before is trusted
    assert BASE_SERVED_NAME in loaded
    assert fake.disturbed == []


def test_an_answer_that_is_being_written_ends_first(sharing, store, fake, worker):
    begin_answer(store)
    worker.queue()
    worker.ask()
    wait_until(lambda: states(store) == ["draining"], "draining", 5)
    worker.ask()
    assert fake.naps == []
    with store.write() as db:
        db.execute("UPDATE replies SET status = 'done'")
    wait_until(lambda: asleep(store), "sleep", 5)


def begin_answer(store: Store) -> None:
    (replica,) = placements.replicas(store.db)
    with store.write() as db:
        domain = domains.get(db, "helpdesk")
        db.execute(
            "INSERT INTO conversations (id, domain_id, thread, person, created_at) "
            "VALUES (1, ?, 't', 'p', ?)",
            [domain.id, now_us()],
        )
        db.execute(
            "INSERT INTO replies (id, conversation_id, domain_id, person, replica, status, "
            "created_at, opened_at) VALUES ('r', 1, ?, 'p', ?, 'streaming', ?, ?)",
            [domain.id, replica.name, now_us(), now_us()],
        )


def test_a_queued_run_without_a_worker_puts_no_engine_to_sleep(sharing, store, fake, worker):
    worker.queue()
    threading.Event().wait(0.8)
    assert ready(store)
    assert fake.naps == []


def test_a_worker_that_disappears_leaves_no_engine_asleep(sharing, store, fake, worker):
    worker.queue()
    worker.ask()
    wait_until(lambda: asleep(store), "sleep", 5)
    worker.begin()
    worker.fall_silent()
    wait_until(lambda: ready(store), "waking", 10)


def test_a_worker_that_asked_and_disappeared_leaves_no_engine_asleep(sharing, store, fake, worker):
    worker.queue()
    worker.ask()
    wait_until(lambda: asleep(store), "sleep", 5)
    worker.fall_silent()
    wait_until(lambda: ready(store), "waking", 10)


def test_an_engine_that_cannot_sleep_goes_on_answering(sharing, store, fake, worker):
    fake.refuse_nap["sleep"] = 404
    worker.queue()
    worker.ask()
    wait_until(lambda: fake.naps == ["sleep"], "the attempt", 5)
    wait_until(lambda: ready(store), "its return", 5)
    worker.ask()
    threading.Event().wait(0.6)
    assert fake.naps == ["sleep"]  # not again at once


def test_an_engine_that_sleeps_despite_an_error_is_woken_later(sharing, store, fake, worker):
    """Its answer was late, or came from a proxy."""
    fake.refuse_nap["sleep"] = 500
    fake.naps_anyway = True
    worker.queue()
    worker.ask()
    wait_until(lambda: asleep(store), "sleep", 5)
    worker.fall_silent()
    wait_until(lambda: ready(store), "waking", 10)
    assert fake.disturbed == []


def test_an_engine_that_does_not_wake_at_once_is_asked_again(sharing, store, fake, worker):
    worker.queue()
    worker.ask()
    wait_until(lambda: asleep(store), "sleep", 5)
    fake.refuse_nap["wake_up"] = 500
    worker.fall_silent()
    wait_until(lambda: "wake_up" in fake.naps, "the first attempt", 5)
    fake.refuse_nap.clear()
    wait_until(lambda: ready(store), "waking", 10)
    assert not fake.asleep


class TestOutsideOfTheHours:
    @pytest.fixture
    def hours(self) -> str:
        begin = datetime.now() + timedelta(hours=2)
        return f"{begin:%H:%M}-{begin + timedelta(hours=1):%H:%M}"

    def test_the_engine_never_sleeps(self, sharing, store, fake, worker):
        worker.queue()
        worker.ask()
        worker.begin()
        threading.Event().wait(0.8)
        assert ready(store)
        assert fake.naps == []


class TestAtTheEndOfTheHours:
    @pytest.fixture
    def hours(self) -> str:
        return "22:00-06:00"

    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch) -> list[datetime]:
        """What time it is: the last."""
        times = [datetime(2026, 5, 4, 23, 0)]
        monkeypatch.setattr(sleep, "_now", lambda: times[-1])
        return times

    @pytest.mark.parametrize("lets_go", [True, False])
    def test_it_wakes_although_a_run_is_running(
        self, sharing, store, fake, worker, clock, monkeypatch, lets_go
    ):
        """When the run has let go of the card, or has had its time for that."""
        monkeypatch.setattr(sleep, "RELEASE_S", 60.0 if lets_go else 0.5)
        worker.queue()
        worker.ask()
        wait_until(lambda: asleep(store), "sleep", 5)
        run = worker.begin()
        clock.append(datetime(2026, 5, 5, 5, 58))  # awake by six
        threading.Event().wait(0.3)
        assert asleep(store)
        if lets_go:
            worker.end(run)
        wait_until(lambda: ready(store), "waking", 10)
        assert fake.naps == ["sleep", "wake_up"]


def test_an_engine_that_was_left_asleep_is_woken_at_the_start(settings, store, fake):
    fake.asleep = True
    fake.held["helpdesk@1-0a1b2c3d4e5f"] = "/there"
    sleep.await_gpu(serving_with(settings, fake, ""), store, threading.Event())
    assert not fake.asleep
    assert fake.held == {}


def test_an_engine_is_not_started_while_a_run_has_its_card(settings, store, fake, worker):
    worker.queue()
    run = worker.begin()
    given = (serving_with(settings, fake, ""), store, threading.Event())
    waiting = threading.Thread(target=sleep.await_gpu, args=given)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    worker.end(run)
    waiting.join(5)
    assert not waiting.is_alive()


def test_a_server_without_sleep_mode_is_reported(fake):
    with pytest.raises(EngineRefused, match="404"):
        sleep.is_sleeping(f"{fake.url}/elsewhere")


def test_a_real_worker_and_a_real_server_share_the_gpu(sharing, store, fake, monkeypatch):
    """The child writes down what state the engine was in while it had the card."""
    look = """
from data.adapters import placements
with Store(settings.store_path) as store:
    (settings.home / "seen").write_text(placements.replicas(store.db)[0].state)
"""
    monkeypatch.setattr(tuning_worker, "POLL_S", 0.02)
    Child(sharing, monkeypatch).does(look + SUCCEED)
    with store.write() as db:
        run = runs.queue(db, domains.create(db, "learning"), "cli:test", kind="full")
    stop = threading.Event()
    working = threading.Thread(target=tuning_worker.run, args=(sharing,), kwargs={"stop": stop})
    working.start()
    try:
        wait_until(lambda: runs.get(store.db, run.id).state == "done", "the run", 15)
        wait_until(lambda: ready(store), "waking", 15)
    finally:
        stop.set()
        working.join(15)
    assert (sharing.home / "seen").read_text() == "asleep"
    assert fake.naps == ["sleep", "wake_up"]
    assert fake.disturbed == []


def test_an_engine_that_ended_in_its_sleep_is_put_to_sleep_again(sharing, store, fake, worker):
    """It comes back awake and empty, while the run still has the card."""
    worker.queue()
    worker.ask()
    wait_until(lambda: asleep(store), "sleep", 5)
    run = worker.begin()
    fake.healthy = False
    wait_until(lambda: not asleep(store), "its end to be noticed", 10)
    fake.asleep = False
    fake.held.clear()
    fake.healthy = True
    wait_until(lambda: asleep(store) and fake.asleep, "the second sleep", 15)
    worker.end(run)
    wait_until(lambda: ready(store), "waking", 15)
    assert fake.naps == ["sleep", "sleep", "wake_up"]
