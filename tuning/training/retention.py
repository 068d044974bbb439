"""How a run that continues an adapter keeps what that one knows, beyond the replay of old pairs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from data.runs.phases import Phase
from tuning.data.training_set import TrainingSet
from tuning.model.base_model import Base
from tuning.recipe.recipe import Recipe
from tuning.training.ewc import Ewc
from tuning.training.loop import Objective
from tuning.training.method_setup import MethodSetup
from tuning.training.own_answers import OwnAnswers

Begin = Callable[[Base, Any, Recipe], None]


def keeping_old_pairs(training_set: TrainingSet) -> MethodSetup:
    """Supervised fine-tuning on the training set, as its recipe asks for: with the adapter's own
    answers in place of replayed ones, and with elastic weight consolidation."""
    recipe, old = training_set.recipe, training_set.old
    begins: list[Begin] = []
    objective: Objective | None = None
    if old and recipe.replay_answers == "adapter":
        own = OwnAnswers(old)
        begins.append(own.prepare)
        epoch = training_set.epoch
        training_set = replace(training_set, epoch=lambda number: own.of(epoch(number)))
    if old and recipe.ewc:
        ewc = Ewc(old, recipe.ewc)
        begins.append(ewc.prepare)
        objective = ewc.learn

    def begin(base: Base, model: Any, recipe: Recipe) -> None:
        for one in begins:
            one(base, model, recipe)

    return MethodSetup(
        training_set,
        objective=objective,
        begin=begin if begins else None,
        begin_phase=Phase.ASKING_ABOUT_OLD_PAIRS if begins else Phase.STARTING,
    )
