"""Doing a search: each trial in a process of its own, one after the other, then the best wins.

A trial that fails, or is killed for the memory it takes, ends itself and not the search. What is
done stays done: a search that was killed goes on with the trial it was at, and that from its
checkpoint. A run keeps the adapter of one point alone.

The trial of a sweep ends with a checkpoint of a whole run, so the winner is not trained again: the
run goes on from that checkpoint and finds nothing left to do. After a cross-validation the run
trains once more, on all pairs, for as many steps as were best on average.
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

ATTEMPTS = 2  # of a trial whose process was lost


class Interrupted(BaseException):
    """The trial's process was asked to end, and so is this one."""


@dataclass(frozen=True)
class SearchResult:
    """How the run itself is to be trained."""

    inputs: RunInputs  # its run has a recipe without a search
    found: dict[str, Any] = field(default_factory=dict)  # recipe values of the best point
    checkpoints: Path | None = None  # where the best trial's training ended; None: train anew
    why: str = ""


def run_search(store: Store, settings: Settings, inputs: RunInputs) -> SearchResult:
    """Do every trial that is not done yet, and choose the best. A run without a search has no
    trials. Raises Invalid when no trial could be done, or trials could not be compared."""
    run, dataset = inputs.run, inputs.dataset
    asked = search_space.search_space_of(run.recipe)
    plain = replace(inputs, run=replace(run, recipe=search_space.overrides(run.recipe)))
    if not asked:
        return SearchResult(plain)
    refuse_unsupported(METHODS[run.method], run.recipe)
    held_out = asked.folds or run.parent_id or dataset.validation or dataset.probe
    if not held_out:
        raise Invalid(
            "Nothing is held out of so few pairs that trials could be compared by. Ask for --folds."
        )
    with store.write() as db:
        planned = [(trial.number, trial.changes, trial.fold) for trial in asked.trials]
        trials.plan(db, run.id, planned)
    for trial in trials.list_trials(store.db, run.id):
        _see_to(store, settings, run, trial)
    tried = trials.list_trials(store.db, run.id)
    search_report.write(settings.runs_path / str(run.id), tried)
    won = trials.best(tried)
    if won is None:
        first = next((t.error for t in tried if t.error), "no trial was done")
        raise Invalid(f"None of the {len(tried)} trials could be done. The first: {first}")
    log.info("%s", search_report.text(tried))
    return _result(settings, plain, asked, won)


def folder(settings: Settings, run_id: int, number: int) -> Path:
    """Where a trial keeps its checkpoint. Gone with those of the run."""
    return settings.checkpoints_path(run_id) / f"trial-{number}"


def _result(
    settings: Settings, inputs: RunInputs, asked: search_space.SearchSpace, won: SearchPoint
) -> SearchResult:
    among = f" of {len(asked.points)}" if len(asked.points) > 1 else ""
    name = search_report.label(won)
    if not asked.folds:
        (trial,) = won.trials
        why = f" {name} was the best{among} trials: held-out loss {won.loss:.3f}."
        where = folder(settings, inputs.run.id, trial.number)
        return SearchResult(inputs, won.changes, where, why)
    steps = _steps(won, asked.folds)
    spread = 0.0 if won.loss_spread is None else won.loss_spread
    best = f" {name} was the best{among}:" if among else ""
    why = (
        f"{best} Over {asked.folds} folds the held-out loss was {won.loss:.3f} ± {spread:.3f}"
        + (f", F1 {won.f1:.2f} ± {won.f1_spread or 0.0:.2f}" if won.f1 is not None else "")
        + f"; trained on all pairs for the {steps} steps that the folds kept on average."
    )
    # epochs only has to be large enough for the steps, and the last of them is kept
    final = won.changes | {"max_steps": steps, "epochs": 1000.0, "patience": 0}
    return SearchResult(inputs, final, None, why)


def _steps(won: SearchPoint, folds: int) -> int:
    """The mean of the steps kept; on all pairs a pass is longer than on those of a fold."""
    best = statistics.fmean(trial.best_step or 1 for trial in won.trials)
    return max(1, round(best * folds / (folds - 1)))


def _see_to(store: Store, settings: Settings, run: Run, trial: Trial) -> None:
    """Bring one trial to an end, good or bad."""
    while trial.state in ("waiting", "running"):
        if trial.attempts >= ATTEMPTS:
            with store.write() as db:
                lost = f"Its process was lost {trial.attempts} times, perhaps for want of memory."
                trials.fail(db, run.id, trial.number, lost)
            return
        with store.write() as db:
            trials.begin(db, run.id, trial.number)
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
                    trials.give_back(db, run.id, trial.number)
        if code in (ExitCode.STOPPED, -signal.SIGTERM):
            raise Interrupted
        trial = trials.get(store.db, run.id, trial.number)
        if code not in (ExitCode.DONE, ExitCode.FAILED):
            log.warning("trial %d ended with %d", trial.number, code)


def _process(settings: Settings, run: Run, trial: Trial) -> int:
    """Do one trial in a child process, which ends when this one does. Returns its exit code."""
    command = child_process.command(settings, run.id, trial=trial.number)
    child = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        return child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
