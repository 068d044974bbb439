"""Does a search: each trial in its own process, one at a time; then the best one is chosen.

A trial that fails, or that is killed because of its memory, does not end the search. Finished
trials are kept: a search that was killed continues with the unfinished trial, from its checkpoint.
Only the best point produces an adapter.

A trial of a sweep ends with the checkpoint of a complete training, so the best one is not trained
again: the run resumes from that checkpoint and finds nothing left to do. After a cross-validation
the run trains once more, on all pairs, for the mean of the best numbers of steps.
"""

import logging
import signal
import statistics
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data.config.settings import Settings
from data.runs import search_report, trials
from data.runs.methods import METHODS, refuse_unsupported
from data.runs.runs import Run
from data.runs.trials import SearchPoint, Trial
from data.store.db import Store
from data.store.errors import Invalid
from tuning import child_process
from tuning.child_process import ExitCode
from tuning.data.run_inputs import RunInputs
from tuning.recipe import search_space

log = logging.getLogger(__name__)

ATTEMPTS = 2  # of a trial whose process crashes


class Interrupted(BaseException):
    """The process of the trial was asked to end, so this one ends too."""


@dataclass(frozen=True)
class ChosenRecipe:
    """How the run itself is to be trained."""

    inputs: RunInputs  # its run has a recipe without a search
    found: dict[str, Any] = field(default_factory=dict)  # recipe values of the best point
    checkpoints: Path | None = None  # where the best trial's training ended; None: train again
    why: str = ""


def run_search(store: Store, settings: Settings, inputs: RunInputs) -> ChosenRecipe:
    """Do every trial that is not done yet, and choose the best. A run without a search has no
    trials. Raises Invalid when no trial could be done, or trials could not be compared."""
    run, dataset = inputs.run, inputs.dataset
    space = search_space.search_space_of(run.recipe)
    plain = replace(inputs, run=replace(run, recipe=search_space.overrides(run.recipe)))
    if not space:
        return ChosenRecipe(plain)
    refuse_unsupported(METHODS[run.method], run.recipe)
    held_out = space.folds or run.parent_id or dataset.validation or dataset.probe
    if not held_out:
        raise Invalid(
            "There are too few pairs to hold any out, so trials cannot be compared. Use --folds."
        )
    with store.write() as db:
        planned = [(trial.number, trial.changes, trial.fold) for trial in space.trials]
        trials.plan(db, run, planned)
    for trial in trials.list_trials(store.db, run.id):
        _finish_trial(store, settings, run, trial)
    done = trials.list_trials(store.db, run.id)
    search_report.write(settings.runs_path / str(run.id), done)
    best = trials.best(done)
    if best is None:
        first = next((t.error for t in done if t.error), "no trial was done")
        raise Invalid(f"None of the {len(done)} trials succeeded. The first error: {first}")
    log.info("%s", search_report.text(done))
    return _result(settings, plain, space, best)


def folder(settings: Settings, run_id: int, number: int) -> Path:
    """The folder of a trial's checkpoint. It is deleted with the checkpoints of the run."""
    return settings.checkpoints_path(run_id) / f"trial-{number}"


def _result(
    settings: Settings, inputs: RunInputs, space: search_space.SearchSpace, best: SearchPoint
) -> ChosenRecipe:
    among = f" of {len(space.points)}" if len(space.points) > 1 else ""
    name = search_report.label(best)
    if not space.folds:
        (trial,) = best.trials
        why = f" {name} was the best{among} trials: held-out loss {best.loss:.3f}."
        where = folder(settings, inputs.run.id, trial.number)
        return ChosenRecipe(inputs, best.changes, where, why)
    steps = _steps(best, space.folds)
    spread = 0.0 if best.loss_spread is None else best.loss_spread
    named = f" {name} was the best{among}:" if among else ""
    why = (
        f"{named} Over {space.folds} folds the held-out loss was {best.loss:.3f} ± {spread:.3f}"
        + (f", F1 {best.f1:.2f} ± {best.f1_spread or 0.0:.2f}" if best.f1 is not None else "")
        + f"; trained on all pairs for {steps} steps, the mean of the best steps of the folds."
    )
    # epochs only has to be large enough for the steps; the weights of the last step are kept
    final = best.changes | {"max_steps": steps, "epochs": 1000.0, "patience": 0}
    return ChosenRecipe(inputs, final, None, why)


def _steps(point: SearchPoint, folds: int) -> int:
    """The mean of the best steps, scaled up because all pairs make a longer epoch than a fold."""
    mean = statistics.fmean(trial.best_step or 1 for trial in point.trials)
    return max(1, round(mean * folds / (folds - 1)))


def _finish_trial(store: Store, settings: Settings, run: Run, trial: Trial) -> None:
    """Run a trial until it succeeds or fails for good."""
    while trial.state in ("waiting", "running"):
        if trial.attempts >= ATTEMPTS:
            with store.write() as db:
                lost = f"Its process crashed {trial.attempts} times; it may need more memory."
                trials.fail(db, run, trial.number, lost)
            return
        with store.write() as db:
            trials.begin(db, run, trial.number)
        log.info("trial %d: %s, fold %s", trial.number, trial.changes, trial.fold)
        code: int = ExitCode.STOPPED
        try:
            code = _process(settings, run, trial)
        finally:
            if code in (
                ExitCode.STOPPED,
                -signal.SIGTERM,
            ):  # not the trial's fault
                with store.write() as db:
                    trials.give_back(db, run, trial.number)
        if code in (ExitCode.STOPPED, -signal.SIGTERM):
            raise Interrupted
        trial = trials.get(store.db, run.id, trial.number)
        if code not in (ExitCode.DONE, ExitCode.FAILED):
            log.warning("trial %d ended with %d", trial.number, code)


def _process(settings: Settings, run: Run, trial: Trial) -> int:
    """Do one trial in a child process, which ends when this one does. Returns its exit code."""
    command = child_process.command(settings, run, trial=trial.number)
    child = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        return child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
