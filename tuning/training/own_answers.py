"""On-policy replay: old questions with the answers of the adapter that the run continues.

Replayed pairs pull an adapter towards words that it did not choose itself; its own answers to the
same questions change it least where it already answers as it should (Chen et al., "Retaining by
Doing", 2025, https://arxiv.org/abs/2510.18874). The answers are greedy, so a run that resumes finds
the same ones. An answer that does not end within the length of the approved one is left out, and
the approved one is replayed instead."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tuning.data.examples import IGNORED, Example
from tuning.model import greedy_answers
from tuning.model.base_model import Base
from tuning.recipe.recipe import Recipe

ROWS = 48  # answers generated at once
MORE = 16  # tokens that an answer may have beyond the approved one


@dataclass
class OwnAnswers:
    """The old pairs of one run, with the adapter's own answers once it is prepared."""

    old: Sequence[Example]
    answered: dict[Example, Example] = field(default_factory=dict)

    def prepare(self, base: Base, model: Any, recipe: Recipe) -> None:
        """Answer all questions, while the model still has the old weights."""
        was_training = model.training
        model.eval()
        order = sorted(dict.fromkeys(self.old), key=lambda one: (one.answered, one.pair_id))
        for start in range(0, len(order), ROWS):
            some = order[start : start + ROWS]
            most = max(one.answered for one in some) + MORE
            said = greedy_answers.generate(base, model, [one.prompt for one in some], most)
            for one, answer in zip(some, said, strict=True):
                fits = len(one.prompt) + len(answer) <= recipe.max_length
                if len(answer) > 1 and answer[-1] in base.stops and fits:
                    labels = (*[IGNORED] * len(one.prompt), *answer)
                    self.answered[one] = Example(one.pair_id, (*one.prompt, *answer), labels)
        model.train(was_training)

    def of(self, examples: Sequence[Example]) -> list[Example]:
        """The examples, old ones with the adapter's own answers."""
        return [self.answered.get(one, one) for one in examples]
