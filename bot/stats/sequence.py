"""The interval that decides: a confidence sequence for a difference of means per person.

Whoever looks after every vote, and stops when they like, still errs at most `alpha` of the time.
It is the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences" (Annals of Statistics 2024,
arXiv 2103.06476, eq. 9), which is Robbins' normal mixture around a mean whose variance is
estimated:

    estimate +- sigma * sqrt( 2 (t rho^2 + 1) / (t^2 rho^2) * log( sqrt(t rho^2 + 1) / alpha ) )

**Stages.** People carry the stage in which they were first exposed, and within a stage the shares
are constant and were fixed by what came before it. So each stage's difference of means is, given
its counts, an unbiased step of a martingale, whatever a ramp or an adaptive rule did between the
stages. The steps are put together with the weights n_a n_b / (n_a + n_b): those of Cochran (1954)
and of Mantel and Haenszel, in expectation n p_a p_b. This is inverse probability weighting with
the known shares and overlap weights (Li, Morgan and Zaslavsky 2018), normalised within each stage:
a person weighs at most one, however small their variant's share, so a stage of 5% costs no
precision; and a side that rates less often shifts nothing. Time is the variance that the steps
have summed up, as in the paper's sequence for varying variances, in units of people at equal
shares.
"""

from dataclasses import dataclass
from math import log
from typing import Any

Array = Any  # numpy's, or a number; numpy is imported when results are worked out, not before


@dataclass(frozen=True)
class Side:
    """One variant's sums over people, by stage: arrays of shape (..., stages)."""

    people: Array
    total: Array
    squares: Array


@dataclass(frozen=True)
class Interval:
    """Arrays of shape (...), or numbers."""

    estimate: Array  # b minus a; not a number where no stage has people on both sides
    low: Array
    high: Array
    error: Array  # standard error of the estimate
    time: Array  # in people at equal shares


def difference(a: Side, b: Side, alpha: float, tuned_for: float, bounded: bool = True) -> Interval:
    """The mean of b minus that of a, at any time; narrowest when `tuned_for` people are rated.

    `bounded`: the values lie in 0..1. Each side's variance is worked out with two more people, at
    0 and 1, or one above and below the mean, so that a handful of equal values is not taken for
    certainty."""
    import numpy as np

    n_a, n_b = np.asarray(a.people, float), np.asarray(b.people, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        both = (n_a > 0) & (n_b > 0)
        weight = np.where(both, n_a * n_b / (n_a + n_b), 0.0)
        step = np.where(both, np.asarray(b.total) / n_b - np.asarray(a.total) / n_a, 0.0)
        share_b = np.where(both, n_b / (n_a + n_b), 0.0)
        variance_a, variance_b = variance(a, bounded), variance(b, bounded)
        weights = weight.sum(-1)
        estimate = (weight * step).sum(-1) / weights
        spent = variance_a * (weight * share_b).sum(-1)
        spent = spent + variance_b * (weight * (1 - share_b)).sum(-1)
        time = 4 * spent / ((variance_a + variance_b) / 2)
        error = np.sqrt(spent) / weights
        half = error * boundary(time, alpha, tuned_for)
    return Interval(estimate, estimate - half, estimate + half, error, time)


def boundary(time: Array, alpha: float, tuned_for: float) -> Array:
    """How many standard errors the interval reaches to each side, at any time (eq. 9)."""
    import numpy as np

    x = np.maximum(time, 1e-9) * rho_squared(alpha, tuned_for)
    return np.sqrt((x + 1) / x * (np.log(x + 1) - 2 * log(alpha)))


def rho_squared(alpha: float, tuned_for: float) -> float:
    """The mixture that makes the interval narrowest at that time: x = log((x + 1) / alpha^2) for
    x = t rho^2 (the paper's appendix on tuning; found by iteration)."""
    x = -2 * log(alpha)
    for _ in range(20):
        x = log((x + 1) / alpha**2)
    return x / tuned_for


def variance(side: Side, bounded: bool) -> Array:
    """Of one person's value, over all stages: between stages it is counted as well, which is
    cautious when the mean drifts."""
    import numpy as np

    n = np.asarray(side.people, float).sum(-1)
    total, squares = np.asarray(side.total).sum(-1), np.asarray(side.squares).sum(-1)
    if bounded:
        n, total, squares = n + 2, total + 1, squares + 1
        return np.maximum(squares - total**2 / n, 0) / (n - 1)
    return (np.maximum(squares - total**2 / np.maximum(n, 1), 0) + 2) / (n + 1)
