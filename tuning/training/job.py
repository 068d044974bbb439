"""The course of a training, the same for a run and for each of its trials: the lesson, the base
model, the adapter, the rate, the loop.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.domains import Domain
from data.pairs.datasets import Dataset
from data.runs.runs import Run
from data.store.db import Store
from tuning.data.training_set import Fold, TrainingSet, prepare_training_set
from tuning.model import base_model, memory_check
from tuning.model.base_model import Base
from tuning.recipe.recipe import Recipe
from tuning.training import checkpoint, loop, preference_set, rate_finder
from tuning.training.loop import Progress, TrainingOutcome

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingJob:
    """What is to be trained."""

    store: Store
    settings: Settings
    run: Run
    domain: Domain
    dataset: Dataset
    parent: Adapter | None
    fold: Fold | None = None  # of a cross-validation
    found: Mapping[str, Any] = field(default_factory=dict)  # values of the recipe, by a search
    why: str = ""  # what the search adds to where the recipe comes from


@dataclass(frozen=True)
class Trained:
    base: Base
    model: Any  # the adapter's best weights are in it
    tokenizer: Any
    training_set: TrainingSet
    outcome: TrainingOutcome
    rewards: dict[str, Any] | None = None  # of a run on thumbs: how rated answers moved


def run_training_job(
    job: TrainingJob,
    checkpoints: Path,
    phase: Callable[[str], None],
    report: Callable[[Progress], None],
) -> Trained:
    """Train, going on from what lies in `checkpoints`. Raises what goes wrong, for people mostly
    as Invalid or Diverged."""
    settings, run, parent = job.settings, job.run, job.parent
    phase("loading the base model")
    tokenizer = base_model.load_tokenizer(settings.base.path)
    given = (job.store.db, settings, run, job.domain, job.dataset)
    thumbs = None
    if run.learns == "preferences" and parent is not None:
        thumbs = preference_set.prepare_preference_set(*given, parent, tokenizer)
        training_set = thumbs.training_set
    else:
        training_set = prepare_training_set(
            *given, parent, tokenizer, fold=job.fold, found=job.found
        )
    asked = {**run.recipe, **job.found}
    recipe = memory_check.fitted(settings, training_set.recipe, asked, new=parent is None)
    recipe = recipe.model_copy(update={"why": recipe.why + job.why})
    log.info("recipe: %s %s", recipe.why, recipe.model_dump(exclude={"why"}))
    base = base_model.load_base(settings.base.path, recipe)
    if parent is None:
        tuned = base_model.new_adapter(base, recipe)
    else:
        tuned = base_model.continued_adapter(base, parent.folder(settings.home), recipe.dropout)
    decides = checkpoint.identity(
        dataset=job.dataset.sha256,
        system_prompt=job.domain.system_prompt,
        parent=run.parent_id,
        base=settings.base.model,
        fold=job.fold,
        recipe=recipe.model_dump(mode="json", exclude={"why"}),
    )
    kept = checkpoint.Checkpoints(checkpoints, decides)
    if recipe.find_rate:
        phase("looking for a learning rate")
        recipe = _with_rate(base, tuned, training_set, recipe, kept)
    training_set = replace(training_set, recipe=recipe)
    if thumbs is not None:
        phase("asking the live adapter about rated answers")
        thumbs.objective.prepare(base, tuned, recipe)
    phase("training")
    outcome = loop.train(
        base, tuned, training_set.epoch, training_set.measured, training_set.judged_by, recipe,
        report, kept,
        thumbs.objective.learn if thumbs else None,
    )  # fmt: skip
    rewards = thumbs.rewards(base, tuned, recipe) if thumbs else None
    return Trained(base, tuned, tokenizer, training_set, outcome, rewards)


def _with_rate(
    base: Base, tuned: Any, training_set: TrainingSet, recipe: Recipe, kept: checkpoint.Checkpoints
) -> Recipe:
    """The recipe with the rate that was found for it, now or before this run was killed."""
    found = kept.note("rate")
    if found is None:
        result = rate_finder.find(base, tuned, training_set.epoch, recipe)
        log.info("%s", result.why)
        found = {"learning_rate": result.rate, "why": result.why}
        kept.keep_note("rate", found)
    changes = {**found, "find_rate": False, "why": f"{recipe.why} {found['why']}"}
    return recipe.model_copy(update=changes)
