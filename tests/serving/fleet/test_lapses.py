"""What an engine has lost is recorded before it is mended, with its refusal beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.config.settings import ServingSettings, Settings
from data.store.db import Store
from serving.engine.external_engine import ExternalEngine
from serving.fleet.replica import ReplicaThread
from tests import adapter_maker
from tests.serving.fake_vllm import FakeVllm, running


@pytest.fixture
def fake() -> Iterator[FakeVllm]:
    with running(FakeVllm()) as fake:
        yield fake


@pytest.fixture
def settings(tmp_path: Path, fake: FakeVllm) -> Settings:
    return Settings(home=tmp_path, serving=ServingSettings(url=(fake.url,)))


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store(settings.store_path) as store:
        yield store


@pytest.fixture
def adapter(store: Store, settings: Settings) -> Adapter:
    made = adapter_maker.register(store, settings, seed=1)
    with store.write() as db:
        return registry.promote(db, made, "cli:test")


@pytest.fixture
def replica(store: Store, settings: Settings, fake: FakeVllm, adapter: Adapter) -> ReplicaThread:
    engine = ExternalEngine(settings, fake.url)
    engine.state, engine.starts = "ready", 1
    replica = ReplicaThread(store, settings, engine)
    replica.beat()
    replica.look()
    assert replica.state == "ready"
    return replica


def look(replica: ReplicaThread) -> None:
    replica._reconciler._next = 0.0
    replica.look()


def recorded(store: Store, replica: ReplicaThread) -> tuple[str, str]:
    (found,) = placements.placements_on(store.db, replica.name)
    return found.state, found.error


def test_an_engine_that_forgot_everything_and_refuses_it_gets_no_questions(
    store: Store, replica: ReplicaThread, fake: FakeVllm, adapter: Adapter
) -> None:
    fake.held.clear()
    fake.refuse_all = True
    look(replica)

    assert recorded(store, replica)[0] != "loaded"
    assert placements.ready(store.db) == []
    (shown,) = placements.replicas(store.db)
    assert (shown.state, "it is malformed" in shown.detail) == ("starting", True)

    fake.refuse_all = False
    look(replica)
    assert recorded(store, replica) == ("loaded", "")
    assert [r.name for r in placements.ready(store.db)] == [replica.name]


def test_an_adapter_that_is_refused_again_says_why(
    store: Store, replica: ReplicaThread, fake: FakeVllm, adapter: Adapter
) -> None:
    del fake.held[adapter.served_name]
    fake.refuse_load[adapter.served_name] = 500
    look(replica)

    state, error = recorded(store, replica)
    assert (state, "it is malformed" in error) == ("failed", True)
    assert not placements.can_answer(store.db, replica.name, adapter.id)
    assert [r.name for r in placements.ready(store.db)] == [replica.name]


def test_while_it_is_loaded_again_the_record_does_not_say_that_it_is_held(
    store: Store, replica: ReplicaThread, fake: FakeVllm, adapter: Adapter
) -> None:
    seen = []
    fake.held.clear()
    fake.on_load = lambda name: seen.append((name, recorded(store, replica)[0]))
    look(replica)

    assert [state for _, state in seen] == ["loading", "loading"]
    assert recorded(store, replica) == ("loaded", "")
