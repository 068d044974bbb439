"""What engines hold: true for the engine's present life only, and only while it is heard of."""

import pytest

from data import placements
from data.clock import now_us
from data.db import Store
from data.domains import Domain
from tests.data import given


def beat(store: Store, state: str, name: str = "here") -> placements.Replica:
    with store.write() as db:
        placements.beat(db, name, f"http://{name}", "pocket", state)
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


def test_what_a_ready_engine_holds_is_routed_to(store: Store, adapter_id: int) -> None:
    beat(store, "ready")
    beat(store, "ready", "there")
    load(store, adapter_id)
    assert placements.loaded(store.db) == {adapter_id: ["http://here"]}
    assert placements.ready_urls(store.db) == ["http://here", "http://there"]
    load(store, adapter_id, "there")
    assert placements.loaded(store.db) == {adapter_id: ["http://here", "http://there"]}


def test_what_an_engine_held_ends_with_its_life(store: Store, adapter_id: int) -> None:
    beat(store, "ready")
    load(store, adapter_id)
    beat(store, "down")
    assert placements.loaded(store.db) == {}
    beat(store, "ready")
    assert placements.loaded(store.db) == {}


def test_a_silent_engine_is_not_asked(store: Store, adapter_id: int) -> None:
    beat(store, "ready")
    load(store, adapter_id)
    with store.write() as db:
        since = now_us() - (placements.STALE_S + 1) * 1_000_000
        db.execute("UPDATE replicas SET heartbeat_at = ?", [since])
    assert placements.replicas(store.db)[0].stale
    assert placements.ready_urls(store.db) == []
    assert placements.loaded(store.db) == {}


def test_failures_are_counted_until_it_works(store: Store, adapter_id: int) -> None:
    beat(store, "ready")
    with store.write() as db:
        placements.record_failed(db, "here", adapter_id, "no room")
        placements.record_failed(db, "here", adapter_id, "still none")
    (placement,) = placements.of_replica(store.db, "here")
    assert (placement.state, placement.attempts, placement.error) == ("failed", 2, "still none")
    load(store, adapter_id)
    (placement,) = placements.of_replica(store.db, "here")
    assert (placement.state, placement.attempts, placement.error) == ("loaded", 0, "")
    assert placement.load_ms == 12.5


def test_what_was_dropped_is_gone(store: Store, adapter_id: int) -> None:
    beat(store, "ready")
    load(store, adapter_id)
    with store.write() as db:
        placements.drop(db, "here", adapter_id)
    assert placements.of_replica(store.db, "here") == []
