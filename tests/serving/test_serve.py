"""`understudy serve` over an engine that somebody else runs: ready, in step, and down."""

import threading
import time
from collections.abc import Iterator

import pytest

from data import domains, placements
from data.adapters import BASE_SERVED_NAME
from data.config import ServingSettings, Settings
from data.db import Store
from serving import serve
from serving.adapters import ATTEMPTS
from tests import adapter_maker
from tests.conftest import wait_until
from tests.serving.fake_vllm import FakeVllm


@pytest.fixture
def following(settings: Settings, store: Store, fake: FakeVllm) -> Iterator[Settings]:
    """Serving the fake by its URL, in a thread, and ready."""
    settings = settings.model_copy(update={"serving": ServingSettings(url=fake.url)})
    stop = threading.Event()
    thread = threading.Thread(target=serve.run, args=(settings,), kwargs={"stop": stop})
    thread.start()
    try:
        wait_until(lambda: placements.ready_urls(store.db) == [fake.url], "readiness", 5)
        yield settings
    finally:
        stop.set()
        thread.join(5)
    assert [r.state for r in placements.replicas(store.db)] == ["down"]


def test_a_ready_replica_is_named_after_its_address_and_holds_the_base(following, store, fake):
    (replica,) = placements.replicas(store.db)
    assert fake.url == f"http://{replica.name}"
    assert replica.generation == 1
    assert list(fake.held) == [BASE_SERVED_NAME]


def test_a_new_adapter_is_loaded_within_half_a_second(following, store, fake):
    began = time.monotonic()
    adapter = adapter_maker.register(store, following)
    wait_until(lambda: adapter.id in placements.loaded(store.db), "the loading", 5)
    assert time.monotonic() - began < 0.6
    assert placements.loaded(store.db) == {adapter.id: [fake.url]}


def test_an_engine_that_comes_back_empty_is_filled_again(following, store, fake):
    adapter = adapter_maker.register(store, following)
    wait_until(lambda: adapter.id in placements.loaded(store.db), "the loading", 5)
    fake.healthy = False
    wait_until(lambda: placements.ready_urls(store.db) == [], "the loss to be noticed", 5)
    assert placements.loaded(store.db) == {}
    fake.held.clear()
    fake.healthy = True
    wait_until(lambda: adapter.id in placements.loaded(store.db), "the second loading", 5)
    assert set(fake.held) == {BASE_SERVED_NAME, adapter.served_name}
    assert placements.replicas(store.db)[0].generation == 2


def test_the_engines_next_life_gives_a_failed_adapter_another_chance(
    following, store, fake, monkeypatch
):
    monkeypatch.setattr(serve, "RETRY_S", 0.05)
    fake.refuse_all = True
    adapter = adapter_maker.register(store, following)
    wait_until(lambda: _attempts(store) == ATTEMPTS, "the attempts", 10)
    fake.refuse_all = False
    fake.healthy = False
    wait_until(lambda: placements.ready_urls(store.db) == [], "the loss to be noticed", 5)
    fake.healthy = True
    wait_until(lambda: adapter.id in placements.loaded(store.db), "the loading", 5)


def _attempts(store: Store) -> int:
    (replica,) = placements.replicas(store.db)
    return sum(p.attempts for p in placements.of_replica(store.db, replica.name))


def test_a_replica_that_cannot_have_the_base_is_not_ready(settings, store, fake):
    fake.refuse_load[BASE_SERVED_NAME] = 500
    settings = settings.model_copy(update={"serving": ServingSettings(url=fake.url)})
    stop = threading.Event()
    thread = threading.Thread(target=serve.run, args=(settings,), kwargs={"stop": stop})
    thread.start()
    try:
        wait_until(lambda: "malformed" in _detail(store), "the reason", 5)
        assert placements.ready_urls(store.db) == []
        fake.refuse_load.clear()
        wait_until(lambda: placements.ready_urls(store.db) == [fake.url], "readiness", 5)
    finally:
        stop.set()
        thread.join(5)


def _detail(store: Store) -> str:
    return "".join(r.detail for r in placements.replicas(store.db))


def test_other_writes_to_the_store_make_the_engine_no_work(following, store, fake):
    calls = len(fake.calls)
    for number in range(20):
        with store.write() as db:
            domains.create(db, f"domain-{number}")
        time.sleep(0.02)
    assert len(fake.calls) == calls


def test_watching_costs_little(following):
    began = time.process_time()
    time.sleep(2)
    assert time.process_time() - began < 0.2
