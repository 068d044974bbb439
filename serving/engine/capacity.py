"""The capacity of an engine for adapters, computed from the registry.

vLLM fixes three limits when it starts:

- `max_loras`: the number of adapters in one batch. A further adapter waits for a slot; its first
  token was measured to take 1.5 s instead of 0.05 s.
- `max_cpu_loras`: the number of adapters in memory. Others are read from the disk again.
- `max_rank`: the largest rank.

Slots and rank cost memory by their product, used or not. Both therefore follow the registry and are
rounded up, so that restarts for more capacity are rare. A configured value takes precedence.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from data.adapters import registry
from data.config.settings import ServingSettings
from data.lora_limits import COMMON_RANKS, MAX_RANK
from data.store.db import value

FEWEST_LORAS = 5  # base@0, a live adapter, its fallback, two in a comparison
FEWEST_CPU_LORAS = 32  # unused ones take no memory
LOWEST_RANK = 32  # twice the default recipe's; 64 would double the cost of every slot


@dataclass(frozen=True)
class Capacity:
    max_loras: int  # base@0 included
    max_cpu_loras: int
    max_rank: int


SMALLEST = Capacity(FEWEST_LORAS, FEWEST_CPU_LORAS, LOWEST_RANK)


def needed_capacity(db: Database, serving: ServingSettings) -> Capacity:
    """The smallest capacity that serves all wanted adapters without waiting."""
    wanted = registry.wanted_ids(db)
    hot = len(registry.hot_ids(db)) + 1
    max_loras = serving.max_loras + 1 if serving.max_loras else hot
    return Capacity(
        max_loras=max_loras,
        max_cpu_loras=max(max_loras, len(wanted) + 1),
        max_rank=serving.max_lora_rank or _largest_rank(db, wanted),
    )


def with_headroom(need: Capacity, serving: ServingSettings) -> Capacity:
    """The capacity to start an engine with: `need`, plus headroom where no setting fixes it."""
    max_loras = need.max_loras if serving.max_loras else _slots_for(need.max_loras)
    return Capacity(
        max_loras=max_loras,
        max_cpu_loras=max(max_loras, FEWEST_CPU_LORAS, _power_of_two(2 * need.max_cpu_loras)),
        max_rank=need.max_rank,
    )


def shortage(have: Capacity, need: Capacity) -> str:
    """Why the capacity `have` is too small for `need`, as the end of a sentence; '' if it is
    not."""
    if need.max_rank > have.max_rank:
        return f"adapters of rank {need.max_rank} do not fit its limit of {have.max_rank}"
    if need.max_loras > have.max_loras:
        return f"{need.max_loras} adapters answer at once, and it has slots for {have.max_loras}"
    if need.max_cpu_loras > have.max_cpu_loras:
        return f"{need.max_cpu_loras} adapters are wanted, and it keeps {have.max_cpu_loras}"
    return ""


def contention(db: Database, serving: ServingSettings) -> str:
    """A note when `[serving] max_loras` makes adapters share slots; '' when it does not."""
    hot = len(registry.hot_ids(db))
    if not serving.max_loras or hot <= serving.max_loras:
        return ""
    return f"{hot} adapters share {serving.max_loras} slots ([serving] max_loras)"


def _largest_rank(db: Database, wanted: frozenset[int]) -> int:
    """The largest rank of the wanted adapters, rounded up to one that vLLM accepts."""
    marks = ", ".join("?" * len(wanted))
    sql = f"SELECT max(rank) FROM adapters WHERE id IN ({marks})"  # noqa: S608 - question marks
    largest = max(value(db, sql, sorted(wanted)) or 0, LOWEST_RANK)
    return next((rank for rank in COMMON_RANKS if rank >= largest), MAX_RANK)


def _slots_for(count: int) -> int:
    """5, 9, 17, 33, ...: a power of two, plus one for the base."""
    return max(FEWEST_LORAS, _power_of_two(count - 1) + 1)


def _power_of_two(least: int) -> int:
    return 1 << max(0, least - 1).bit_length()
