"""Builds the inputs of the memory estimates from the settings and the base model's files."""

from dataclasses import replace

import orjson

from data.adapters import files
from data.config.settings import Settings
from data.gpu import cards, memory_split
from data.gpu.memory import FULL, HALF, ModelShape, ServingPlan, gib, model_shape, serving_need
from data.store.errors import Unavailable

BATCHED_TOKENS = 2048  # of the engine's step, where it shares a card: its default on most


def base_shape(settings: Settings) -> ModelShape:
    """The shape of the configured base model. Raises Unavailable if it is not on this machine,
    Invalid if the estimate does not support its kind."""
    folder = files.base_folder(settings.base.path)
    try:
        config = orjson.loads((folder / "config.json").read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise Unavailable(f"The config.json of {settings.base.model} cannot be read.") from error
    return model_shape(config, files.base_shapes(folder))


def engine_plan(settings: Settings, max_loras: int = 0, max_rank: int = 0) -> ServingPlan:
    """The engine plan for these settings. `max_loras` (including base@0) and `max_rank` are the
    values that the engine is started with; 0 stands for the usual ones."""
    serving = settings.serving
    plan = ServingPlan(
        nf4=serving.quantization == "bitsandbytes",
        bytes_a_number=FULL if serving.dtype == "float32" else HALF,
        max_model_len=serving.max_model_len,
        batched_tokens=max(BATCHED_TOKENS, serving.max_model_len),
        sequences=settings.bot.max_in_flight,
    )
    return replace(plan, max_loras=max_loras or plan.max_loras, max_rank=max_rank or plan.max_rank)


def describe(settings: Settings) -> str:
    """Describes with figures how the card is shared, for `understudy doctor`. Raises CannotFit,
    Unavailable or Invalid."""
    plan, shape = engine_plan(settings), base_shape(settings)
    card = cards.shared()
    if settings.serving.gpu_sharing == "split":
        share = memory_split.check_engine(shape, card.total, plan)
        run = memory_split.reserved(shape, card.total, plan)
        return (
            f"{share:.0%} of {gib(card.total)} for the engine, the rest for runs in passes of up "
            f"to {run.micro_tokens:,} tokens"
        )
    need, given = serving_need(shape, plan), settings.serving.gpu_memory_fraction * card.total
    if need.nbytes > given:
        raise memory_split.CannotFit(
            f"The engine needs at least {gib(need.nbytes)} ({need.describe()}); "
            f"gpu_memory_fraction gives it {gib(given)} of {gib(card.total)}.",
            None,
        )
    hours = settings.serving.sleep_hours or "at any time"
    return f"the engine sleeps during runs, {hours}"
