"""The training loop, visible from top to bottom.

It is a plain loop instead of `transformers.Trainer`: on a base of a few million parameters the
Trainer's overhead is a considerable part of each step (`benchmarks/train_step.py`). And the
important parts are visible: loss per labelled token over the whole batch, however it is split into
forward passes; the learning rate; the selection of the best weights; a clean stop.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from data.store.errors import Invalid, UnderstudyError
from tuning.data import packing
from tuning.data.examples import IGNORED, Batch, Example, batches, check, windows
from tuning.model.base_model import (
    Base,
    check_guarded,
    only_positions,
    predictions,
    trainable,
)
from tuning.progress import StepProgress
from tuning.recipe.recipe import Recipe
from tuning.training.checkpoint import Checkpoints, TrainingState
from tuning.training.cross_entropy import token_losses

log = logging.getLogger(__name__)

# accumulates the gradients of one step; returns its loss and its padded tokens
Objective = Callable[[Base, Any, Sequence[Example], Recipe], tuple[float, int]]


class Diverged(UnderstudyError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class TrainingOutcome:
    """The result of a training."""

    steps: int
    best_step: int
    chosen_by: str  # the parts whose loss selected the weights, or "last step"
    losses: dict[str, float]  # at the selected step, by part
    train_loss: float | None
    tokens: int  # including padding
    seconds: float
    stopped_early: bool


def total_steps(examples_per_epoch: int, recipe: Recipe) -> int:
    """Optimiser steps of a whole run."""
    per_epoch = math.ceil(examples_per_epoch / recipe.batch_size)
    steps = max(1, round(per_epoch * recipe.epochs))
    return min(steps, recipe.max_steps) if recipe.max_steps else steps


def rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`."""
    warmup = math.ceil(recipe.warmup_share * steps)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    if recipe.schedule == "constant":
        return recipe.learning_rate
    left = 1 - (step - warmup) / max(1, steps - warmup)
    shape = left if recipe.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2
    return recipe.learning_rate * max(shape, 0.02)


