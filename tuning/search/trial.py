"""One trial of a search: a normal training, of which only metrics are kept and no adapter.

Its loss curve is kept with its checkpoint. The run shows it if the trial is the best.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

import torch

from data.config.settings import Settings
from data.runs import runs, trials
from data.runs.phases import Phase
from data.runs.runs import LossPoint, Run
from data.search.search import PairSearch
from data.store.db import Store
from tuning.data.run_inputs import freeze_dataset
from tuning.data.training_set import Fold, TrainingSet
from tuning.evaluation import metrics
from tuning.model import greedy_answers
from tuning.progress import ProgressReporter, StepProgress, TrialProgress
from tuning.recipe import search_space
from tuning.search import search
from tuning.threads import YieldingProgress
from tuning.training import job as training
from tuning.training.job import LoadedModel

ANSWERED = 48  # held-out questions that are answered
ROWS = 16  # answers generated at once
CURVE = "curve.jsonl"


def run_trial(store: Store, settings: Settings, run: Run, number: int) -> None:
    """Train and measure one trial of the run, and record its metrics. Raises whatever goes
    wrong."""
    space = search_space.search_space_of(run.recipe)
    planned = trials.get(store.db, run.id, number)
    inputs = freeze_dataset(store, run)
    plain = replace(inputs, run=replace(run, recipe=search_space.overrides(run.recipe)))
    fold = None if planned.fold is None else Fold(planned.fold, space.folds)
    pair_search = PairSearch(store, settings.search)
    job = training.TrainingJob(settings, plain, fold, planned.changes, pair_search)
    folder = search.folder(settings, run.id, number)
    folder.mkdir(parents=True, exist_ok=True)

    with open(folder / CURVE, "a", encoding="utf-8") as curve:
        reporter = TrialProgress(store, run, number, len(space.trials))
        progress = _WithCurve(YieldingProgress(reporter, store, settings), curve)
        progress.phase(Phase.LOADING_MODEL)
        prepared = training.prepare_training(store.db, job)
        loaded = training.load_model(job, prepared)
        trained = training.train_adapter(job, prepared, loaded, folder, progress)

    progress.phase(Phase.MEASURING)
    outcome = trained.outcome
    held_out = [outcome.losses[part] for part in trained.training_set.compared_by]
    f1 = held_out_f1(loaded, trained.training_set)
    with store.write() as db:
        trials.finish(
            db,
            run,
            number,
            total_steps=outcome.steps,
            best_step=outcome.best_step,
            train_loss=outcome.train_loss,
            loss=sum(held_out) / len(held_out),
            f1=f1,
            seconds=outcome.seconds,
        )


@dataclass(frozen=True)
class _WithCurve:
    """Passes progress on, and writes each step to the file of the trial's loss curve."""

    reporter: ProgressReporter
    curve: IO[str]

    def phase(self, phase: Phase, detail: str = "") -> None:
        self.reporter.phase(phase, detail)

    def step(self, now: StepProgress) -> None:
        losses = now.losses or {}
        point = LossPoint(
            now.step, now.loss, losses.get("validation"), now.learning_rate, losses.get("probe")
        )
        self.curve.write(json.dumps(asdict(point)) + "\n")
        self.reporter.step(now)


def copy_curve(store: Store, run: Run, folder: Path, total_steps: int) -> None:
    """Copy the loss curve of the best trial to the run."""
    with store.write() as db:
        for point in _points(folder / CURVE):
            runs.progress(db, run, **asdict(point), total_steps=total_steps)


def held_out_f1(loaded: LoadedModel, training_set: TrainingSet) -> float | None:
    """Token F1 of greedy answers to held-out questions; None when nothing was held out."""
    questions = sorted(training_set.held_out, key=lambda q: len(q.prompt))[:ANSWERED]
    if not questions:
        return None
    base, found = loaded.base, []
    loaded.model.eval()
    for start in range(0, len(questions), ROWS):
        some = questions[start : start + ROWS]
        most = max(q.expected_tokens for q in some) + 8
        with torch.no_grad():
            outputs = greedy_answers.generate(base, loaded.model, [q.prompt for q in some], most)
        for question, ids in zip(some, outputs, strict=True):
            tokens = [token for token in ids if token not in base.stops]
            text = base.tokenizer.decode(tokens, skip_special_tokens=True)
            found.append(metrics.f1(text, question.expected))
    return sum(found) / len(found)


def _points(file: Path) -> Iterator[LossPoint]:
    """The last point of each step: a trial that was killed repeats some steps."""
    last = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        point = LossPoint(**json.loads(line))
        last[point.step] = point
    yield from (last[step] for step in sorted(last))
