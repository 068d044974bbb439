"""Divides one card's memory between serving and tuning.

The engine gets the memory that a run with the largest default recipe leaves; on a small card, what
a run with smaller passes leaves. The share depends only on the card, the base model and the
settings, so a run can compute its own share without asking the engine. If something does not fit,
the error suggests a change that does, found with the same estimates.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from data.gpu.memory import (
    GIB,
    UTILISATION_STEP,
    ModelShape,
    ServingPlan,
    TuningPlan,
    gib,
    serving_need,
    tuning_need,
)
from data.lora_limits import COMMON_RANKS
from data.store.errors import Conflict

LARGEST_SHARE = 0.95  # for the engine; the driver and others need the rest
ASLEEP = 2 * GIB  # what a sleeping engine keeps: its context and memory outside its pools
USUAL_LORAS, USUAL_RANK = 5, 64  # adapters in a batch and their rank, assumed for the engine
AT_ONCE = 8  # requests of the maximum length that its cache should hold
SMALLEST_PASS = 256  # tokens
SMALLEST_LENGTH = 512  # of a request


@dataclass(frozen=True)
class Change:
    """A change that a person could make, and the resulting plan; None: share the card by
    sleeping."""

    words: str
    plan: TuningPlan | ServingPlan | None


class CannotFit(Conflict):
    """The card is too small. The message says how much is missing and what helps."""

    def __init__(self, sentence: str, change: Change | None) -> None:
        super().__init__(sentence)
        self.change = change


def reserved(shape: ModelShape, card: int, plan: ServingPlan) -> TuningPlan:
    """The run for which memory is reserved next to an engine with these settings: rank 64 on every
    layer, with the largest passes that leave the engine a cache for several of the longest
    requests."""
    plan = replace(plan, max_loras=USUAL_LORAS, max_rank=USUAL_RANK)  # not the current ones
    run = TuningPlan(max_length=plan.max_model_len, nf4=plan.nf4)
    while run.micro_tokens // 2 >= max(SMALLEST_PASS, run.max_length):
        share = _share(shape, card, run)
        if serving_need(shape, plan, AT_ONCE).nbytes <= share * card:
            break
        run = replace(run, micro_tokens=run.micro_tokens // 2)
    return run


def engine_share(shape: ModelShape, card: int, plan: ServingPlan) -> float:
    """vLLM's --gpu-memory-utilization on a card of `card` bytes: the share that the reserved run
    leaves, rounded down. Zero if the run needs the whole card."""
    return _share(shape, card, reserved(shape, card, plan))


def _share(shape: ModelShape, card: int, run: TuningPlan) -> float:
    rest = 1 - tuning_need(shape, run).nbytes / card
    return max(0.0, min(LARGEST_SHARE, math.floor(rest * UTILISATION_STEP) / UTILISATION_STEP))


def check_engine(shape: ModelShape, card: int, plan: ServingPlan) -> float:
    """The engine's share of the card. Raises CannotFit if its weights, its adapters and the cache
    for one request of the maximum length do not fit."""
    share = engine_share(shape, card, plan)
    need = serving_need(shape, plan)
    if need.nbytes <= share * card:
        return share
    tuning = tuning_need(shape, reserved(shape, card, plan))
    change = next((c for c in _smaller_engines(plan) if _engine_fits(shape, card, c.plan)), None)
    alone = need.nbytes <= card and tuning.nbytes + ASLEEP <= card
    raise CannotFit(
        f"The engine needs at least {gib(need.nbytes)} ({need.describe()}) and a tuning run "
        f"{gib(tuning.nbytes)} ({tuning.describe()}); the card has {gib(card)}. "
        + _advice(change, sleep=alone),
        change or (Change("sleep", None) if alone else None),
    )


def check_run(
    shape: ModelShape, card: int, engine: int, plan: TuningPlan, *, sharing: str, new: bool = True
) -> int:
    """The bytes that a run needs. Raises CannotFit if the `engine` bytes of the engine do not leave
    enough. `new`: the run does not continue an adapter, so its rank can be changed."""
    need = tuning_need(shape, plan)
    free = max(0, card - engine)
    if need.nbytes <= free:
        return need.nbytes
    change = next((c for c in _smaller_runs(plan, new) if _run_fits(shape, free, c.plan)), None)
    alone = sharing == "split" and need.nbytes + ASLEEP <= card
    raise CannotFit(
        f"Tuning needs about {gib(need.nbytes)} ({need.describe()}); {gib(free)} of the card's "
        f"{gib(card)} are free next to the engine's {gib(engine)} ({engine / card:.0%}). "
        + _advice(change, sleep=alone),
        change or (Change("sleep", None) if alone else None),
    )


def _advice(change: Change | None, *, sleep: bool) -> str:
    ways = [change.words] if change else []
    ways += ['set [serving] gpu_sharing = "sleep"'] if sleep else []
    if not ways:
        return "Use a smaller base model or a larger card."
    text = ", or ".join(ways)
    return f"{text[0].upper()}{text[1:]}."


def _run_fits(shape: ModelShape, free: int, plan: TuningPlan | ServingPlan | None) -> bool:
    return isinstance(plan, TuningPlan) and tuning_need(shape, plan).nbytes <= free


def _engine_fits(shape: ModelShape, card: int, plan: TuningPlan | ServingPlan | None) -> bool:
    if not isinstance(plan, ServingPlan):
        return False
    share = engine_share(shape, card, plan)
    return serving_need(shape, plan).nbytes <= share * card


def _smaller_runs(plan: TuningPlan, new: bool) -> Iterator[Change]:
    """Smaller and smaller runs, starting with the smallest change."""
    tokens, words = plan.micro_tokens, ""
    while tokens // 2 >= max(SMALLEST_PASS, plan.max_length):
        tokens //= 2
        words = f"lower micro_tokens from {plan.micro_tokens} to {tokens}"
        yield Change(words, replace(plan, micro_tokens=tokens))
    least = replace(plan, micro_tokens=tokens)
    if not plan.nf4:
        least = replace(least, nf4=True)
        nf4 = 'set [serving] quantization = "bitsandbytes", which runs follow'
        words = " and ".join(filter(None, [words, nf4]))
        yield Change(words, least)
    for rank in (r for r in reversed(COMMON_RANKS) if new and r < plan.rank):
        also = " and ".join(filter(None, [words, f"lower rank from {plan.rank} to {rank}"]))
        yield Change(also, replace(least, rank=rank))


def _smaller_engines(plan: ServingPlan) -> Iterator[Change]:
    """Smaller and smaller engines. A shorter max_model_len also makes the reserved run smaller."""
    if not plan.nf4:
        plan = replace(plan, nf4=True)
        words = 'set [serving] quantization = "bitsandbytes"'
        yield Change(words, plan)
    else:
        words = ""
    length = plan.max_model_len
    while length // 2 >= SMALLEST_LENGTH:
        length //= 2
        also = " and ".join(
            filter(
                None,
                [words, f"lower [serving] max_model_len from {plan.max_model_len} to {length}"],
            )
        )
        yield Change(also, replace(plan, max_model_len=length))
