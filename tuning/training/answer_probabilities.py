"""The log probabilities of whole answers, which the preference objectives compare."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tuning.data.examples import IGNORED, Batch, Example, batches
from tuning.model.base_model import Base, only_positions
from tuning.recipe.recipe import Recipe
from tuning.training.cross_entropy import token_losses


def log_probabilities(
    base: Base, model: Any, examples: Sequence[Example], recipe: Recipe
) -> Tensor:
    """The log probability of each example's answer, in nats, in the order given."""
    found: dict[Example, Tensor] = {}
    for batch, rows in passes(examples, recipe, base):
        found |= dict(zip(rows, answer_sums(base, model, batch), strict=True))
    return torch.stack([found[example] for example in examples])


def reference_probabilities(
    base: Base, model: Any, examples: Sequence[Example], recipe: Recipe
) -> dict[Example, float]:
    """The same under the adapter that a run starts from, in evaluation mode and without gradients.
    Called before the first step, while the model still has that adapter's weights."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        found = log_probabilities(base, model, examples, recipe)
    model.train(was_training)
    return dict(zip(examples, found.tolist(), strict=True))


def passes(
    examples: Sequence[Example], recipe: Recipe, base: Base
) -> list[tuple[Batch, list[Example]]]:
    """Forward passes of at most `micro_tokens` padded tokens, with the examples of their rows."""
    rows = sorted(dict.fromkeys(examples), key=lambda e: len(e.ids))
    made, begin = [], 0
    for batch in batches(rows, recipe.micro_tokens, base.pad_id, base.device):
        end = begin + len(batch.ids)
        made.append((batch, rows[begin:end]))
        begin = end
    return made


def answer_sums(base: Base, model: Any, batch: Batch) -> Tensor:
    """The summed log probability of each row's labelled tokens, (rows,)."""
    targets = batch.labels[:, 1:]
    wanted = functional.pad(targets != IGNORED, (0, 1))  # position i predicts token i + 1
    with base.precision(), only_positions(model, wanted):
        logits = model(input_ids=batch.ids, use_cache=False).logits  # (labelled, vocabulary)
    labelled = targets[targets != IGNORED]
    each = -token_losses(logits, labelled)
    row_of = wanted.nonzero()[:, 0]
    return torch.zeros(len(batch.ids), device=each.device).index_add(0, row_of, each)
