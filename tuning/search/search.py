"""Doing a search: each trial in a process of its own, one after the other, then the best wins.

A trial that fails, or is killed for the memory it takes, ends itself and not the search. What is
done stays done: a search that was killed goes on with the trial it was at, and that from its
checkpoint. A run keeps the adapter of one point alone.

The trial of a sweep ends with a checkpoint of a whole run, so the winner is not trained again: the
run goes on from that checkpoint and finds nothing left to do. After a cross-validation the run
trains once more, on all pairs, for as many steps as were best on average.
"""

import logging
import os
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.config.settings import Settings
from data.pairs.datasets import Dataset
from data.runs import search_report, trials
from data.runs.runs import Run
from data.runs.trials import SearchPoint, Trial
from data.store.db import Store
from data.store.errors import Invalid
from tuning.recipe import search_space

log = logging.getLogger(__name__)

ATTEMPTS = 2  # of a trial whose process was lost
DONE, FAILED, STOPPED = 0, 1, 3  # exit codes of `tuning.worker.run`


class Interrupted(BaseException):
    """The trial's process was asked to end, and so is this one."""


@dataclass(frozen=True)
class Settled:
    """What a search says about the run itself."""

    run: Run  # as it is to be done, without a search
    found: dict[str, Any]  # values of the recipe that won
    checkpoints: Path | None  # where the winner's training ended; None: it trains anew
    why: str


def run_search(store: Store, settings: Settings, run: Run, dataset: Dataset) -> Settled:
    """Do every trial that is not done yet. Raises Invalid when none could be done, or compared."""
    asked = search_space.search_space_of(run.recipe)
    plain = search_space.overrides(run.recipe)
    if not asked:
        return Settled(replace(run, recipe=plain), {}, None, "")
    if run.learns != "pairs":
        raise Invalid("A sweep or folds are for runs on pairs, not for one on rated answers.")
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
    return _settled(settings, run, asked, plain, won)


def folder(settings: Settings, run_id: int, number: int) -> Path:
    """Where a trial keeps its checkpoint. Gone with those of the run."""
    return settings.checkpoints_path(run_id) / f"trial-{number}"


def _settled(
    settings: Settings,
    run: Run,
    asked: search_space.SearchSpace,
    plain: dict[str, Any],
    won: SearchPoint,
) -> Settled:
    among = f" of {len(asked.points)}" if len(asked.points) > 1 else ""
    name = search_report.label(won)
    if not asked.folds:
        (trial,) = won.trials
        why = f" {name} was the best{among} trials: held-out loss {won.loss:.3f}."
        where = folder(settings, run.id, trial.number)
        return Settled(replace(run, recipe=plain), won.changes, where, why)
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
    return Settled(replace(run, recipe=plain), final, None, why)


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
        code = STOPPED
        try:
            code = _process(settings, run, trial)
        finally:
            if code in (STOPPED, -signal.SIGTERM):  # asked to end: that is not the trial's doing
                with store.write() as db:
                    trials.give_back(db, run.id, trial.number)
        if code in (STOPPED, -signal.SIGTERM):
            raise Interrupted
        trial = trials.get(store.db, run.id, trial.number)
        if code not in (DONE, FAILED):
            log.warning("trial %d ended with %d", trial.number, code)


def _process(settings: Settings, run: Run, trial: Trial) -> int:
    """One trial as a child; it ends when we do. Returns its exit code."""
    command = [
        sys.executable, "-m", "tuning.worker.run",
        "--config-json", settings.model_dump_json(exclude={"slack"}),
        "--run", str(run.id), "--trial", str(trial.number), "--parent", str(os.getpid()),
    ]  # fmt: skip
    child = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        return child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
