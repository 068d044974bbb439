"""The learning-rate finder: a short ramp over learning rates, and a choice well below the best.

After Smith, "Cyclical Learning Rates" (https://arxiv.org/abs/1506.01186, section 3.3): train for a
few steps at learning rates that grow by a constant factor, and watch the loss. The rate is chosen
like fastai's `minimum` rule (https://docs.fast.ai/callback.schedule.html), a tenth of the rate with
the lowest loss; here, of the first rate with nearly the lowest loss. Because the ramp is short, two
more things differ:

- The loss of a step is compared with the loss of the untrained adapter on the same examples,
  because the difference between examples would hide everything else.
- The batches of the ramp are smaller than those of the run. The rates that Adam tolerates grow with
  the square root of the batch size (Malladi et al., https://arxiv.org/abs/2205.10287), so the
  chosen rate is scaled by that.

The ramp costs at most a twentieth of the run, and the weights are restored after it.
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

SHARE = 0.04  # of the run's cost as estimated here; less than a twentieth of its time
PASS = 250  # fixed cost of a forward pass in tokens: reading the weights
FEWEST, MOST = 20, 48  # steps of a ramp; fewer show nothing
LOWEST, HIGHEST = 1 / 10, 300.0  # ends of the ramp, relative to the default rate
MEASURE = 1 / 3  # cost of a forward pass, relative to a step
BELOW = 10  # the chosen rate is this factor below the one with the lowest loss
NEAR = 2  # steps on each side for the moving average
TURNED = 0.3  # of the largest gain; below it, the loss has turned
PLATEAU = 0.9  # of the largest gain; larger rates only add risk
LEAST_GAIN = 0.05  # nats per token; less is no sign of learning


@dataclass(frozen=True)
class TriedRate:
    """One step of the ramp."""

    rate: float
    gain: float  # nats per token below the untrained adapter's loss on the same examples


@dataclass(frozen=True)
class FoundRate:
    rate: float
    why: str  # a sentence for people
    tried: tuple[TriedRate, ...]


def find(
    base: Base, model: Any, epoch: Callable[[int], Sequence[Example]], recipe: Recipe
) -> FoundRate:
    """The learning rate for this run, and the reason. It is the recipe's own when the run is too
    short for a ramp or the ramp shows nothing. The model is left unchanged."""
    examples = epoch(0)
    total = loop.total_steps(len(examples), recipe)
    mean = sum(len(e.ids) for e in examples) / len(examples)
    affordable = SHARE * total * cost(mean, recipe.batch_size) / (1 + MEASURE)
    steps = min(MOST, int(affordable / cost(mean, 1)))
    if steps < FEWEST:
        why = (
            f"A run of {total} steps is too short to look for a learning rate: it uses the default."
        )
        return FoundRate(recipe.learning_rate, why, ())
    size = 1
    while size < recipe.batch_size and steps * cost(mean, size + 1) <= affordable:
        size += 1
    tried = tuple(_ramp(base, model, epoch, recipe, steps, size))
    return _chosen(tried, recipe, size)


def cost(mean_tokens: float, examples: int) -> float:
    """The cost of a step on this many examples, in tokens."""
    return mean_tokens * examples + PASS


def _ramp(
    base: Base,
    model: Any,
    epoch: Callable[[int], Sequence[Example]],
    recipe: Recipe,
    steps: int,
    size: int,
) -> Iterator[TriedRate]:
    """Train at growing rates until the loss gets worse, then restore the weights."""
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
                return  # the loss has turned
    finally:
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, parameter in weights.items():
                parameter.copy_(before[name])


def _chosen(tried: Sequence[TriedRate], recipe: Recipe, size: int) -> FoundRate:
    smooth = [_mean([t.gain for t in tried[max(0, i - NEAR) : i + NEAR + 1]])
              for i in range(len(tried))]  # fmt: skip
    best = _first_peak(smooth)
    if best is None:
        why = "No rate of a short ramp lowered the loss: the run uses the default."
        return FoundRate(recipe.learning_rate, why, tuple(tried))
    peak = tried[best].rate
    rate = float(f"{min(1.0, peak / BELOW * math.sqrt(recipe.batch_size / size)):.2g}")
    why = (
        f"Learning rate {rate:g} was found with {len(tried)} steps at growing rates: the loss was "
        f"nearly lowest at {peak:.2g} with {'1 pair' if size == 1 else f'{size} pairs'} per step."
    )
    return FoundRate(rate, why, tuple(tried))


def _first_peak(gains: Sequence[float]) -> int | None:
    """The first step with nearly the largest gain, before the gain first falls by most of its size;
    None without a gain. Later steps are ignored, because a diverged model may seem to learn."""
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
    """Inside it, the model has the weights `others`."""
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
