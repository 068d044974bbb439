"""What a tuning method prepares before training: its training set and its objective."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlite_utils import Database

from data.config.settings import Settings
from data.runs.phases import Phase
from data.search.search import PairSearch
from tuning.data.run_inputs import RunInputs
from tuning.data.training_set import Fold, TrainingSet
from tuning.model.base_model import Base
from tuning.recipe.recipe import Recipe
from tuning.training.loop import Objective


@dataclass(frozen=True)
class JudgedMargin:
    """How far training followed one judgement of an answer."""

    margin: float  # in nats times beta; above 0: in the direction of the judgement
    people: tuple[str, ...]  # who judged so; () for a file's
    held_out: bool


@dataclass(frozen=True)
class MethodSetup:
    """A training set, and how a method learns from it."""

    training_set: TrainingSet
    objective: Objective | None = None  # None: cross entropy on the labelled tokens
    begin: Callable[[Base, Any, Recipe], None] | None = None  # called before the first step
    begin_phase: Phase = Phase.STARTING  # of the run while `begin` works
    scores: Callable[[Base, Any, Recipe], dict[str, Any]] | None = None  # kept with the adapter
    judged: Callable[[Base, Any, Recipe], list[JudgedMargin]] | None = None  # after training
    then: "MethodSetup | None" = None  # a second stage, which starts from the result of this one


class SetUpMethod(Protocol):
    """Prepares a method. `fold` and `found` are those of a hyperparameter search: the part of the
    pairs that a trial holds out, and recipe values that were chosen. `search` finds references.
    Raises Invalid when there is nothing to
    learn."""

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
    ) -> MethodSetup: ...
