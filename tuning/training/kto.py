"""The KTO objective, which learns from rated answers without pairs of better and worse ones.

Ethayarajh et al., "KTO: Model Alignment as Prospect Theoretic Optimization", 2024,
https://arxiv.org/abs/2402.01306, equations 7 and 8. With r the log ratio of an answer's
probabilities under the trained adapter and under its parent, and z0 the estimated KL divergence of
the two,

    loss = w_liked (1 - sigmoid(beta (r - z0)))       of an answer that was liked
    loss = w_disliked (1 - sigmoid(beta (z0 - r)))    of one that was not

As in the paper, z0 is estimated from prompts with answers to other prompts, is at least 0, and has
no gradient. The parent's log probabilities are computed once, before the first step: the adapter
starts with the parent's weights, so no second model is needed."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tuning.data.examples import IGNORED, Example
from tuning.model.base_model import Base
from tuning.recipe.recipe import Recipe
from tuning.training.answer_probabilities import (
    answer_sums,
    log_probabilities,
    passes,
    reference_probabilities,
)

DESIRED = 4 / 3  # weighed liked answers for each weighed disliked one: the paper's 1 to 4/3


@dataclass(frozen=True)
class Reward:
    """How training changed the probability of answers. In nats times beta."""

    answers: int
    liked: float  # mean over liked answers; above 0: likelier than under the parent
    disliked: float
    right: float  # share that moved in the direction of the ratings, relative to z0


@dataclass
class Kto:
    """The objective of one run. `loop.train` calls `learn` for each window."""

    liked: Mapping[Example, bool]  # trained and held-out answers
    beta: float
    seed: int
    mismatched: dict[Example, Example] = field(default_factory=dict)  # with answers of others
    reference: dict[Example, float] = field(default_factory=dict)  # parent's log probs, nats

    def prepare(self, base: Base, model: Any, recipe: Recipe) -> None:
        """Compute the parent's log probabilities, while the model still has its weights."""
        self.mismatched = mismatched(list(self.liked), recipe.max_length, self.seed)
        answers = [*self.liked, *self.mismatched.values()]
        self.reference = reference_probabilities(base, model, answers, recipe)

    def learn(
        self, base: Base, model: Any, window: Sequence[Example], recipe: Recipe
    ) -> tuple[float, int]:
        """Add up the gradients of one optimiser step; returns its mean loss and the padded
        tokens that it took."""
        kl = self._kl_estimate(base, model, window, recipe)
        loss, tokens = 0.0, 0
        for batch, rows in passes(window, recipe, base):
            part = self._losses(answer_sums(base, model, batch), rows, kl).sum() / len(window)
            part.backward()
            loss += float(part.detach())
            tokens += batch.ids.numel()
        return loss, tokens

    @torch.no_grad()
    def reward(
        self, base: Base, model: Any, some: Mapping[Example, bool], recipe: Recipe
    ) -> Reward:
        """How the adapter in `model` rates answers that `prepare` has seen."""
        moved, kl = self._moved(base, model, list(some), recipe)
        order = list(some)
        wanted = torch.tensor([some[one] for one in order], device=moved.device)
        right = torch.where(wanted, moved > kl, moved < kl)
        return Reward(
            len(order), _mean(moved[wanted]), _mean(moved[~wanted]), float(right.float().mean())
        )

    @torch.no_grad()
    def margins(
        self, base: Base, model: Any, some: Mapping[Example, bool], recipe: Recipe
    ) -> list[float]:
        """How far each answer moved in the direction of its rating, relative to z0, in nats times
        beta."""
        moved, kl = self._moved(base, model, list(some), recipe)
        liked = torch.tensor(list(some.values()), device=moved.device)
        return torch.where(liked, moved - kl, kl - moved).tolist()

    def _moved(
        self, base: Base, model: Any, order: Sequence[Example], recipe: Recipe
    ) -> tuple[Tensor, float]:
        """How much likelier training made each answer, and z0, in nats times beta."""
        was_training = model.training
        model.eval()
        moved = self.beta * (
            log_probabilities(base, model, order, recipe) - self._reference_of(order, base)
        )
        kl = self.beta * self._kl_estimate(base, model, order, recipe)
        model.train(was_training)
        return moved, kl

    def _losses(self, now: Tensor, rows: Sequence[Example], kl: float) -> Tensor:
        """One loss for each row."""
        ratio = now - self._reference_of(rows, now)
        liked = torch.tensor([self.liked[row] for row in rows], device=now.device)
        up, down = _weights(sum(self.liked.values()), len(self.liked))
        return kto_losses(ratio, liked, kl, self.beta, up, down)

    @torch.no_grad()
    def _kl_estimate(
        self, base: Base, model: Any, rows: Sequence[Example], recipe: Recipe
    ) -> float:
        """z0: the mean log ratio of answers to other prompts, at least 0."""
        some = [self.mismatched[row] for row in rows]
        now = log_probabilities(base, model, some, recipe)
        return max(0.0, float((now - self._reference_of(some, base)).mean()))

    def _reference_of(self, rows: Sequence[Example], where: Any) -> Tensor:
        return torch.tensor([self.reference[row] for row in rows], device=where.device)


def kto_losses(
    ratio: Tensor, liked: Tensor, kl: float, beta: float, up: float, down: float
) -> Tensor:
    """The loss of each answer, (answers,). `ratio`: its log probability under the adapter minus
    that under the parent, in nats; `kl`: z0; `up` and `down`: the weights of a liked and of a
    disliked answer."""
    gain = torch.where(liked, ratio - kl, kl - ratio)
    return torch.where(liked, up, down) * (1 - torch.sigmoid(beta * gain))


def _weights(liked: int, answers: int) -> tuple[float, float]:
    """The weights of a liked and of a disliked answer. The rarer kind weighs more, so that all
    liked answers together weigh DESIRED times as much as all disliked ones."""
    if not 0 < liked < answers:
        return 1.0, 1.0
    share = DESIRED * (answers - liked) / liked
    return max(share, 1.0), max(1 / share, 1.0)


def mismatched(examples: Sequence[Example], max_length: int, seed: int) -> dict[Example, Example]:
    """Each example's prompt with the answer of another one, cut to `max_length` tokens."""
    order = list(examples)
    random.Random(seed).shuffle(order)  # noqa: S311 - an order, not a secret
    made = {}
    for one, other in zip(order, [*order[1:], order[0]], strict=True):
        answer = other.ids[-other.trained :]
        ids = (*one.prompt, *answer)[:max_length]
        labels = (*[IGNORED] * len(one.prompt), *answer)[:max_length]
        made[one] = Example(-one.pair_id, ids, labels)
    return made


def _mean(some: Tensor) -> float:
    return float(some.mean()) if len(some) else 0.0
