"""Placements: valid for the current start of an engine, and only with recent heartbeats."""

import pytest

from data.adapters import placements, registry
from data.domains import Domain
from data.store import audit
from data.store.clock import now_us
from data.store.db import Store
from data.store.errors import Conflict, NotFound
from tests.data import given


def beat(store: Store, state: str, name: str = "here") -> placements.Replica:
    with store.write() as db:
        placements.record_heartbeat(db, name, f"http://{name}", "pocket", state)
    return next(r for r in placements.replicas(store.db) if r.name == name)


@pytest.fixture
def adapter_id(store: Store, domain: Domain) -> int:
    with store.write() as db:
        return given.adapter(db, domain).id


def load(store: Store, adapter_id: int, name: str = "here") -> None:
    with store.write() as db:
        placements.record_loaded(db, name, adapter_id, 12.5)


def test_every_start_of_an_engine_is_a_new_generation(store: Store) -> None:
    lives = [beat(store, state).generation for state in ("starting", "ready", "ready", "down")]
    assert lives == [0, 1, 1, 1]
    assert beat(store, "ready").generation == 2


def test_adapters_on_a_ready_engine_are_routed_to(store: Store, adapter_id: int) -> None:
    beat(store, "ready")
    beat(store, "ready", "there")
    load(store, adapter_id)
    assert placements.loaded(store.db) == {adapter_id: ["http://here"]}
    assert placements.ready_urls(store.db) == ["http://here", "http://there"]
    load(store, adapter_id, "there")
    assert placements.loaded(store.db) == {adapter_id: ["http://here", "http://there"]}


def test_a_replica_that_is_not_ready_keeps_its_rows_and_is_not_routed_to(
    store: Store, adapter_id: int
) -> None:
    beat(store, "ready")
    load(store, adapter_id)
    for state in ("draining", "asleep", "down", "starting"):
        beat(store, state)
        assert placements.loaded(store.db) == {}
        assert not placements.can_answer(store.db, "here", adapter_id)
        assert placements.leases(store.db, adapter_id) == ["here"]
    beat(store, "ready")
    assert placements.can_answer(store.db, "here", adapter_id)


def test_a_new_process_holds_nothing(store: Store, adapter_id: int) -> None:
    beat(store, "ready")
    load(store, adapter_id)
    with store.write() as db:
        placements.record_restart(db, "here", empty=True)
    assert placements.leases(store.db, adapter_id) == []


def test_an_unreachable_engine_keeps_its_leases_until_it_is_checked(
    store: Store, adapter_id: int
) -> None:
    beat(store, "ready")
    load(store, adapter_id)
    with store.write() as db:
        placements.record_restart(db, "here", empty=False)
    (placement,) = placements.placements_on(store.db, "here")
    assert (placement.state, placement.load_ms) == ("loading", None)
    assert placements.loaded(store.db) == {}


@pytest.mark.parametrize("empty", [True, False])
def test_an_adapter_that_was_loading_when_the_engine_ended_keeps_its_attempts(
    store: Store, adapter_id: int, empty: bool
) -> None:
    """It may be why. Otherwise an adapter that kills the engine would kill it for ever."""
    beat(store, "ready")
    for attempts in (1, 2, 3):
        with store.write() as db:
            placements.lease(db, "here", adapter_id)
            placements.record_restart(db, "here", empty=empty)
        (placement,) = placements.placements_on(store.db, "here")
        assert (placement.state, placement.attempts) == ("failed", attempts)
    load(store, adapter_id)
    with store.write() as db:
        placements.record_restart(db, "here", empty=empty)
    assert [p.attempts for p in placements.placements_on(store.db, "here")] == (
        [] if empty else [0]
    )


def test_a_silent_engine_gets_no_requests(store: Store, adapter_id: int) -> None:
    beat(store, "ready")
    load(store, adapter_id)
    with store.write() as db:
        since = now_us() - (placements.STALE_S + 1) * 1_000_000
        db.execute("UPDATE replicas SET heartbeat_at = ?", [since])
    assert placements.replicas(store.db)[0].stale
    assert placements.ready_urls(store.db) == []
    assert placements.loaded(store.db) == {}


