"""A step of the wall clock moves no lease, and neither does a restart of the machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data import domains
from data.adapters import placements
from data.runs import runs
from data.slack import question_queue
from data.store import clock, lease_clock
from data.store.clock import now_us
from data.store.db import Store
from data.store.lease_clock import lease_us

HOUR_US = 3600 * 1_000_000


class Machine:
    """Its clocks: `wall` can be set, `since_boot` begins anew with each start. Seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.since_boot, self.boot = 1_800_000_000.0, 100.0, "one"
        monkeypatch.setattr(clock, "time", self)
        monkeypatch.setattr(lease_clock, "_since_boot_us", lambda: int(self.since_boot * 1e6))
        monkeypatch.setattr(lease_clock, "boot_id", lambda: self.boot)

    def time_ns(self) -> int:
        return int(self.wall * 1e9)

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.since_boot += seconds

    def restart(self, wall: float) -> None:
        self.wall, self.since_boot, self.boot = wall, 1.0, self.boot + "+"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def store(tmp_path: Path, machine: Machine) -> Iterator[Store]:
    with Store(tmp_path / "understudy.db") as store:
        yield store


def test_it_begins_with_the_wall_clock_and_ignores_its_steps(store: Store, machine: Machine):
    assert lease_us(store.db) == now_us()
    before = lease_us(store.db)
    machine.wall -= 3600
    machine.wait(5)
    assert lease_us(store.db) == before + 5_000_000


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_dead_worker_is_noticed_and_a_living_one_kept(store: Store, machine: Machine, step_s):
    with store.write() as db:
        runs.queue(db, domains.create(db, "helpdesk"), "ann", kind="full")
        run = runs.claim(db, "worker")
    assert run is not None
    machine.wall += step_s
    machine.wait(runs.SILENT_S - 1)
    with store.write() as db:
        assert runs.requeue_silent(db, 2) == []
        assert runs.any_running(db)
    machine.wait(2)
    with store.write() as db:
        assert not runs.any_running(db)
        assert runs.requeue_silent(db, 2) == [run.id]


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_an_engine_that_stopped_is_noticed_and_a_running_one_kept(store, machine, step_s):
    with store.write() as db:
        placements.record_heartbeat(db, "one", "http://one", "pocket", "ready")
    machine.wall += step_s
    machine.wait(placements.STALE_S - 1)
    assert [r.name for r in placements.ready(store.db)] == ["one"]
    machine.wait(2)
    assert placements.ready(store.db) == []


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_question_is_claimed_again_when_its_lease_ends(store, machine, step_s):
    with store.write() as db:
        question_queue.add(
            db, team="T1", channel="C1", ts="1.0", thread_ts="1.0", user="U1", text="Where?"
        )
        assert question_queue.claim(db, "a", 1, 10_000_000)
    machine.wall += step_s
    machine.wait(9)
    assert not question_queue.claimable(store.db)
    machine.wait(2)
    assert question_queue.claimable(store.db)


@pytest.mark.parametrize("wall", [1_700_000_000.0, 1_800_000_101.0, 1_900_000_000.0])
def test_a_restart_of_the_machine_ends_all_leases(tmp_path: Path, machine: Machine, wall: float):
    path = tmp_path / "store.db"
    with Store(path) as store, store.write() as db:
        placements.record_heartbeat(db, "one", "http://one", "pocket", "ready")
        before = lease_us(db)
    machine.restart(wall)
    with Store(path) as store:
        assert placements.ready(store.db) == []
        assert lease_us(store.db) > before
        with store.write() as db:
            placements.record_heartbeat(db, "one", "http://one", "pocket", "ready")
        assert len(placements.ready(store.db)) == 1


def test_heartbeats_of_an_earlier_version_that_lie_in_the_future_have_ended(tmp_path, machine):
    path = tmp_path / "store.db"
    with Store(path) as store, store.write() as db:
        placements.record_heartbeat(db, "one", "http://one", "pocket", "ready")
        db.execute("UPDATE replicas SET heartbeat_at = heartbeat_at + ?", [HOUR_US])
        db.execute("DELETE FROM lease_clock")
    with Store(path) as store:
        assert placements.ready(store.db) == []
