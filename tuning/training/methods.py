"""The tuning methods: how each prepares its training set, and its objective.

To add a method, write its setup function and add it to `SETUPS`. CONTRIBUTING.md has the recipe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlite_utils import Database

from data.config.settings import Settings
from data.runs.methods import MethodName
from data.store.errors import Invalid
from tuning.data.run_inputs import RunInputs
from tuning.data.training_set import Fold, TrainingSet, prepare_training_set
from tuning.model.base_model import Base
from tuning.recipe.recipe import Recipe
from tuning.training.loop import Objective
from tuning.training.preference_set import prepare_preference_set


@dataclass(frozen=True)
class MethodSetup:
    """A training set, and how a method learns from it."""

    training_set: TrainingSet
    objective: Objective | None = None  # None: cross entropy on the labelled tokens
    begin: Callable[[Base, Any, Recipe], None] | None = None  # done before the first step
    begin_phase: str = ""  # what the run shows while `begin` works
    scores: Callable[[Base, Any, Recipe], dict[str, Any]] | None = None  # kept with the adapter


class SetUp(Protocol):
    """Prepares a method. `fold` and `found` are those of a trial: the part that it holds out, and
    recipe values that a search chose. Raises Invalid when there is nothing to learn."""

    def __call__(
        self,
        db: Database,
        settings: Settings,
        inputs: RunInputs,
        tokenizer: Any,
        fold: Fold | None,
        found: Mapping[str, Any],
    ) -> MethodSetup: ...


def supervised(
    db: Database,
    settings: Settings,
    inputs: RunInputs,
    tokenizer: Any,
    fold: Fold | None,
    found: Mapping[str, Any],
) -> MethodSetup:
    """Supervised fine-tuning: cross entropy on the responses of approved pairs."""
    return MethodSetup(
        prepare_training_set(db, settings, inputs, tokenizer, fold=fold, found=found)
    )


def kto(
    db: Database,
    settings: Settings,
    inputs: RunInputs,
    tokenizer: Any,
    fold: Fold | None,
    found: Mapping[str, Any],
) -> MethodSetup:
    """KTO on rated answers. A search never gets here: it compares trials on pairs."""
    if fold is not None or found:
        raise Invalid("A sweep or folds are for runs on pairs, not for one on rated answers.")
    rated = prepare_preference_set(db, settings, inputs, tokenizer)
    return MethodSetup(
        rated.training_set,
        objective=rated.objective.learn,
        begin=rated.objective.prepare,
        begin_phase="asking the live adapter about rated answers",
        scores=lambda base, model, recipe: {"thumbs": rated.rewards(base, model, recipe)},
    )


SETUPS: dict[MethodName, SetUp] = {"sft": supervised, "kto": kto}


def set_up(
    db: Database,
    settings: Settings,
    inputs: RunInputs,
    tokenizer: Any,
    fold: Fold | None,
    found: Mapping[str, Any],
) -> MethodSetup:
    """Prepare the method of the run."""
    return SETUPS[inputs.run.method](db, settings, inputs, tokenizer, fold, found)