def test_failed_attempts_are_counted_until_a_success(store: Store, adapter_id: int) -> None:
    beat(store, "ready")
    with store.write() as db:
        placements.record_failed(db, "here", adapter_id, "no room")
        placements.record_failed(db, "here", adapter_id, "still none")
    (placement,) = placements.placements_on(store.db, "here")
    assert (placement.state, placement.attempts, placement.error) == ("failed", 2, "still none")
    load(store, adapter_id)
    (placement,) = placements.placements_on(store.db, "here")
    assert (placement.state, placement.attempts, placement.error) == ("loaded", 0, "")
    assert placement.load_ms == 12.5


def test_a_dropped_placement_is_deleted(store: Store, adapter_id: int) -> None:
    beat(store, "ready")
    load(store, adapter_id)
    with store.write() as db:
        placements.drop(db, "here", adapter_id)
    assert placements.placements_on(store.db, "here") == []


@pytest.mark.parametrize("state", ["loading", "draining", "failed"])
def test_only_loaded_adapters_get_requests(store: Store, adapter_id: int, state: str) -> None:
    beat(store, "ready")
    load(store, adapter_id)
    assert placements.can_answer(store.db, "here", adapter_id)
    with store.write() as db:
        if state == "loading":
            assert placements.lease(db, "here", adapter_id)
        elif state == "draining":
            placements.drain(db, "here", adapter_id)
        else:
            placements.record_failed(db, "here", adapter_id, "no")
    assert not placements.can_answer(store.db, "here", adapter_id)
    assert placements.can_answer(store.db, "here", None)


def test_a_removed_adapter_gets_no_lease(store: Store, domain: Domain) -> None:
    beat(store, "ready")
    with store.write() as db:
        adapter = given.adapter(db, domain, "rejected")
        registry.remove(db, adapter, "cli:ann")
        assert not placements.lease(db, "here", adapter.id)
    assert placements.leases(store.db, adapter.id) == []


def test_a_failed_adapter_can_be_retried(store: Store, adapter_id: int) -> None:
    beat(store, "ready")
    with store.write() as db:
        with pytest.raises(Conflict, match="failed on no replica"):
            placements.retry(db, adapter_id, "cli:ann", "helpdesk@1")
        for _ in range(3):
            placements.record_failed(db, "here", adapter_id, "no room")
        assert placements.retry(db, adapter_id, "cli:ann", "helpdesk@1") == ["here"]
    (placement,) = placements.placements_on(store.db, "here")
    assert placement.attempts == 0
    assert audit.recent(store.db)[0].action == "retry"


def test_replicas_that_are_no_longer_run_are_deleted_with_their_leases(
    store: Store, adapter_id: int
) -> None:
    for name in ("local-1", "local-2"):
        beat(store, "ready", name)
        load(store, adapter_id, name)
    with store.write() as db:
        assert placements.delete_others(db, ["local-1"]) == ["local-2"]
    assert placements.leases(store.db, adapter_id) == ["local-1"]


def test_repeated_restart_requests_count_once_and_end_with_that_restart(store: Store) -> None:
    beat(store, "ready", "local-1")
    with store.write() as db:
        placements.request_restart(db, "local-1", "cli:ann")
        placements.request_restart(db, "local-1", "cli:bob")
    asked = placements.replica(store.db, "local-1")
    assert (asked.restart_asked_by, len(audit.recent(store.db))) == ("cli:ann", 1)
    with store.write() as db:
        placements.restart_done(db, "local-1", 1)
        assert placements.replica(db, "local-1").restart_asked_at is not None
        placements.restart_done(db, "local-1", asked.restart_asked_at)
        assert placements.replica(db, "local-1").restart_asked_at is None


def test_only_local_engines_can_be_restarted(store: Store) -> None:
    beat(store, "ready", "gpu1:8000")
    with store.write() as db:
        with pytest.raises(Conflict, match="is an external engine"):
            placements.request_restart(db, "gpu1:8000", "cli:ann")
        with pytest.raises(NotFound, match="there are: gpu1:8000"):
            placements.request_restart(db, "local-7", "cli:ann")
