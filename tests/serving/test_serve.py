"""`understudy serve` with external engines: ready, in sync, down and unreachable."""

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator

import orjson
import pytest

from data import domains
from data.adapters import placements
from data.adapters.placements import ATTEMPTS
from data.adapters.registry import BASE_SERVED_NAME
from data.bases import digest
from data.config.settings import POCKET, BaseModelSettings, ServingSettings, Settings
from data.store.db import Store
from serving import serve
from serving.engine import management_api
from serving.fleet import reconciler
from tests import adapter_maker
from tests.conftest import wait_until
from tests.serving.fake_vllm import FakeVllm, running


@contextlib.contextmanager
def serving(settings: Settings, *engines: FakeVllm) -> Iterator[Settings]:
    """`understudy serve` over these, in a thread."""
    urls = tuple(engine.url for engine in engines)
    settings = settings.model_copy(update={"serving": ServingSettings(url=urls)})
    stop = threading.Event()
    thread = threading.Thread(target=serve.run, args=(settings,), kwargs={"stop": stop})
    thread.start()
    try:
        yield settings
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    with Store(settings.store_path) as store:
        assert {r.state for r in placements.replicas(store.db)} == {"down"}


def ready(store: Store) -> set[str]:
    return set(placements.ready_urls(store.db))


@pytest.fixture
def following(settings: Settings, store: Store, fake: FakeVllm) -> Iterator[Settings]:
    """Serving the fake by its URL, and ready."""
    with serving(settings, fake) as served:
        wait_until(lambda: ready(store) == {fake.url}, "readiness", 5)
        yield served


@pytest.fixture
def other() -> Iterator[FakeVllm]:
    with running(FakeVllm()) as other:
        yield other


@pytest.fixture
def two(settings: Settings, store: Store, fake: FakeVllm, other: FakeVllm) -> Iterator[Settings]:
    """Serving two, and both ready."""
    with serving(settings, fake, other) as served:
        wait_until(lambda: ready(store) == {fake.url, other.url}, "readiness", 5)
        yield served


def test_a_ready_replica_is_named_after_its_address_and_holds_the_base(following, store, fake):
    (replica,) = placements.replicas(store.db)
    assert fake.url == f"http://{replica.name}"
    assert replica.generation == 1
    assert list(fake.held) == [BASE_SERVED_NAME]


def test_a_new_adapter_is_loaded(following, store, fake):
    adapter = adapter_maker.register(store, following)
    wait_until(lambda: adapter.id in placements.loaded(store.db), "the loading", 5)
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


def test_a_restart_of_the_engine_gives_a_failed_adapter_new_attempts(
    following, store, fake, monkeypatch
):
    monkeypatch.setattr(reconciler, "RETRY_S", 0.05)
    fake.refuse_all = True
    adapter = adapter_maker.register(store, following)
    wait_until(lambda: _attempts(store) == ATTEMPTS, "the attempts", 10)
    fake.refuse_all = False
    fake.healthy = False
    wait_until(lambda: placements.ready_urls(store.db) == [], "the loss to be noticed", 5)
    fake.healthy = True
    wait_until(lambda: adapter.id in placements.loaded(store.db), "the loading", 5)


def test_a_base_exchanged_while_an_engine_serves_it_needs_a_restart(
    settings, store, fake, tmp_path, monkeypatch
):
    """What the engine holds is the base as it was when the engine was started."""
    monkeypatch.setattr(reconciler, "RETRY_S", 0.05)
    folder = shutil.copytree(POCKET, tmp_path / "pocket")
    own = settings.model_copy(update={"base": BaseModelSettings(model=str(folder))})
    with serving(own, fake):
        wait_until(lambda: ready(store) == {fake.url}, "readiness", 5)
        (folder / "chat_template.jinja").write_text("{{ messages }}")
        adapter = adapter_maker.register(store, own)
        known = orjson.dumps(digest.of_base(own)).decode()
        with store.write() as db:
            db.execute("UPDATE adapters SET base_digest = ?, base_model = 'pocket'", [known])
        wait_until(lambda: "understudy replicas restart" in _error(store), "the reason", 10)
        fake.healthy = False
        wait_until(lambda: placements.ready_urls(store.db) == [], "the loss to be noticed", 5)
        fake.healthy = True
        wait_until(lambda: adapter.id in placements.loaded(store.db), "the loading", 10)


def _error(store: Store) -> str:
    (replica,) = placements.replicas(store.db)
    return " ".join(p.error for p in placements.placements_on(store.db, replica.name))


def _attempts(store: Store) -> int:
    (replica,) = placements.replicas(store.db)
    return sum(p.attempts for p in placements.placements_on(store.db, replica.name))


def test_a_replica_that_cannot_load_the_base_is_not_ready(settings, store, fake):
    fake.refuse_load[BASE_SERVED_NAME] = 500
    with serving(settings, fake):
        wait_until(lambda: "malformed" in _detail(store), "the reason", 5)
        assert ready(store) == set()
        fake.refuse_load.clear()
        wait_until(lambda: ready(store) == {fake.url}, "readiness", 5)


def test_an_engine_with_another_base_is_not_ready_and_names_that_base(settings, store, fake):
    fake.base = {"id": "llama", "root": "/models/Llama-3-8B"}
    with serving(settings, fake):
        wait_until(lambda: "Llama-3-8B, not pocket" in _detail(store), "the reason", 5)
        assert ready(store) == set()
        assert fake.held == {}
        fake.base = {"id": "pocket", "root": "/elsewhere/models/pocket"}
        wait_until(lambda: ready(store) == {fake.url}, "readiness", 5)


