"""The DPO objective, which learns which of two answers to a question is better.

Rafailov et al., "Direct Preference Optimization", 2023, https://arxiv.org/abs/2305.18290, equation
7. With r the log ratio of an answer's probabilities under the trained adapter and under the one
that training starts from,

    loss = -log sigmoid(beta (r(chosen) - r(rejected)))

The probabilities under the start adapter are computed once, before the first step, so no second
model is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tuning.data.examples import Example
from tuning.model.base_model import Base
from tuning.recipe.recipe import Recipe
from tuning.training.answer_probabilities import (
    answer_sums,
    log_probabilities,
    passes,
    reference_probabilities,
)


@dataclass(frozen=True)
class Preferred:
    """How training changed the probabilities of pairs of answers. In nats times beta."""

    pairs: int
    chosen: float  # mean over chosen answers; above 0: likelier than under the start adapter
    rejected: float
    right: float  # share of the pairs whose chosen answer gained on the rejected one


@dataclass
class Dpo:
    """The objective of one run. `loop.train` calls `learn` for each window of chosen answers."""

    rejected: Mapping[Example, Example]  # chosen answer -> rejected answer, held-out pairs too
    beta: float
    reference: dict[Example, float] = field(default_factory=dict)  # start adapter's log probs, nats

    def prepare(self, base: Base, model: Any, recipe: Recipe) -> None:
        """Compute the start adapter's log probabilities, while the model still has its weights."""
        answers = [*self.rejected, *self.rejected.values()]
        self.reference = reference_probabilities(base, model, answers, recipe)

    def learn(
        self, base: Base, model: Any, window: Sequence[Example], recipe: Recipe
    ) -> tuple[float, int]:
        """Add up the gradients of one optimiser step; returns its mean loss and the padded
        tokens that it took."""
        loss, tokens = 0.0, 0
        for group in self._groups(window, recipe.micro_tokens):
            both = [*group, *(self.rejected[one] for one in group)]
            whole = recipe.model_copy(update={"micro_tokens": len(both) * _longest(both)})
            ((batch, rows),) = passes(both, whole, base)
            sums = answer_sums(base, model, batch)
            now = dict(zip(rows, sums, strict=True))
            moved = torch.stack([now[one] - self.reference[one] for one in both])
            chosen, rejected = moved.chunk(2)
            part = dpo_losses(chosen, rejected, self.beta).sum() / len(window)
            part.backward()
            loss += float(part.detach())
            tokens += batch.ids.numel()
        return loss, tokens

    @torch.no_grad()
    def gains(self, base: Base, model: Any, some: Sequence[Example], recipe: Recipe) -> Tensor:
        """How much likelier training made the chosen and the rejected answer of each pair, in nats
        times beta, (2, pairs)."""
        was_training = model.training
        model.eval()
        both = [*some, *(self.rejected[one] for one in some)]
        now = log_probabilities(base, model, both, recipe)
        before = torch.tensor([self.reference[one] for one in both], device=now.device)
        model.train(was_training)
        return self.beta * (now - before).view(2, len(some))

    def _groups(self, window: Sequence[Example], micro_tokens: int) -> list[list[Example]]:
        """Chosen answers in groups whose pairs have at most `micro_tokens` padded tokens, or one
        pair: the loss compares both answers of a pair, so they share a forward pass."""
        ordered = sorted(window, key=lambda one: _longest((one, self.rejected[one])))
        groups: list[list[Example]] = [[]]
        for one in ordered:
            longest = _longest((one, self.rejected[one]))
            if groups[-1] and 2 * longest * (len(groups[-1]) + 1) > micro_tokens:
                groups.append([])
            groups[-1].append(one)
        return groups


def dpo_losses(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """The loss of each pair, (pairs,). `chosen` and `rejected`: the log probability of the answer
    under the adapter minus that under the start adapter, in nats."""
    return -functional.logsigmoid(beta * (chosen - rejected))


def preferred(gains: Tensor) -> Preferred:
    """The summary of gains, (2, pairs). At least one pair."""
    chosen, rejected = gains
    return Preferred(
        len(chosen),
        float(chosen.mean()),
        float(rejected.mean()),
        float((chosen > rejected).float().mean()),
    )


def _longest(some: Sequence[Example]) -> int:
    return max(len(one.ids) for one in some)
