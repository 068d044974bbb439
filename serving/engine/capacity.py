"""How many adapters an engine has room for, worked out from the registry.

vLLM fixes three sizes when it starts. `max_loras`: how many adapters are computed in one batch;
one more waits for a place (1.5 s to its first word were measured, against 0.05). `max_cpu_loras`:
how many it keeps in memory beside; others are read from the disk again. `max_rank`: the width of
the widest. Places and rank cost memory by their product, used or not, so both follow the registry
and are rounded up, so that a restart for more is rare. A setting that is given wins.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from data.adapters import registry
from data.config.settings import ServingSettings
from data.lora_limits import COMMON_RANKS, MAX_RANK
from data.store.db import value

FEWEST_LORAS = 5  # base@0, a live one, its fall-back, two in comparison
FEWEST_CPU_LORAS = 32  # they take memory only when there are so many
LOWEST_RANK = 32  # twice the default recipe's; 64 would double what every place costs


@dataclass(frozen=True)
class Capacity:
    max_loras: int  # base@0 included
    max_cpu_loras: int
    max_rank: int


SMALLEST = Capacity(FEWEST_LORAS, FEWEST_CPU_LORAS, LOWEST_RANK)


def needed_capacity(db: Database, serving: ServingSettings) -> Capacity:
    """The smallest sizes with which everything that is wanted can be served without waiting."""
    wanted = registry.wanted_ids(db)
    hot = len(registry.hot_ids(db)) + 1
    max_loras = serving.max_loras + 1 if serving.max_loras else hot
    return Capacity(
        max_loras=max_loras,
        max_cpu_loras=max(max_loras, len(wanted) + 1),
        max_rank=serving.max_lora_rank or _largest_rank(db, wanted),
    )


def roomy(need: Capacity, serving: ServingSettings) -> Capacity:
    """What an engine is started with: `need`, with room to grow where no setting says how much."""
    max_loras = need.max_loras if serving.max_loras else _room_for(need.max_loras)
    return Capacity(
        max_loras=max_loras,
        max_cpu_loras=max(max_loras, FEWEST_CPU_LORAS, _power_of_two(2 * need.max_cpu_loras)),
        max_rank=need.max_rank,
    )


def outgrown(have: Capacity, need: Capacity) -> str:
    """What an engine of the sizes `have` is too small for, as a sentence's end; '' if nothing."""
    if need.max_rank > have.max_rank:
        return f"adapters of rank {need.max_rank} do not fit its {have.max_rank}"
    if need.max_loras > have.max_loras:
        return f"{need.max_loras} adapters answer at once, it has places for {have.max_loras}"
    if need.max_cpu_loras > have.max_cpu_loras:
        return f"{need.max_cpu_loras} adapters are wanted, it keeps {have.max_cpu_loras}"
    return ""


def crowded(db: Database, serving: ServingSettings) -> str:
    """What to tell when `[serving] max_loras` makes adapters take turns; '' when it does not."""
    hot = len(registry.hot_ids(db))
    if not serving.max_loras or hot <= serving.max_loras:
        return ""
    return f"{hot} adapters take turns in {serving.max_loras} places ([serving] max_loras)"


def _largest_rank(db: Database, wanted: frozenset[int]) -> int:
    """Of the wanted adapters, as vLLM takes it."""
    marks = ", ".join("?" * len(wanted))
    sql = f"SELECT max(rank) FROM adapters WHERE id IN ({marks})"  # noqa: S608 - question marks
    largest = max(value(db, sql, sorted(wanted)) or 0, LOWEST_RANK)
    return next((rank for rank in COMMON_RANKS if rank >= largest), MAX_RANK)


def _room_for(count: int) -> int:
    """5, 9, 17, 33, ...: the base beside a power of two."""
    return max(FEWEST_LORAS, _power_of_two(count - 1) + 1)


def _power_of_two(least: int) -> int:
    return 1 << max(0, least - 1).bit_length()
