"""One trial of a search: a training as any other, of which figures are kept and no adapter.

Its curve is kept beside its checkpoint, for the run to show when the trial wins.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from data.runs import runs, trials
from data.runs.runs import LossPoint
from data.store.db import Store
from tuning.evaluation import generation, metrics
from tuning.training import job
from tuning.training.job import Trained, TrainingJob
from tuning.training.loop import Progress

ANSWERED = 48  # held-out questions whose answers are generated
ROWS = 16  # of them at once
CURVE = "curve.jsonl"


def run_trial(
    what: TrainingJob,
    number: int,
    folder: Path,
    phase: Callable[[str], None],
    report: Callable[[Progress], None],
) -> None:
    """Train, measure and write down. Raises what goes wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / CURVE, "a", encoding="utf-8") as curve:

        def remember(now: Progress) -> None:
            measured = now.losses or {}
            point = LossPoint(
                now.step, now.loss, measured.get("validation"), now.learning_rate,
                measured.get("probe"),
            )  # fmt: skip
            curve.write(json.dumps(asdict(point)) + "\n")
            report(now)

        trained = job.run_training_job(what, folder, phase, remember)
    phase("measuring")
    outcome = trained.outcome
    judged = [outcome.losses[part] for part in trained.training_set.compared_by]
    with what.store.write() as db:
        trials.finish(
            db,
            what.run.id,
            number,
            total_steps=outcome.steps,
            best_step=outcome.best_step,
            train_loss=outcome.train_loss,
            loss=sum(judged) / len(judged),
            f1=held_out_f1(trained),
            seconds=outcome.seconds,
        )


def copy_curve(store: Store, run_id: int, folder: Path, total_steps: int) -> None:
    """Show the curve of the trial that won as the run's own."""
    with store.write() as db:
        for point in _points(folder / CURVE):
            runs.progress(db, run_id, **asdict(point), total_steps=total_steps)


def held_out_f1(trained: Trained) -> float | None:
    """Token F1 of greedy answers to what the fold held out; None where nothing was."""
    asked = sorted(trained.training_set.held_out, key=lambda q: len(q.prompt))[:ANSWERED]
    if not asked:
        return None
    base, found = trained.base, []
    trained.model.eval()
    for start in range(0, len(asked), ROWS):
        some = asked[start : start + ROWS]
        most = max(q.expected_tokens for q in some) + 8
        with torch.no_grad():
            said = generation.generate(base, trained.model, [q.prompt for q in some], most)
        for question, ids in zip(some, said, strict=True):
            words = [token for token in ids if token not in base.stops]
            text = base.tokenizer.decode(words, skip_special_tokens=True)
            found.append(metrics.f1(text, question.expected))
    return sum(found) / len(found)


def _points(file: Path) -> Iterator[LossPoint]:
    """The last point of each step: a trial that was killed has gone over some steps twice."""
    last = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        point = LossPoint(**json.loads(line))
        last[point.step] = point
    yield from (last[step] for step in sorted(last))
