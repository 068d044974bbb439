"""The stages of a training, the same for a run and for each trial of a search.

`prepare_training` encodes the pairs and chooses the recipe, `load_model` loads the base model and
the adapter, `train_adapter` trains the adapter. Each takes the frozen results of those before it.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from data.bases import digest
from data.bases.digest import Digest
from data.config.settings import Settings
from data.runs.phases import Phase
from data.search.search import PairSearch
from data.store.errors import NotFound
from tuning.data.run_inputs import RunInputs
from tuning.data.training_set import Fold, TrainingSet
from tuning.model import base_model, memory_check, reading_adapter
from tuning.model.base_model import Base
from tuning.progress import ProgressReporter, StepProgress
from tuning.recipe.recipe import Recipe
from tuning.training import checkpoint, loop, methods, rate_finder
from tuning.training.loop import TrainingOutcome
from tuning.training.method_setup import JudgedMargin, MethodSetup

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingJob:
    """What to train, and on what."""

    settings: Settings
    inputs: RunInputs
    fold: Fold | None = None  # the part that a trial of a cross-validation holds out
    found: Mapping[str, Any] = field(default_factory=dict)  # recipe values of a parameter search
    search: PairSearch | None = None  # finds references, if the recipe asks for some
    why: str = ""  # what the hyperparameter search adds to the reasons for the recipe


@dataclass(frozen=True)
class PreparedTraining:
    tokenizer: Any
    setup: MethodSetup  # the training set, with a recipe that fits the GPU, and the objective
    base_digest: Digest  # of the base that the run loads

    @property
    def recipe(self) -> Recipe:
        return self.setup.training_set.recipe


@dataclass(frozen=True)
class LoadedModel:
    base: Base
    model: Any  # the base with the adapter on it


@dataclass(frozen=True)
class TrainingResult:
    """A trained adapter. Its best weights are in the model of `LoadedModel`."""

    training_set: TrainingSet  # with the recipe as it was used
    outcome: TrainingOutcome
    scores: dict[str, Any]  # what the tuning method measured
    judged: list[JudgedMargin] = field(default_factory=list)  # of a run on judgements of answers


def prepare_training(db: Database, job: TrainingJob) -> PreparedTraining:
    """Encode the training data and choose the recipe. Raises Invalid, naming the pair or the
    setting, when the run would be useless, and CannotFit when it does not fit the GPU."""
    settings, inputs = job.settings, job.inputs
    tokenizer = base_model.load_tokenizer(settings.base.path)
    setup = methods.set_up(
        db, settings, inputs, tokenizer, fold=job.fold, found=job.found, search=job.search
    )
    given = {**inputs.run.recipe, **job.found}
    recipe = memory_check.fitted(
        settings, setup.training_set.recipe, given, new=inputs.parent is None
    )
    recipe = recipe.model_copy(update={"why": recipe.why + job.why})
    log.info("recipe: %s %s", recipe.why, recipe.model_dump(exclude={"why"}))
    training_set = replace(setup.training_set, recipe=recipe)
    setup = replace(setup, training_set=training_set)
    return PreparedTraining(tokenizer, setup, digest.of_base(settings))


def load_model(job: TrainingJob, prepared: PreparedTraining) -> LoadedModel:
    """Load the base model with a new adapter, or with the one that the run continues."""
    settings, parent, recipe = job.settings, job.inputs.parent, prepared.recipe
    base = base_model.load_base(settings.base.path, recipe)
    if parent is not None:
        folder = parent.folder(settings.home)
    elif recipe.starts_from == "reading":
        folder = _reading(settings)
    else:
        return LoadedModel(base, base_model.new_adapter(base, recipe))
    return LoadedModel(base, base_model.continued_adapter(base, folder, recipe.dropout))


def train_adapter(
    job: TrainingJob,
    prepared: PreparedTraining,
    loaded: LoadedModel,
    checkpoints: Path,
    progress: ProgressReporter,
) -> TrainingResult:
    """Train the loaded adapter, resuming from the checkpoint in `checkpoints` if there is one.
    Raises Invalid or loop.Diverged with a sentence for people."""
    base, model, recipe = loaded.base, loaded.model, prepared.recipe
    setup, training_set = prepared.setup, prepared.setup.training_set
    saved = checkpoint.Checkpoints(checkpoints, _identity(job, prepared, loaded))
    if recipe.find_rate:
        progress.phase(Phase.FINDING_RATE)
        recipe = _with_rate(base, model, training_set, recipe, saved)
    setup = replace(setup, training_set=replace(training_set, recipe=recipe))
    first = _stage(setup, loaded, saved, progress, progress.step)
    if setup.then is None:
        return first
    passes = {"micro_tokens": recipe.micro_tokens}  # what fits on the GPU
    then_recipe = setup.then.training_set.recipe.model_copy(update=passes)
    then = replace(setup.then, training_set=replace(setup.then.training_set, recipe=then_recipe))
    identity = _identity(job, replace(prepared, setup=then), loaded)
    saved = checkpoint.Checkpoints(checkpoints / "then", identity)
    done = first.outcome.steps

    def step(now: StepProgress) -> None:
        """The steps of the second stage go on counting."""
        progress.step(replace(now, step=done + now.step, total_steps=done + now.total_steps))

    second = _stage(then, loaded, saved, progress, step)
    return TrainingResult(
        first.training_set,
        _together(first.outcome, second.outcome),
        first.scores | second.scores,
        second.judged,
    )


def _stage(
    setup: MethodSetup,
    loaded: LoadedModel,
    saved: checkpoint.Checkpoints,
    progress: ProgressReporter,
    step: Callable[[StepProgress], None],
) -> TrainingResult:
    """Train the adapter that is in the model, from where its checkpoint left off."""
    base, model, training_set = loaded.base, loaded.model, setup.training_set
    recipe = training_set.recipe
    if setup.begin is not None:
        progress.phase(setup.begin_phase)
        setup.begin(base, model, recipe)
    progress.phase(Phase.TRAINING)
    outcome = loop.train(
        base, model, training_set.epoch, training_set.measured, training_set.selected_by, recipe,
        step, saved, setup.objective,
    )  # fmt: skip
    scores = setup.scores(base, model, recipe) if setup.scores is not None else {}
    judged = setup.judged(base, model, recipe) if setup.judged is not None else []
    return TrainingResult(training_set, outcome, scores, judged)


def _together(first: TrainingOutcome, second: TrainingOutcome) -> TrainingOutcome:
    """The outcome of two stages: the weights are those of the second one."""
    return replace(
        second,
        steps=first.steps + second.steps,
        best_step=first.steps + second.best_step,
        train_loss=first.train_loss,  # nats per token; that of preferences has another scale
        tokens=first.tokens + second.tokens,
        seconds=first.seconds + second.seconds,
        stopped_early=first.stopped_early or second.stopped_early,
    )


def _reading(settings: Settings) -> Path:
    """The folder of the base's reading adapter. Raises NotFound when there is none."""
    folder = reading_adapter.find(settings)
    if folder is None:
        raise NotFound(
            "The reading adapter of the base has gone. Run `understudy base reading` to train it, "
            "or request the run again."
        )
    return folder