def test_every_replica_gets_every_adapter(two, store, fake, other):
    adapter = adapter_maker.register(store, two)
    wait_until(lambda: len(_holders(store, adapter.id)) == 2, "both to hold it", 5)
    assert set(fake.held) == set(other.held) == {BASE_SERVED_NAME, adapter.served_name}


def test_a_hanging_replica_does_not_delay_others(two, store, fake, other):
    other.network = "hangs"
    adapter = adapter_maker.register(store, two)
    wait_until(lambda: _holders(store, adapter.id) == {fake.url}, "the other to hold it", 5)
    other.network = "up"


@pytest.mark.parametrize("fault", ["resets", "hangs", "errors"])
def test_a_network_partition_affects_one_replica_until_it_heals(
    two, store, fake, other, fault, monkeypatch
):
    monkeypatch.setattr(management_api.healthy, "__defaults__", (0.3,))
    first = adapter_maker.register(store, two)
    wait_until(lambda: len(_holders(store, first.id)) == 2, "both to hold it", 5)
    other.network = fault
    wait_until(lambda: ready(store) == {fake.url}, "the loss to be noticed", 10)
    second = adapter_maker.register(store, two, seed=2)
    with store.write() as db:
        db.execute("UPDATE adapters SET state = 'retired' WHERE id = ?", [first.id])
    wait_until(lambda: _holders(store, second.id) == {fake.url}, "the other to go on", 5)
    assert first.served_name in other.held
    assert placements.leases(store.db, first.id) != []  # its files stay until that is known

    other.network = "up"
    wait_until(lambda: len(_holders(store, second.id)) == 2, "the healing", 10)
    wait_until(lambda: set(other.held) == set(fake.held), "the same state", 5)
    assert set(other.held) == {BASE_SERVED_NAME, second.served_name}
    assert placements.leases(store.db, first.id) == []


def test_an_engine_that_returns_with_stale_names_is_corrected(following, store, fake):
    old = adapter_maker.register(store, following)
    new = adapter_maker.register(store, following, seed=2)
    wait_until(lambda: len(placements.loaded(store.db)) == 2, "the loading", 5)
    fake.healthy = False
    wait_until(lambda: ready(store) == set(), "the loss to be noticed", 5)
    fake.held = {
        old.served_name: str(old.folder(following.home)),
        new.served_name: "/another/place",
    }
    with store.write() as db:
        db.execute("UPDATE adapters SET state = 'retired' WHERE id = ?", [old.id])
    fake.healthy = True
    wait_until(lambda: new.id in placements.loaded(store.db), "readiness", 10)
    wait_until(lambda: old.served_name not in fake.held, "the stale one to go", 5)
    assert fake.held[new.served_name] == str(new.folder(following.home))
    assert BASE_SERVED_NAME in fake.held


def test_an_adapter_loaded_before_a_crash_is_checked_and_then_used(settings, store, fake):
    adapter = adapter_maker.register(store, settings)
    fake.held[adapter.served_name] = str(adapter.folder(settings.home))
    with store.write() as db:  # as it was left: leased, loaded, not recorded
        placements.record_heartbeat(
            db, fake.url.removeprefix("http://"), fake.url, "pocket", "ready"
        )
        placements.lease(db, fake.url.removeprefix("http://"), adapter.id)
    with serving(settings, fake):
        wait_until(lambda: adapter.id in placements.loaded(store.db), "the loading", 10)
        assert ("unload", adapter.served_name) not in fake.calls


def test_an_adapter_that_crashes_the_engine_is_given_up_and_others_are_served(
    following, store, fake, monkeypatch
):
    monkeypatch.setattr(reconciler, "RETRY_S", 0.05)
    bad = adapter_maker.register(store, following)
    fake.refuse_load[bad.served_name] = 500
    good = adapter_maker.register(store, following, seed=2)
    wait_until(lambda: good.id in placements.loaded(store.db), "the good one", 5)
    wait_until(lambda: _attempts(store) == ATTEMPTS, "the attempts", 10)
    calls = len(fake.calls)
    domain = adapter_maker.register(store, following, seed=3)
    wait_until(lambda: domain.id in placements.loaded(store.db), "another good one", 5)
    assert len(fake.calls) == calls + 1  # the bad one was left alone
    (failed,) = [p for p in _rows(store) if p.state == "failed"]
    assert failed.error == "The engine answered 500: it is malformed"


def test_a_temporarily_locked_store_is_waited_for(following, store, fake):
    with store.write():
        time.sleep(0.5)  # nobody can write meanwhile
    adapter = adapter_maker.register(store, following)
    wait_until(lambda: adapter.id in placements.loaded(store.db), "the loading", 15)


def test_replicas_that_are_no_longer_configured_are_removed(settings, store, fake):
    with store.write() as db:
        placements.record_heartbeat(db, "local-1", "http://127.0.0.1:1", "pocket", "ready")
    with serving(settings, fake):
        wait_until(lambda: ready(store) == {fake.url}, "readiness", 5)
        assert len(placements.replicas(store.db)) == 1


def _holders(store: Store, adapter_id: int) -> set[str]:
    return set(placements.loaded(store.db).get(adapter_id, []))


def _rows(store: Store) -> list[placements.Placement]:
    (replica,) = placements.replicas(store.db)
    return placements.placements_on(store.db, replica.name)


def _detail(store: Store) -> str:
    return "".join(r.detail for r in placements.replicas(store.db))


def test_unrelated_writes_to_the_store_cause_no_requests(following, store, fake):
    calls = len(fake.calls)
    for number in range(20):
        with store.write() as db:
            domains.create(db, f"domain-{number}")
        time.sleep(0.02)
    assert len(fake.calls) == calls


def test_an_idle_reconciler_costs_little(following):
    began = time.process_time()
    time.sleep(2)
    assert time.process_time() - began < 0.2