def train(
    base: Base,
    model: Any,
    epoch: Callable[[int], Sequence[Example]],
    measured: Mapping[str, Sequence[Example]],
    selected_by: Sequence[str],
    recipe: Recipe,
    report: Callable[[StepProgress], None] = lambda _: None,
    checkpoints: Checkpoints | None = None,
    objective: Objective | None = None,
) -> TrainingOutcome:
    """Train `model`'s adapter in place and leave the best weights in it.

    `epoch(n)` returns the examples of epoch n. `measured` holds the parts whose loss is measured
    regularly. The weights with the lowest sum of losses over the parts in `selected_by` are kept;
    without such parts, the last weights. With `checkpoints`, training resumes from the last one and
    ends with the same bytes as an uninterrupted training. `objective` replaces `learn`. Raises
    Invalid for examples or a base model that would train wrongly without an error, and Diverged
    when the loss is no longer a number."""
    first = epoch(0)
    check(first, base.stops)
    check_guarded(base.model)
    steps = total_steps(len(first), recipe)
    due = {round((i + 1) * steps / recipe.evaluations) for i in range(recipe.evaluations)} | {steps}
    weights = trainable(model)
    optimizer = torch.optim.AdamW(
        weights.values(),
        lr=recipe.learning_rate,
        betas=(0.9, recipe.beta2),
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    torch.manual_seed(recipe.seed)  # dropout
    prepare_model(base, model, first, recipe)
    state = checkpoints.restore(weights, optimizer) if checkpoints else TrainingState()
    done, spent = state.step, state.seconds
    began = time.monotonic()

    noise = noisy_embeddings(model, recipe.neftune_alpha)
    for step, window in enumerate(stream(epoch, recipe), start=1):
        if step > steps or _out_of_patience(state, recipe):
            break
        if step <= done:
            continue
        for group in optimizer.param_groups:
            group["lr"] = rate(recipe, step - 1, steps)
        state.train_loss, tokens = (objective or learn)(base, model, window, recipe)
        _check_finite(state.train_loss, step)
        if step == done + 1:
            check_gradients(weights)
        norm = torch.nn.utils.clip_grad_norm_(weights.values(), recipe.max_grad_norm)
        _check_finite(float(norm), step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state.step, state.tokens = step, state.tokens + tokens

        losses = None
        if step in due:
            losses = {part: mean_loss(base, model, some, recipe) for part, some in measured.items()}
            for measure in losses.values():
                _check_finite(measure, step)
            _keep_if_best(state, losses, selected_by, weights)
        elapsed = time.monotonic() - began
        state.seconds = spent + elapsed
        if checkpoints is not None:
            if step == steps or _out_of_patience(state, recipe):
                checkpoints.save(state, weights, optimizer)
            else:
                checkpoints.save_if_due(state, weights, optimizer)
        rate_now = optimizer.param_groups[0]["lr"]
        eta = elapsed / (step - done) * (steps - step)
        report(StepProgress(step, steps, state.train_loss, rate_now, eta, losses))

    noise.remove()
    if state.best:
        with torch.no_grad():
            for name, parameter in weights.items():
                parameter.copy_(state.best[name])
    outcome = TrainingOutcome(
        steps=state.step,
        best_step=state.best_step if state.best else state.step,
        chosen_by=" + ".join(selected_by) if state.best else "last step",
        losses=state.losses,
        train_loss=state.train_loss,
        tokens=state.tokens,
        seconds=state.seconds,
        stopped_early=state.step < steps,
    )
    log.info(
        "trained %d steps in %.1f s, kept step %d%s",
        outcome.steps, outcome.seconds, outcome.best_step,
        ", stopped early" if outcome.stopped_early else "",
    )  # fmt: skip
    return outcome


def prepare_model(base: Base, model: Any, examples: Sequence[Example], recipe: Recipe) -> None:
    """Prepare the model for training with the recipe. Raises packing.ExamplesNotIsolated when
    packed examples would see each other."""
    model.config.use_cache = False
    if recipe.gradient_checkpointing:
        base.model.gradient_checkpointing_enable({"use_reentrant": False})
    if recipe.packing:
        proof = packing.check_isolation(base, model, examples)
        log.info("packed pairs do not see each other: %s", proof)
    model.train()


def check_gradients(weights: Mapping[str, torch.nn.Parameter]) -> None:
    """Raises Invalid when a part of the adapter gets no gradient, so that it would never learn."""
    for name, parameter in weights.items():
        if parameter.grad is None:
            layer = name.split(".lora_")[0].removeprefix("base_model.model.")
            raise Invalid(
                f"The adapter on {layer} gets no gradient from this base model, so it would never "
                "learn. Choose other layers in target_modules."
            )


def learn(base: Base, model: Any, window: Sequence[Example], recipe: Recipe) -> tuple[float, int]:
    """Accumulate the gradients of one optimiser step. Every labelled token weighs the same, however
    the window is split into forward passes. Returns the mean loss and the number of padded
    tokens."""
    cut = packing.pack if recipe.packing else batches
    passes = cut(window, recipe.micro_tokens, base.pad_id, base.device)
    labelled = sum(batch.tokens for batch in passes)
    loss = torch.zeros((), device=base.device)
    for batch in passes:
        share = summed_loss(base, model, batch, whole_rows=_needs_whole_rows(recipe)) / labelled
        share.backward()
        loss += share.detach()
    return float(loss), sum(batch.ids.numel() for batch in passes)


def _needs_whole_rows(recipe: Recipe) -> bool:
    """Whether a forward pass must see padded rows. Noise on the embeddings depends on the length of
    a pass, and gradient checkpointing keeps no keys and values."""
    return bool(recipe.neftune_alpha or recipe.gradient_checkpointing)


def noisy_embeddings(model: Any, alpha: float) -> RemovableHandle:
    """In training mode, add uniform noise of at most alpha / sqrt(tokens x width) to the output of
    the embedding, (rows, tokens, width); equation 1 of https://arxiv.org/abs/2310.05914."""

    def add(module: Any, _: Any, output: Tensor) -> Tensor:
        if not (alpha and module.training):
            return output
        most = alpha / math.sqrt(output.shape[1] * output.shape[2])
        return output + torch.empty_like(output).uniform_(-most, most)

    return model.get_input_embeddings().register_forward_hook(add)


def _keep_if_best(
    state: TrainingState,
    losses: dict[str, float],
    selected_by: Sequence[str],
    weights: Mapping[str, Tensor],
) -> None:
    """Keep the weights if they are the best so far. Without parts to select by, keep the last."""
    if not selected_by:
        state.losses = losses
        return
    total = sum(losses[part] for part in selected_by)
    if state.best_loss is None or total < state.best_loss:
        state.best = {name: p.detach().clone() for name, p in weights.items()}
        state.best_loss, state.best_step, state.losses = total, state.step, losses
        state.worse = 0
    else:
        state.worse += 1


def _out_of_patience(state: TrainingState, recipe: Recipe) -> bool:
    """Whether `patience` measurements in a row were not better than the best one."""
    return recipe.patience > 0 and state.worse >= recipe.patience


def summed_loss(base: Base, model: Any, batch: Batch, *, whole_rows: bool = False) -> Tensor:
    """Cross entropy over the labelled tokens of a batch, summed, each times its weight.

    Only labelled positions go through the output layer: with a large vocabulary the logits of
    the prompts would take most of the memory. Unless it must see `whole_rows`, and on a base for
    which that works, nothing is computed for padding, and the common beginning of the rows is
    computed once."""
    targets = batch.labels[:, 1:]
    wanted = functional.pad(targets != IGNORED, (0, 1))  # position i predicts token i + 1
    if whole_rows or batch.positions is not None:
        with (
            base.precision(),
            only_positions(model, wanted),
            packing.isolation_arguments(model, batch) as positions,
        ):
            logits = model(input_ids=batch.ids, use_cache=False, **positions).logits
    else:
        logits = predictions(base, model, batch.ids, wanted)
    losses = token_losses(logits, targets[targets != IGNORED])
    return (losses * batch.weights[wanted]).sum()


def mean_loss(base: Base, model: Any, examples: Sequence[Example], recipe: Recipe) -> float:
    """Nats per labelled token over all examples, in evaluation mode. Restores training mode."""
    if not examples:
        return math.nan
    was_training = model.training
    model.eval()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for batch in batches(
            sorted(examples, key=lambda e: len(e.ids)),
            recipe.micro_tokens,
            base.pad_id,
            base.device,
        ):
            total += float(summed_loss(base, model, batch))
            tokens += batch.tokens
    model.train(was_training)
    return total / tokens


def stream(epoch: Callable[[int], Sequence[Example]], recipe: Recipe) -> Iterator[list[Example]]:
    """An endless stream of windows, epoch after epoch, each in its own order."""
    number = 0
    while True:
        yield from windows(epoch(number), recipe.batch_size, recipe.seed * 100_003 + number)
        number += 1


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise Diverged(
            f"Training diverged at step {step}: the loss is no longer a number. Request the run "
            "again with a lower learning_rate."
        )
