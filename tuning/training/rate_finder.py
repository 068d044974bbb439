"""The learning-rate finder: a short ramp over rates, and a rate well below where it turns.

After Smith, "Cyclical Learning Rates" (https://arxiv.org/abs/1506.01186, section 3.3): train for a
few steps at rates that grow by a constant factor and watch the loss. The rate is chosen as fastai
does by its `minimum` rule (https://docs.fast.ai/callback.schedule.html): a tenth of the one at
which the loss was lowest; here, of the first one at which it was nearly so. Two more things are
different, because the ramp has to be short:

- The loss of a step is taken less what the adapter gave before the ramp on the very same examples,
  since the difference between examples would drown the rest.
- The ramp's batches are smaller than the run's. The rates that Adam bears grow with the square root
  of the batch (Malladi et al., https://arxiv.org/abs/2205.10287), so the choice grows by that.

The ramp costs at most a twentieth of the run and leaves nothing behind: the weights are put back.
"""

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tuning.data.examples import Example
from tuning.model.base_model import Base, trainable
from tuning.recipe.recipe import Recipe
from tuning.training import loop

log = logging.getLogger(__name__)

SHARE = 0.04  # of the run's cost as counted here; by the clock it stays below a twentieth
PASS = 250  # tokens that a pass costs beside its own: weights are read whatever the batch
FEWEST, MOST = 20, 48  # steps of a ramp; with fewer there is nothing to see
LOWEST, HIGHEST = 1 / 10, 300.0  # where the ramp begins and ends, times the default rate
MEASURE = 1 / 3  # what a forward pass costs, of a step
BELOW = 10  # the rate is chosen so far below the one with the lowest loss
NEAR = 2  # steps to each side that a loss is averaged with
TURNED = 0.3  # of the largest gain: below it the loss has turned
PLATEAU = 0.9  # of it: from here on larger rates gain nothing and risk more
LEAST_GAIN = 0.05  # nats a token; less is no sign of learning


@dataclass(frozen=True)
class TriedRate:
    """One step of the ramp."""

    rate: float
    gain: float  # nats a token that its examples lost since before the ramp; above 0 is better


@dataclass(frozen=True)
class Found:
    rate: float
    why: str  # a sentence for people
    tried: tuple[TriedRate, ...]


def find(
    base: Base, model: Any, epoch: Callable[[int], Sequence[Example]], recipe: Recipe
) -> Found:
    """The rate for this run, and why; the recipe's own where the run is too short for a ramp or the
    ramp shows nothing. The model is left as it was."""
    examples = epoch(0)
    total = loop.total_steps(len(examples), recipe)
    mean = sum(len(e.ids) for e in examples) / len(examples)
    affordable = SHARE * total * cost(mean, recipe.batch_size) / (1 + MEASURE)
    steps = min(MOST, int(affordable / cost(mean, 1)))
    if steps < FEWEST:
        why = f"A run of {total} steps is too short to look for a rate: the default is taken."
        return Found(recipe.learning_rate, why, ())
    size = 1
    while size < recipe.batch_size and steps * cost(mean, size + 1) <= affordable:
        size += 1
    tried = tuple(_ramp(base, model, epoch, recipe, steps, size))
    return _chosen(tried, recipe, size)


def cost(mean_tokens: float, examples: int) -> float:
    """Of a step on so many examples, in tokens."""
    return mean_tokens * examples + PASS


def _ramp(
    base: Base,
    model: Any,
    epoch: Callable[[int], Sequence[Example]],
    recipe: Recipe,
    steps: int,
    size: int,
) -> Iterator[TriedRate]:
    """Train at growing rates until the loss is worse than before, then put the weights back."""
    weights = trainable(model)
    before = {name: p.detach().clone() for name, p in weights.items()}
    optimizer = torch.optim.AdamW(weights.values(), betas=(0.9, recipe.beta2), fused=True)
    torch.manual_seed(recipe.seed)
    loop.prepare_model(base, model, epoch(0), recipe)
    small = recipe.model_copy(update={"batch_size": size})
    gains: list[float] = []
    try:
        for i, window in zip(range(steps), loop.stream(epoch, small), strict=False):
            rate = recipe.learning_rate * LOWEST * (HIGHEST / LOWEST) ** (i / (steps - 1))
            optimizer.param_groups[0]["lr"] = rate
            with _instead(weights, before):
                untrained = loop.mean_loss(base, model, window, recipe)
            loss, _ = loop.learn(base, model, window, recipe)
            torch.nn.utils.clip_grad_norm_(weights.values(), recipe.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            gains.append(untrained - loss)
            if not math.isfinite(loss):
                return
            yield TriedRate(rate, untrained - loss)
            if max(gains) > LEAST_GAIN and sum(gains[-2 * NEAR - 1 :]) < 0:
                return  # it has turned, and the rest would only cost
    finally:
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, parameter in weights.items():
                parameter.copy_(before[name])


def _chosen(tried: Sequence[TriedRate], recipe: Recipe, size: int) -> Found:
    smooth = [_mean([t.gain for t in tried[max(0, i - NEAR) : i + NEAR + 1]])
              for i in range(len(tried))]  # fmt: skip
    best = _first_peak(smooth)
    if best is None:
        why = "No rate of a short ramp lowered the loss: the default is taken."
        return Found(recipe.learning_rate, why, tuple(tried))
    peak = tried[best].rate
    rate = float(f"{min(1.0, peak / BELOW * math.sqrt(recipe.batch_size / size)):.2g}")
    why = (
        f"Learning rate {rate:g} was found by {len(tried)} steps at growing rates: the loss had "
        f"come near its lowest at {peak:.2g} with {'1 pair' if size == 1 else f'{size} pairs'} a "
        "step."
    )
    return Found(rate, why, tuple(tried))


def _first_peak(gains: Sequence[float]) -> int | None:
    """Where the gain first came near its largest, before it fell for the first time by most of
    itself; None when there was none. What comes later is not looked at: a model that fell apart
    may seem to learn."""
    best = None
    for i, gain in enumerate(gains):
        if gain >= LEAST_GAIN and (best is None or gain > gains[best]):
            best = i
        elif best is not None and gain < TURNED * gains[best]:
            break
    if best is None:
        return None
    return next(i for i, gain in enumerate(gains) if gain >= PLATEAU * gains[best])


@contextlib.contextmanager
def _instead(
    weights: Mapping[str, torch.nn.Parameter], others: Mapping[str, Tensor]
) -> Iterator[None]:
    """Inside it, the model has the other weights."""
    own = {name: p.data for name, p in weights.items()}
    for name, parameter in weights.items():
        parameter.data = others[name]
    try:
        yield
    finally:
        for name, parameter in weights.items():
            parameter.data = own[name]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
