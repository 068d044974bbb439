"""How a run reports its progress: one interface, which every stage of a run receives.

A stage knows nothing else about its caller. The worker's child passes `StoredProgress`, which
writes to the store; tests pass their own.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from data.runs import runs, trials
from data.runs.phases import Phase, RunPhase
from data.runs.runs import Run
from data.store.db import Store
from data.store.errors import Unavailable

log = logging.getLogger(__name__)

WRITE_EVERY_S = 1.0  # between writes of training steps


@dataclass(frozen=True)
class StepProgress:
    """One optimiser step. Losses are nats per token."""

    step: int
    total_steps: int
    loss: float
    learning_rate: float
    eta_s: float
    losses: Mapping[str, float] | None = None  # by part: validation, probe; None: not measured


class ProgressReporter(Protocol):
    """Receives the progress of a run."""

    def phase(self, phase: Phase, detail: str = "") -> None:
        """The run enters a phase. `detail` is text for people."""

    def step(self, now: StepProgress) -> None:
        """An optimiser step is done."""


class StoredProgress:
    """Writes the progress of a run to the store, at most one step a second unless it was measured.

    Progress that cannot be written because the store is busy is logged and skipped: it must not
    cost the training. A run that belongs to another worker by now raises RunLost, which ends it."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store = store
        self._run = run
        self._written = 0.0

    def phase(self, phase: Phase, detail: str = "") -> None:
        self._set_phase(RunPhase(phase, detail))

    def _set_phase(self, phase: RunPhase) -> None:
        log.info("run %d: %s", self._run.id, phase.text)
        with best_effort(), self._store.write() as db:
            runs.set_phase(db, self._run, phase)

    def step(self, now: StepProgress) -> None:
        last = now.step == now.total_steps
        due = time.monotonic() - self._written >= WRITE_EVERY_S
        if now.losses is None and not last and not due:
            return
        with best_effort():
            self._write(now)
        losses = dict(now.losses or {})
        log.info("step %d of %d: loss %.3f %s", now.step, now.total_steps, now.loss, losses)
        self._written = time.monotonic()

    def _write(self, now: StepProgress) -> None:
        losses = now.losses or {}
        with self._store.write() as db:
            runs.progress(
                db,
                self._run,
                step=now.step,
                total_steps=now.total_steps,
                loss=now.loss,
                validation_loss=losses.get("validation"),
                probe_loss=losses.get("probe"),
                learning_rate=now.learning_rate,
                eta_s=now.eta_s,
            )


class TrialProgress(StoredProgress):
    """Writes the progress of one trial as the present state of its run. The steps of a trial are
    not points of the run's loss curve."""

    def __init__(self, store: Store, run: Run, number: int, trials_in_all: int) -> None:
        super().__init__(store, run)
        self._trial = (number, trials_in_all)

    def phase(self, phase: Phase, detail: str = "") -> None:
        self._set_phase(RunPhase(phase, detail, self._trial))

    def _write(self, now: StepProgress) -> None:
        with self._store.write() as db:
            trials.progress(
                db,
                self._run,
                step=now.step,
                total_steps=now.total_steps,
                loss=now.loss,
                eta_s=now.eta_s,
            )


@contextlib.contextmanager
def best_effort() -> Iterator[None]:
    """Inside it, a store that is busy or full is logged and otherwise ignored."""
    try:
        yield
    except Unavailable as error:
        log.warning("progress was not recorded: %s", error)
