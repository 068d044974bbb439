"""Scales, ticks and paths of charts: the arithmetic that every drawing of a run shares.

A scale maps a value to a position. The drawings (`loss_chart.py` and `search_report.py` as SVG,
`bot/slack/render/loss_curve.py` as PNG) only turn positions into markup or pixels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from data.runs.runs import LossPoint

Curve = list[tuple[int, float]]  # step and loss
Scale = Callable[[float], float]

HUGE = 1e6  # nats per token; a diverged loss above this would flatten the rest of the curve
POINTS = 600  # of a thinned curve; more cannot be seen


def curve(
    points: Sequence[LossPoint],
    field: Literal["loss", "validation_loss", "probe_loss"],
    limit: float = math.inf,
) -> Curve:
    """The steps at which a loss was measured and can be drawn: it is finite and below `limit`."""
    found = [(point.step, getattr(point, field)) for point in points]
    return [(step, loss) for step, loss in found if drawable(loss, limit)]


def drawable(value: float | None, limit: float = math.inf) -> bool:
    """Whether a value was measured, is finite, and lies below `limit`."""
    return value is not None and math.isfinite(value) and abs(value) < limit


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Maps `low` to `start` and `high` to `end`; everything to `start` where the two are equal."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return lambda value: start
    return lambda value: start + (end - start) * ((value - low) / span)


def logarithmic(low: float, high: float, start: float, end: float, least: float) -> Scale:
    """As `linear`, but of the logarithm; a value below `least` (more than 0) is drawn there."""
    place = linear(math.log(low), math.log(high), start, end)
    return lambda value: place(math.log(max(value, least)))


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between the two; only the powers if the range is wide."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1,) if high / low > 1000 else (1, 2, 5)
    found = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in found if low <= value <= high]


@dataclass(frozen=True)
class RoundAxis:
    """A linear axis that begins and ends at round numbers."""

    low: float
    high: float
    step: float  # between two ticks

    def ticks(self) -> list[float]:
        count = round((self.high - self.low) / self.step)
        return [self.low + number * self.step for number in range(count + 1)]

    def label(self, value: float) -> str:
        """With as many decimal places as the step has."""
        return f"{value:.{max(0, -math.floor(math.log10(self.step)))}f}"


def round_axis(low: float, high: float, parts: int = 5) -> RoundAxis:
    """An axis that includes both, in about `parts` steps of 1, 2 or 5 times a power of ten."""
    wanted = max(high - low, 1e-6) / parts
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= wanted * 0.999)
    first = math.floor(low / step) * step
    return RoundAxis(first, max(math.ceil(high / step) * step, first + step), step)


def step_ticks(steps: Sequence[int]) -> list[int]:
    """The first, the middle and the last step."""
    first, last = min(steps), max(steps)
    return sorted({first, (first + last) // 2, last})


def thinned(points: Curve) -> Curve:
    """Every n-th point of a long curve."""
    return points[:: max(1, len(points) // POINTS)]


def path(points: Curve, x: Scale, y: Scale) -> list[tuple[float, float]]:
    """The positions of a curve's points."""
    return [(x(step), y(loss)) for step, loss in points]
