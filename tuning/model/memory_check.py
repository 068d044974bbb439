"""Whether a run fits on a GPU that it shares with the engine. Checked before the base is loaded.

A calculation gives the memory that the engine may use, and `nvidia-smi` the memory in use; the
larger number counts. If `micro_tokens` is not set, smaller forward passes are used if they make the
run fit. That changes its speed and not its result. A run that does not fit fails at once, with the
numbers."""

import logging
from collections.abc import Mapping
from typing import Any

from data.config.settings import Settings
from data.gpu import cards, memory_split, plans
from data.gpu.memory import ModelShape, TuningPlan, gib
from tuning.recipe.recipe import MLP, Recipe

log = logging.getLogger(__name__)


def fitted(settings: Settings, recipe: Recipe, asked: Mapping[str, Any], *, new: bool) -> Recipe:
    """The recipe, with smaller forward passes if necessary. `asked` are the settings of the
    request; `new` is true unless the run continues an adapter. Raises CannotFit, or Unavailable
    when the GPU cannot be read."""
    sharing = settings.serving.gpu_sharing
    if sharing == "off" or (sharing == "split" and settings.serving.url):
        return recipe
    shape, card = plans.base_shape(settings), cards.shared()
    kept = memory_split.ASLEEP
    if sharing == "split":
        engine = plans.engine_plan(settings)
        kept = int(memory_split.engine_share(shape, card.total, engine) * card.total)
    taken = max(kept, card.total - card.free)
    plan = plan_of(recipe, shape)
    try:
        need = memory_split.check_run(shape, card.total, taken, plan, sharing=sharing, new=new)
    except memory_split.CannotFit as error:
        smaller = error.change.plan if error.change else None
        if "micro_tokens" in asked or not _only_smaller_passes(plan, smaller):
            raise
        assert isinstance(smaller, TuningPlan)
        why = f" Forward passes of {smaller.micro_tokens:,} tokens, to fit on the GPU."
        changes = {"micro_tokens": smaller.micro_tokens, "why": recipe.why + why}
        return recipe.model_copy(update=changes)
    log.info("tuning needs about %s, %s are free", gib(need), gib(card.total - taken))
    return recipe


def plan_of(recipe: Recipe, shape: ModelShape) -> TuningPlan:
    """The part of a recipe that determines its memory."""
    modules: tuple[str, ...] | None = None
    if isinstance(recipe.target_modules, tuple):
        modules = recipe.target_modules
    elif recipe.target_modules == "mlp" and shape.adapted(MLP):
        modules = MLP
    compared = 2 if recipe.method in ("dpo", "sft+dpo") else 1  # answers in one pass, at least
    return TuningPlan(
        rank=recipe.rank,
        modules=modules,
        micro_tokens=recipe.micro_tokens,
        max_length=compared * recipe.max_length,
        nf4=recipe.quantization == "nf4",
        dropout=recipe.dropout > 0,
        recompute=recipe.gradient_checkpointing,
        packed=recipe.packing,
    )


def _only_smaller_passes(plan: TuningPlan, other: object) -> bool:
    return isinstance(other, TuningPlan) and ((other.rank, other.nf4) == (plan.rank, plan.nf4))
