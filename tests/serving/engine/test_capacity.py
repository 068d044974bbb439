"""An engine's capacity: enough for the wanted adapters, with limited headroom."""

import pytest

from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.config.settings import ServingSettings
from data.experiments import experiments
from data.store.db import Store
from serving.engine.capacity import (
    SMALLEST,
    Capacity,
    contention,
    needed_capacity,
    shortage,
    with_headroom,
)
from tests.data import given

AUTO = ServingSettings()


def given_domain(store: Store, name: str, versions: int, rank: int = 16) -> list[Adapter]:
    """A domain whose versions were promoted one after the other."""
    with store.write() as db:
        domain = domains.create(db, name)
        made = [given.adapter(db, domain) for _ in range(versions)]
        db.execute("UPDATE adapters SET rank = ? WHERE domain_id = ?", [rank, domain.id])
        for adapter in made:
            registry.promote(db, adapter, "cli:ann")
    return made


def started(store: Store, serving: ServingSettings = AUTO) -> Capacity:
    return with_headroom(needed_capacity(store.db, serving), serving)


def test_an_empty_registry_gives_capacity_for_a_first_comparison(store: Store) -> None:
    assert started(store) == SMALLEST


def test_slots_are_for_the_base_live_adapters_and_their_fallbacks(store: Store) -> None:
    for name in ("helpdesk", "hr", "it"):
        given_domain(store, name, versions=3)
    assert needed_capacity(store.db, AUTO).max_loras == 1 + 3 * 2
    assert started(store).max_loras == 9


def test_a_comparison_takes_slots(store: Store) -> None:
    first, _, third = given_domain(store, "helpdesk", versions=3)
    before = needed_capacity(store.db, AUTO).max_loras
    with store.write() as db:
        experiments.start(db, domains.get(db, "helpdesk"), third, first, "cli:ann")
    assert needed_capacity(store.db, AUTO).max_loras == before + 1


def test_candidates_are_in_memory_but_take_no_slot(store: Store) -> None:
    with store.write() as db:
        domain = domains.create(db, "helpdesk")
        for _ in range(20):
            given.adapter(db, domain)
    need = needed_capacity(store.db, AUTO)
    assert (need.max_loras, need.max_cpu_loras) == (1, 21)
    assert started(store) == Capacity(max_loras=5, max_cpu_loras=64, max_rank=32)


@pytest.mark.parametrize(("rank", "expected"), [(8, 32), (32, 32), (64, 64), (256, 256)])
def test_the_rank_is_the_largest_of_the_wanted_adapters(
    store: Store, rank: int, expected: int
) -> None:
    given_domain(store, "helpdesk", versions=1, rank=rank)
    assert started(store).max_rank == expected


def test_the_rank_of_unserved_adapters_does_not_count(store: Store) -> None:
    first, *_ = given_domain(store, "helpdesk", versions=3)
    with store.write() as db:
        db.execute("UPDATE adapters SET rank = 512 WHERE id = ?", [first.id])
    assert started(store).max_rank == 32


def test_configured_values_take_precedence_over_the_registry(store: Store) -> None:
    for name in ("helpdesk", "hr", "it"):
        given_domain(store, name, versions=2, rank=64)
    serving = ServingSettings(max_loras=2, max_lora_rank=16)
    sizes = started(store, serving)
    assert (sizes.max_loras, sizes.max_rank) == (3, 16)
    assert not shortage(sizes, needed_capacity(store.db, serving))
    assert "6 adapters share 2 slots" in contention(store.db, serving)
    assert contention(store.db, AUTO) == ""


@pytest.mark.parametrize(
    ("need", "why"),
    [
        (Capacity(5, 16, 64), "rank 64 do not fit its limit of 32"),
        (Capacity(6, 16, 32), "6 adapters answer at once"),
        (Capacity(5, 17, 32), "17 adapters are wanted"),
        (Capacity(5, 16, 32), ""),
        (Capacity(1, 1, 8), ""),
    ],
)
def test_a_shortage_is_noticed(need: Capacity, why: str) -> None:
    assert why in shortage(Capacity(5, 16, 32), need)
    assert bool(shortage(Capacity(5, 16, 32), need)) == bool(why)


def test_the_capacity_rarely_grows(store: Store) -> None:
    """A hundred domains, one after the other, are a handful of restarts."""
    sizes, restarts = started(store), 0
    for number in range(100):
        given_domain(store, f"domain-{number}", versions=2)
        need = needed_capacity(store.db, AUTO)
        if shortage(sizes, need):
            sizes, restarts = with_headroom(need, AUTO), restarts + 1
    assert restarts <= 7


def test_headroom_covers_what_is_needed() -> None:
    for count in range(1, 70):
        need = Capacity(count, 3 * count, 64)
        assert not shortage(with_headroom(need, AUTO), need)
