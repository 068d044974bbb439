"""The store lists exactly the existing replicas, despite late heartbeats and a busy store."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.adapters import placements
from data.config.settings import BaseModelSettings, ServingSettings, Settings
from data.store.db import Store
from serving.engine.engine import EngineFailed
from serving.fleet import fleet as fleet_module
from serving.fleet.fleet import Fleet
from serving.fleet.rolling_restart import RollingRestart
from tests.conftest import free_port, wait_until
from tests.serving.fake_vllm import FakeVllm


@pytest.fixture
def fleet(settings: Settings, store: Store, fake: FakeVllm) -> Iterator[Fleet]:
    serving = ServingSettings(url=(fake.url,))
    fleet = Fleet(settings.model_copy(update={"serving": serving}), store)
    fleet.start()
    wait_until(lambda: placements.ready_urls(store.db) == [fake.url], "readiness", 10)
    yield fleet
    fleet.stop()


def test_a_late_heartbeat_does_not_bring_back_a_removed_replica(fleet: Fleet, store: Store):
    (replica,) = fleet.replicas
    fleet.remove_replica(replica)
    replica.beat()
    assert placements.replicas(store.db) == []


def test_a_replica_that_could_not_be_deleted_is_deleted_later(
    fleet: Fleet, store: Store, fake: FakeVllm
):
    """The store was busy when another one had taken its place."""
    with store.write() as db:
        placements.record_heartbeat(
            db, "local-1", "http://127.0.0.1:9", "pocket", "down", "stopped"
        )
        placements.request_restart(db, "local-1", "cli:test")
    RollingRestart(fleet, threading.Event()).step()
    assert [r.url for r in placements.replicas(store.db)] == [fake.url]


def test_a_removed_replica_leaves_no_file_open(fleet: Fleet, store: Store, fake: FakeVllm):
    """An engine that is restarted every night may not use up the files of the process."""
    (kept,) = fleet.replicas
    counts = []
    for _ in range(5):
        another = fleet._external(fake.url)
        fleet.replicas.append(another)
        another.start()
        wait_until(lambda one=another: one.state == "ready", "readiness", 10)
        fleet.remove_replica(another)
        counts.append(open_files(store))
    assert counts[-1] == counts[0]
    assert fleet.replicas == [kept]


def open_files(store: Store) -> int:
    paths = [file.readlink() for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    return sum(path.name.startswith(store.path.name) for path in paths)


def test_an_engine_that_cannot_be_started_again_does_not_stop_others(
    fleet: Fleet, store: Store, monkeypatch: pytest.MonkeyPatch
):
    """Its base model's disk is away, say, while another engine has it in memory."""
    monkeypatch.setattr(fleet_module, "RETRY_S", 0.0)
    failed = fleet._local(1, free_port())
    failed.engine.failure = EngineFailed("It was not ready in time.")
    fleet.replicas.append(failed)
    gone = BaseModelSettings(model=str(store.path.parent / "gone"))
    fleet.settings = fleet.settings.model_copy(update={"base": gone})
    for _ in range(3):
        fleet.check()
    assert failed in fleet.replicas
    assert len(placements.ready(store.db)) == 1


def test_heartbeats_go_on_after_one_that_could_not_be_written(fleet: Fleet, store: Store):
    (replica,) = fleet.replicas
    refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON replicas BEGIN SELECT RAISE(ABORT, 'no'); END"
    with store.write() as db:
        db.execute(refuse)
    replica.beat()
    with store.write() as db:
        db.execute("DROP TRIGGER refuse")
        db.execute("UPDATE replicas SET heartbeat_at = 0")
    replica.beat()
    assert len(placements.ready(store.db)) == 1
