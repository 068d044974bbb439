"""An estimate of how many more people must rate, if the difference stays the same."""

from math import ceil, sqrt

from bot.experiments.stats.confidence_sequence import Tuning, boundary, spent_of
from bot.experiments.stats.results import Difference


def needed(found: Difference, alpha: float, tuned_for: Tuning, minimum_effect: float) -> int:
    """The raters still missing on both variants until the interval excludes zero or lies within
    the minimum effect, whichever comes first. At least 1, because no decision has been reached."""
    size = abs(found.estimate)
    target = max(size, minimum_effect - size)
    spread = found.error * sqrt(found.time)  # the standard error with one person, at equal shares

    level = spent_of(tuned_for) * alpha

    def half(time: float) -> float:
        return spread / sqrt(time) * float(boundary(time, level, tuned_for))

    low, high = 1.0, 2.0
    while half(high) > target:
        low, high = high, high * 2
    while high / low > 1.001:
        middle = sqrt(low * high)
        low, high = (middle, high) if half(middle) > target else (low, middle)
    return max(1, ceil(sum(found.people) * (high / found.time - 1)))


def about(people: int) -> str:
    """A number rounded up to two significant digits: 1,234 becomes `1,300`."""
    step = 10 ** max(0, len(str(people)) - 2)
    return f"{-(-people // step) * step:,}"
