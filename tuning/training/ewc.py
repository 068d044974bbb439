"""Elastic weight consolidation: weights that old pairs depend on stay near their old values.

Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", 2017,
https://arxiv.org/abs/1612.00796, equation 3. With theta* the weights of the adapter that the run
continues, and F the diagonal of the Fisher information of old pairs at theta*,

    loss = loss of the new pairs + strength / 2 sum_i F_i (theta_i - theta*_i)^2

F is estimated by the squared gradients of single examples, as they were trained (empirical Fisher).
It is divided by its mean over all weights, so that `strength` means the same for adapters of all
sizes and losses. It is computed before the first step, from a sample of the pairs that the
continued adapter was trained on: nothing is stored between rounds."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tuning.data.examples import Example, batches
from tuning.model.base_model import Base, trainable
from tuning.recipe.recipe import Recipe
from tuning.training import loop

EXAMPLES = 128  # of old pairs, for the Fisher information: as many forward and backward passes


@dataclass
class Ewc:
    """The objective of one run. `loop.train` calls `learn` for each window."""

    old: Sequence[Example]  # trained by the adapter that the run continues
    strength: float
    fisher: dict[str, Tensor] = field(default_factory=dict)  # by weight; mean 1 over all
    anchor: dict[str, Tensor] = field(default_factory=dict)  # theta*

    def prepare(self, base: Base, model: Any, recipe: Recipe) -> None:
        """Compute the Fisher information, while the model still has the old weights."""
        rng = random.Random(recipe.seed)  # noqa: S311 - a sample, not a secret
        some = rng.sample(list(self.old), min(EXAMPLES, len(self.old)))
        weights = trainable(model)
        self.anchor = {name: p.detach().clone() for name, p in weights.items()}
        self.fisher = {name: torch.zeros_like(p) for name, p in weights.items()}
        was_training = model.training
        model.eval()
        for example in some:
            (batch,) = batches([example], recipe.micro_tokens, base.pad_id, base.device)
            loop.summed_loss(base, model, batch, whole_rows=True).backward()
            for name, p in weights.items():
                if p.grad is not None:
                    self.fisher[name] += p.grad.square()
                    p.grad = None
        model.train(was_training)
        mean = sum(float(f.sum()) for f in self.fisher.values())
        mean /= sum(f.numel() for f in self.fisher.values())
        if mean > 0:
            self.fisher = {name: f / mean for name, f in self.fisher.items()}

    def learn(
        self, base: Base, model: Any, window: Sequence[Example], recipe: Recipe
    ) -> tuple[float, int]:
        """Add up the gradients of one optimiser step. Returns the loss of the pairs, without the
        penalty, and the padded tokens that it took."""
        loss, tokens = loop.learn(base, model, window, recipe)
        with torch.no_grad():
            for name, p in trainable(model).items():
                if p.grad is not None:
                    p.grad += self.strength * self.fisher[name] * (p - self.anchor[name])
        return loss, tokens
