"""Trials: the trainings of a hyperparameter search, before the run chooses its recipe.

A sweep has one trial for each combination of values, a cross-validation one for each fold, and both
together one for each fold of each combination. A trial keeps only its figures; the run's own
adapter is the only one that is registered. Writes raise RunLost when the run is no longer its
worker's.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from sqlite_utils import Database

from data.runs import runs
from data.runs.runs import Run
from data.store.db import Row, row, rows

State = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True)
class Trial:
    run_id: int
    number: int  # from 1
    changes: dict[str, Any]  # to the recipe
    fold: int | None  # the held-out fold, from 0; None: the usual validation set
    state: State
    attempts: int
    total_steps: int
    best_step: int | None
    train_loss: float | None  # nats per token, at the last step
    loss: float | None  # held-out loss at the best step, nats per token; trials are compared by it
    f1: float | None  # of generated answers to the fold's held-out questions
    seconds: float | None
    error: str


@dataclass(frozen=True)
class SearchPoint:
    """One combination of values, over its folds."""

    changes: dict[str, Any]
    trials: tuple[Trial, ...]

    @property
    def complete(self) -> bool:
        return all(trial.state == "done" for trial in self.trials)

    @property
    def loss(self) -> float | None:
        """The mean over the folds. None if a fold failed, because the mean would not be
        comparable."""
        return _mean([t.loss for t in self.trials]) if self.complete else None

    @property
    def loss_spread(self) -> float | None:
        """The standard deviation over the folds; None without folds."""
        return _spread([t.loss for t in self.trials]) if self.complete else None

    @property
    def f1(self) -> float | None:
        return _mean([t.f1 for t in self.trials]) if self.complete else None

    @property
    def f1_spread(self) -> float | None:
        return _spread([t.f1 for t in self.trials]) if self.complete else None


def plan(db: Database, run: Run, trials: Sequence[tuple[int, dict[str, Any], int | None]]) -> None:
    """Record the planned trials (number, changes, fold). Existing ones stay unchanged."""
    runs.check_owner(db, run)
    db.conn.executemany(
        "INSERT OR IGNORE INTO trials (run_id, number, changes, fold) VALUES (?, ?, ?, ?)",
        [
            (run.id, number, orjson.dumps(changes).decode(), fold)
            for number, changes, fold in trials
        ],
    )


def list_trials(db: Database, run_id: int) -> list[Trial]:
    """The trials of a run, by number."""
    sql = "SELECT * FROM trials WHERE run_id = ? ORDER BY number"
    return [_trial(found) for found in rows(db, sql, [run_id])]


def get(db: Database, run_id: int, number: int) -> Trial:
    found = row(db, "SELECT * FROM trials WHERE run_id = ? AND number = ?", [run_id, number])
    assert found is not None, f"run {run_id} has no trial {number}"
    return _trial(found)


def begin(db: Database, run: Run, number: int) -> None:
    runs.check_owner(db, run)
    db.execute(
        "UPDATE trials SET state = 'running', attempts = attempts + 1 "
        "WHERE run_id = ? AND number = ?",
        [run.id, number],
    )


def progress(
    db: Database, run: Run, *, step: int, total_steps: int, loss: float, eta_s: float, **_: Any
) -> None:
    """Show the progress of the current trial as the run's figures, without adding to its curve."""
    runs.check_owner(db, run)
    db.execute(
        "UPDATE runs SET step = ?, total_steps = ?, loss = ?, eta_s = ? WHERE id = ?",
        [step, total_steps, loss, eta_s, run.id],
    )


def give_back(db: Database, run: Run, number: int) -> None:
    """Return an interrupted trial to the plan; it does not use up an attempt."""
    runs.check_owner(db, run)
    db.execute(
        "UPDATE trials SET state = 'waiting', attempts = attempts - 1 "
        "WHERE run_id = ? AND number = ? AND state = 'running'",
        [run.id, number],
    )


def finish(db: Database, run: Run, number: int, **figures: Any) -> None:
    """`total_steps`, `best_step`, `train_loss`, `loss`, `f1`, `seconds`."""
    runs.check_owner(db, run)
    names = ", ".join(f"{name} = ?" for name in figures)
    db.execute(
        f"UPDATE trials SET state = 'done', {names} WHERE run_id = ? AND number = ?",
        [*figures.values(), run.id, number],
    )


def fail(db: Database, run: Run, number: int, error: str) -> None:
    """Mark a trial as failed; `error` is shown to people."""
    runs.check_owner(db, run)
    db.execute(
        "UPDATE trials SET state = 'failed', error = ? WHERE run_id = ? AND number = ?",
        [error, run.id, number],
    )


def points(trials: Sequence[Trial]) -> list[SearchPoint]:
    """The trials grouped by their changes, in the order of their numbers."""
    grouped: dict[bytes, list[Trial]] = {}
    for trial in trials:
        grouped.setdefault(orjson.dumps(trial.changes), []).append(trial)
    return [SearchPoint(members[0].changes, tuple(members)) for members in grouped.values()]


def best(trials: Sequence[Trial]) -> SearchPoint | None:
    """The point with the lowest loss, or None if no point is complete."""
    complete = [point for point in points(trials) if point.loss is not None]
    return min(complete, key=lambda point: point.loss or 0.0, default=None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _spread(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.stdev(known) if len(known) > 1 else None


def _trial(found: Row) -> Trial:
    return Trial(**{**found, "changes": orjson.loads(found["changes"])})
