"""The scores of a run: what the registry keeps about an adapter beside its bytes.

    {"golden": {"n", "exact", "f1", "base_exact", "base_f1", "parent_exact", "parent_f1"},
     "validation_loss", "base_validation_loss", "probe_loss", "base_probe_loss", "train_loss",
     "best_step", "steps", "chosen_by", "train_seconds", "pairs_new", "pairs_superseded",
     "samples": [{"question", "expected", "base", "adapter"}]}

Losses are nats a token. The parent's keys are there for incremental runs. The base and the
parent answer before training begins, when the adapter's weights are still the parent's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from data.adapters import Adapter
from tuning import evaluate, train
from tuning.lesson import Lesson
from tuning.model import Base


@dataclass(frozen=True)
class Before:
    """What was measured before the first step."""

    base_answers: list[str]
    parent_answers: list[str] | None  # None: there is no parent
    base_losses: dict[str, float]  # by part


def before(base: Base, model: Any, lesson: Lesson, parent: Adapter | None) -> Before:
    """The bare base, and the parent where there is one."""
    asked = evaluate.sample(lesson.golden)
    parts = [part for part in ("validation", "probe") if part in lesson.measured]
    with model.disable_adapter():
        answers = evaluate.answer(base, model, asked)
        losses = {
            part: train.mean_loss(base, model, lesson.measured[part], lesson.recipe)
            for part in parts
        }
    parents = evaluate.answer(base, model, asked) if parent is not None else None
    return Before(answers, parents, losses)


def after(
    base: Base,
    model: Any,
    lesson: Lesson,
    earlier: Before,
    outcome: train.Outcome,
    beat: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """All scores of the adapter that training left in `model`."""
    asked = evaluate.sample(lesson.golden)
    answers = evaluate.answer(base, model, asked, beat)
    scores: dict[str, Any] = {}
    if asked:
        own = evaluate.score(answers, asked)
        bare = evaluate.score(earlier.base_answers, asked)
        scores["golden"] = {
            "n": own.n, "of": len(lesson.golden), "exact": own.exact, "f1": own.f1,
            "base_exact": bare.exact, "base_f1": bare.f1,
        }  # fmt: skip
        if earlier.parent_answers is not None:
            parent = evaluate.score(earlier.parent_answers, asked)
            scores["golden"] |= {"parent_exact": parent.exact, "parent_f1": parent.f1}
    for part in ("validation", "probe", "new"):
        if part in outcome.losses:
            scores[f"{part}_loss"] = outcome.losses[part]
        if part in earlier.base_losses:
            scores[f"base_{part}_loss"] = earlier.base_losses[part]
    return scores | {
        "train_loss": outcome.train_loss,
        "steps": outcome.steps,
        "best_step": outcome.best_step,
        "chosen_by": outcome.chosen_by,
        "stopped_early": outcome.stopped_early,
        "train_seconds": round(outcome.seconds, 1),
        "pairs_new": lesson.new,
        "pairs_superseded": lesson.superseded,
        "samples": evaluate.side_by_side(asked, earlier.base_answers, answers),
    }