def _identity(job: TrainingJob, prepared: PreparedTraining, loaded: LoadedModel) -> str:
    """Equal for two trainings whose checkpoints are interchangeable."""
    inputs, recipe = job.inputs, prepared.recipe
    reads = inputs.parent is None and recipe.starts_from == "reading"
    setup = prepared.setup
    answers = {"answers": _sha256(setup.training_set)} if setup.judged is not None else {}
    return checkpoint.identity(
        **answers,
        dataset=inputs.dataset.sha256,
        system_prompt=inputs.domain.system_prompt,
        parent=inputs.run.parent_id,
        base=prepared.base_digest or job.settings.base.model,
        fold=job.fold,
        recipe=recipe.model_dump(mode="json", exclude={"why"}),
        reading=reading_adapter.sha256(_reading(job.settings)) if reads else "",
        references=setup.training_set.references_sha256,
        layers=base_model.layer_kinds(loaded.model),
        shares_prefix=loaded.base.shares_prefix,
        skips_padding=loaded.base.skips_padding,
    )


def _sha256(training_set: TrainingSet) -> str:
    """A digest of the examples. Judgements are in no dataset, and a run that goes on after a pause
    leaves out those that were erased or withdrawn meanwhile."""
    examples = training_set.epoch(0)
    return hashlib.sha256(repr([(one.ids, one.labels) for one in examples]).encode()).hexdigest()


def _with_rate(
    base: Base, model: Any, training_set: TrainingSet, recipe: Recipe, saved: checkpoint.Checkpoints
) -> Recipe:
    """The recipe with the learning rate found for it, now or before this run was interrupted."""
    found = saved.note("rate")
    if found is None:
        result = rate_finder.find(base, model, training_set.epoch, recipe)
        log.info("%s", result.why)
        found = {"learning_rate": result.rate, "why": result.why}
        saved.keep_note("rate", found)
    changes = {**found, "find_rate": False, "why": f"{recipe.why} {found['why']}"}
    return recipe.model_copy(update=changes)
