"""How each tuning method prepares a training: one entry for each method of `data/runs/methods.py`.

CONTRIBUTING.md says how to add one.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from sqlite_utils import Database

from data.config.settings import Settings
from data.runs.methods import METHODS, MethodName, refuse_unsupported
from data.search.search import PairSearch
from tuning.data.run_inputs import RunInputs
from tuning.data.training_set import Fold, TrainingSet, prepare_training_set
from tuning.training import retention
from tuning.training.dpo_set import set_up_dpo
from tuning.training.method_setup import MethodSetup, SetUpMethod
from tuning.training.preference_set import set_up_kto


def set_up_sft(
    db: Database,
    settings: Settings,
    inputs: RunInputs,
    tokenizer: Any,
    *,
    fold: Fold | None = None,
    found: Mapping[str, Any] | None = None,
    search: PairSearch | None = None,
) -> MethodSetup:
    """Supervised fine-tuning: cross entropy on the responses of approved pairs."""
    training_set = prepare_training_set(
        db, settings, inputs, tokenizer, fold=fold, found=found, search=search
    )
    return retention.keeping_old_pairs(training_set)


class SetUpStage(SetUpMethod, Protocol):
    """Prepares a method that can also follow another stage, whose training set is `after`."""

    def __call__(
        self,
        db: Database,
        settings: Settings,
        inputs: RunInputs,
        tokenizer: Any,
        *,
        fold: Fold | None = None,
        found: Mapping[str, Any] | None = None,
        search: PairSearch | None = None,
        after: TrainingSet | None = None,
    ) -> MethodSetup: ...


def sft_then(second: SetUpStage) -> SetUpMethod:
    """Supervised fine-tuning, and from its result another method."""

    def set_up_both(
        db: Database,
        settings: Settings,
        inputs: RunInputs,
        tokenizer: Any,
        *,
        fold: Fold | None = None,
        found: Mapping[str, Any] | None = None,
        search: PairSearch | None = None,
    ) -> MethodSetup:
        setup = set_up_sft(db, settings, inputs, tokenizer, fold=fold, found=found, search=search)
        first = setup.training_set
        then = second(db, settings, inputs, tokenizer, search=search, after=first)
        why = first.recipe.why + then.training_set.recipe.why
        recipe = first.recipe.model_copy(update={"why": why})
        return replace(setup, training_set=replace(first, recipe=recipe), then=then)

    return set_up_both


SETUPS: dict[MethodName, SetUpMethod] = {
    "sft": set_up_sft,
    "kto": set_up_kto,
    "dpo": set_up_dpo,
    "sft+kto": sft_then(set_up_kto),
    "sft+dpo": sft_then(set_up_dpo),
}


def set_up(
    db: Database,
    settings: Settings,
    inputs: RunInputs,
    tokenizer: Any,
    *,
    fold: Fold | None = None,
    found: Mapping[str, Any] | None = None,
    search: PairSearch | None = None,
) -> MethodSetup:
    """Prepare the method of the run. Raises Invalid when its recipe asks for what the method cannot
    do, or when there is nothing to learn."""
    name = inputs.run.method
    refuse_unsupported(METHODS[name], inputs.run.recipe)
    return SETUPS[name](db, settings, inputs, tokenizer, fold=fold, found=found, search=search)
