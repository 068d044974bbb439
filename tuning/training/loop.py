"""The training loop, visible from top to bottom.

A plain loop and not `transformers.Trainer`: on a base of a few million parameters the Trainer's
own work is a fair part of each step (`benchmarks/train_step.py`), and what matters here is easier
to see when it is written out: loss per labelled token over the whole window, however it was cut
into passes; the rate; the best weights kept; a clean stop.
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
from tuning.model.base_model import Base, check_guarded, only_positions, trainable
from tuning.progress import StepProgress
from tuning.recipe.recipe import Recipe
from tuning.training.checkpoint import Checkpoints, Memory

log = logging.getLogger(__name__)

# adds up the gradients of one step; gives its loss and the padded tokens that it took
Objective = Callable[[Base, Any, Sequence[Example], Recipe], tuple[float, int]]


class Diverged(UnderstudyError):
    """The loss is not a number any more."""


@dataclass(frozen=True)
class TrainingOutcome:
    """How training went."""

    steps: int
    best_step: int
    chosen_by: str  # the parts whose loss chose the weights, or "last step"
    losses: dict[str, float]  # at the chosen step, by part
    train_loss: float | None
    tokens: int  # padding included
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

    `epoch(n)` gives the examples of the n-th pass. `measured` holds the parts whose loss is
    measured on the way; the checkpoint with the lowest sum over the parts of `selected_by` is kept,
    the last one when there are none. With `checkpoints`, training goes on from the last one, to
    the same bytes as if it had never stopped. `objective` stands for `learn`, where answers are
    not simply learned by heart. Raises Invalid for examples that would be a loss in
    silence and for a base model that would be, Diverged when the loss is not a number any more."""
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
    memory = checkpoints.restore(weights, optimizer) if checkpoints else Memory()
    done, spent = memory.step, memory.seconds
    began = time.monotonic()

    noise = noisy_embeddings(model, recipe.neftune_alpha)
    for step, window in enumerate(stream(epoch, recipe), start=1):
        if step > steps or _out_of_patience(memory, recipe):
            break
        if step <= done:
            continue
        for group in optimizer.param_groups:
            group["lr"] = rate(recipe, step - 1, steps)
        memory.train_loss, tokens = (objective or learn)(base, model, window, recipe)
        _check_finite(memory.train_loss, step)
        if step == done + 1:
            check_gradients(weights)
        norm = torch.nn.utils.clip_grad_norm_(weights.values(), recipe.max_grad_norm)
        _check_finite(float(norm), step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        memory.step, memory.tokens = step, memory.tokens + tokens

        losses = None
        if step in due:
            losses = {part: mean_loss(base, model, some, recipe) for part, some in measured.items()}
            for measure in losses.values():
                _check_finite(measure, step)
            _judge(memory, losses, selected_by, weights)
        elapsed = time.monotonic() - began
        memory.seconds = spent + elapsed
        if checkpoints is not None:
            if step == steps or _out_of_patience(memory, recipe):
                checkpoints.save(memory, weights, optimizer)
            else:
                checkpoints.save_if_due(memory, weights, optimizer)
        rate_now = optimizer.param_groups[0]["lr"]
        eta = elapsed / (step - done) * (steps - step)
        report(StepProgress(step, steps, memory.train_loss, rate_now, eta, losses))

    noise.remove()
    if memory.best:
        with torch.no_grad():
            for name, parameter in weights.items():
                parameter.copy_(memory.best[name])
    outcome = TrainingOutcome(
        steps=memory.step,
        best_step=memory.best_step if memory.best else memory.step,
        chosen_by=" + ".join(selected_by) if memory.best else "last step",
        losses=memory.losses,
        train_loss=memory.train_loss,
        tokens=memory.tokens,
        seconds=memory.seconds,
        stopped_early=memory.step < steps,
    )
    log.info(
        "trained %d steps in %.1f s, kept step %d%s",
        outcome.steps, outcome.seconds, outcome.best_step,
        ", stopped early" if outcome.stopped_early else "",
    )  # fmt: skip
    return outcome


def prepare_model(base: Base, model: Any, examples: Sequence[Example], recipe: Recipe) -> None:
    """Put the model into training mode as the recipe says. Raises packing.Leaks when its packed
    examples would see each other."""
    model.config.use_cache = False
    if recipe.gradient_checkpointing:
        base.model.gradient_checkpointing_enable({"use_reentrant": False})
    if recipe.packing:
        proof = packing.prove(base, model, examples)
        log.info("packed pairs are apart: %s", proof)
    model.train()


def check_gradients(weights: Mapping[str, torch.nn.Parameter]) -> None:
    """Raises Invalid when the first step would leave a part of the adapter as it is, for ever."""
    for name, parameter in weights.items():
        if parameter.grad is None:
            layer = name.split(".lora_")[0].removeprefix("base_model.model.")
            raise Invalid(
                f"The adapter on {layer} gets no gradient from this base model, so it would never "
                "learn. Name other layers in target_modules."
            )


def learn(base: Base, model: Any, window: Sequence[Example], recipe: Recipe) -> tuple[float, int]:
    """Add up the gradients of one optimiser step, every labelled token weighing the same however
    the window is cut into passes; returns the mean loss and the padded tokens that it took."""
    cut = packing.pack if recipe.packing else batches
    passes = cut(window, recipe.micro_tokens, base.pad_id, base.device)
    labelled = sum(batch.tokens for batch in passes)
    loss = torch.zeros((), device=base.device)
    for batch in passes:
        share = summed_loss(base, model, batch) / labelled
        share.backward()
        loss += share.detach()
    return float(loss), sum(batch.ids.numel() for batch in passes)


def noisy_embeddings(model: Any, alpha: float) -> RemovableHandle:
    """While the model trains, add uniform noise of at most alpha / sqrt(tokens x width) to what the
    embedding gives, (rows, tokens, width); equation 1 of https://arxiv.org/abs/2310.05914."""

    def add(module: Any, _: Any, output: Tensor) -> Tensor:
        if not (alpha and module.training):
            return output
        most = alpha / math.sqrt(output.shape[1] * output.shape[2])
        return output + torch.empty_like(output).uniform_(-most, most)

    return model.get_input_embeddings().register_forward_hook(add)


def _judge(
    memory: Memory,
    losses: dict[str, float],
    selected_by: Sequence[str],
    weights: Mapping[str, Tensor],
) -> None:
    """Keep the weights when they are the best so far; with nothing to judge by, the last are."""
    if not selected_by:
        memory.losses = losses
        return
    judged = sum(losses[part] for part in selected_by)
    if memory.best_loss is None or judged < memory.best_loss:
        memory.best = {name: p.detach().clone() for name, p in weights.items()}
        memory.best_loss, memory.best_step, memory.losses = judged, memory.step, losses
        memory.worse = 0
    else:
        memory.worse += 1


def _out_of_patience(memory: Memory, recipe: Recipe) -> bool:
    """Whether `patience` measurements in a row were no better than the best."""
    return recipe.patience > 0 and memory.worse >= recipe.patience


def summed_loss(base: Base, model: Any, batch: Batch) -> Tensor:
    """Cross entropy over the labelled tokens of a batch, summed, each times its weight.

    Only labelled positions go through the output layer: with a large vocabulary the logits of
    the prompts would be most of the memory."""
    targets = batch.labels[:, 1:]
    wanted = functional.pad(targets != IGNORED, (0, 1))  # position i predicts token i + 1
    with base.precision(), only_positions(model, wanted), packing.isolated(model, batch) as places:
        logits = model(input_ids=batch.ids, use_cache=False, **places).logits
    # (labelled, vocabulary)
    losses = functional.cross_entropy(logits.float(), targets[targets != IGNORED], reduction="none")
    return (losses * batch.weights[wanted]).sum()


def mean_loss(base: Base, model: Any, examples: Sequence[Example], recipe: Recipe) -> float:
    """Nats per labelled token over all examples, in evaluation mode; training goes on after."""
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
    """Windows without end, epoch after epoch, each in its own order."""
    number = 0
    while True:
        yield from windows(epoch(number), recipe.batch_size, recipe.seed * 100_003 + number)
        number += 1


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise Diverged(
            f"Training fell apart at step {step}: the loss is no longer a number. "
            "Ask again with a lower learning_rate."
        )
