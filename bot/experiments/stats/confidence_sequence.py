"""The interval that decides: a confidence sequence for a difference of means per person.

The error rate is at most `alpha`, even for somebody who checks after every rating and stops at any
time. It is the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences" (Annals of Statistics 2024,
arXiv 2103.06476, eq. 9), which is Robbins' normal mixture around a mean whose variance is
estimated:

    estimate +- sigma * sqrt( 2 (t rho^2 + 1) / (t^2 rho^2) * log( sqrt(t rho^2 + 1) / alpha ) )

**Two tunings.** With one rho, the interval is narrow around one number of people only. The sequence
of the ratings averages the e-values of two: one for a seventh of the people expected, and one for
half as many again as expected. An average of e-values is an e-value. The boundary is the z at
which the average reaches 1 / alpha.

**People.** A person's value is the mean of their ratings so far, which changes while they keep
rating. With equal weights for all people, later ratings would partly undo what a first rating
added, the sum would not be a martingale, and interim checks would err too often: up to 9% instead
of 5% if the ratings of one person correlate little. With the weight n / (1 + r (n - 1)) for n
ratings with correlation r, each rating adds only its unpredictable part (this is the weight of the
best linear prediction). The variance is the one between people, so the interval does not depend on
r. However, one person never counts as more than their weight in people who rated once. If the
ratings of a person correlate less than r, the mean of many ratings would keep moving while the
interval closes around it: with 200 ratings each, the error rate was up to 7%. The variance of one
rating is taken from both variants together, as if they were equal: fifty people at a share of 8%
who all like their answers seem not to vary at all, and where 96% like the answers of both variants,
the error rate was 6%.

**Stages.** Each person belongs to the stage in which they were first exposed. Within a stage the
shares are constant, and they depend only on earlier stages. So each stage's difference of means is,
given its counts, an unbiased step of a martingale, whatever a ramp or an adaptive rule did between
the stages. The steps are combined with the weights w_a w_b / (w_a + w_b), where w is a variant's
sum of weights: those of Cochran (1954) and of Mantel and Haenszel, in expectation n p_a p_b. This
is inverse probability weighting with the known shares and overlap weights (Li, Morgan and Zaslavsky
2018), normalised within each stage: a small share gives nobody a larger weight, so a stage of 5%
costs no precision, and a variant with fewer ratings causes no bias. Time is the accumulated
variance of the steps, as in the paper's sequence for varying variances, in units of people who
rated once, at equal shares.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

# Share of alpha; the rest is a reserve, as the sequence is asymptotic and people's means change.
SPENT = 0.9
# Of two tunings, more than alpha: nobody looks for ever. Up to twenty times the expected number of
# people, simulations err less often than alpha (`benchmarks/comparison_error.py`).
SPENT_BY_TWO = 1.2
STEPS = 8  # of Newton's method; four are enough for twelve digits

Array = Any  # a numpy array or a number; numpy is imported only when results are computed
Tuning = float | Sequence[float]  # the numbers of people around which the interval is narrow


@dataclass(frozen=True)
class SequenceSide:
    """One variant's `data.experiments.metric_sums.Sums`, by stage: arrays of shape (...,
    stages)."""

    people: Array
    w: Array
    wy: Array
    ww: Array
    wwy: Array
    wwyy: Array


@dataclass(frozen=True)
class Interval:
    """Arrays of shape (...), or numbers."""

    estimate: Array  # b minus a; NaN if no stage has people on both variants
    low: Array
    high: Array
    error: Array  # standard error of the estimate
    time: Array  # in people at equal shares


def difference(
    a: SequenceSide,
    b: SequenceSide,
    alpha: float,
    tuned_for: Tuning,
    bounded: bool = True,
    of_votes: float = 0.0,
) -> Interval:
    """The interval for the mean of b minus the mean of a, valid at any time and narrowest when
    `tuned_for` people have rated, or around two numbers of people.

    `bounded`: the values lie in 0..1. Each variant's variance is computed with two extra people, at
    0 and 1 (or one unit above and below the mean), so that a few equal values do not look like
    certainty. `of_votes`: for values that are means of ratings, the lower limit of the variance of
    people of weight one on both variants together, as a fraction (0..1) of the variance of one
    rating."""
    import numpy as np

    w_a, w_b = np.asarray(a.w, float), np.asarray(b.w, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        both = (w_a > 0) & (w_b > 0)
        weight = np.where(both, w_a * w_b / (w_a + w_b), 0.0)
        step = np.where(both, np.asarray(b.wy) / w_b - np.asarray(a.wy) / w_a, 0.0)
        share_b = np.where(both, w_b / (w_a + w_b), 0.0)
        variance_a, variance_b = variance(a, bounded), variance(b, bounded)
        least = of_votes * _of_one_vote(a, b)
        weights = weight.sum(-1)
        estimate = (weight * step).sum(-1) / weights
        spent = variance_a * (weight * share_b).sum(-1)
        spent = spent + variance_b * (weight * (1 - share_b)).sum(-1)
        spent = np.maximum(spent, least * weight.sum(-1))
        time = 4 * spent / np.maximum((variance_a + variance_b) / 2, least)
        error = np.sqrt(spent) / weights
        half = error * boundary(time, spent_of(tuned_for) * alpha, tuned_for)
    return Interval(estimate, estimate - half, estimate + half, error, time)


def spent_of(tuned_for: Tuning) -> float:
    """The share of alpha that is spent."""
    return SPENT_BY_TWO if isinstance(tuned_for, Sequence) else SPENT


def boundary(time: Array, alpha: float, tuned_for: Tuning) -> Array:
    """The half-width of the interval in standard errors, at any time (eq. 9, or the average of its
    e-values)."""
    import numpy as np

    time = np.maximum(time, 1e-9)
    if not isinstance(tuned_for, Sequence):
        x = time * rho_squared(alpha, tuned_for)
        return np.sqrt((x + 1) / x * (np.log(x + 1) - 2 * log(alpha)))
    # The logarithm of an e-value at z is u x / (1 + x) - log(1 + x) / 2, with u = z^2 / 2.
    xs = [time * rho_squared(alpha, people) for people in tuned_for]
    slopes = [x / (1 + x) for x in xs]
    starts = [-np.log1p(x) / 2 - log(len(xs)) for x in xs]
    # Where one of them alone reaches the threshold, the average is above it. It is convex in u, so
    # Newton's method comes down to the root.
    alone = [(-log(alpha) - start) / slope for start, slope in zip(starts, slopes, strict=True)]
    u = np.minimum.reduce(alone)
    for _ in range(STEPS):
        each = [np.exp(start + slope * u) for start, slope in zip(starts, slopes, strict=True)]
        total = sum(each)
        rise = sum(slope * e for slope, e in zip(slopes, each, strict=True)) / total
        u = u - np.log(total * alpha) / rise
    return np.sqrt(2 * u)


def rho_squared(alpha: float, tuned_for: float) -> float:
    """The mixture parameter that makes the interval narrowest at time `tuned_for`: the solution of
    x = log((x + 1) / alpha^2) for x = t rho^2, found by iteration (the paper's appendix on
    tuning)."""
    x = -2 * log(alpha)
    for _ in range(20):
        x = log((x + 1) / alpha**2)
    return x / tuned_for


def variance(side: SequenceSide, bounded: bool) -> Array:
    """The variance of a person of weight one, over all stages. It includes the variance between
    stages, which is conservative if the mean drifts. It is the empirical variance between people,
    independent of the model behind their weights."""
    import numpy as np

    sums = (side.people, side.w, side.wy, side.ww, side.wwy, side.wwyy)
    n, w, wy, ww, wwy, wwyy = (np.asarray(s, float).sum(-1) for s in sums)
    if bounded:
        n, w, wy, ww, wwy, wwyy = n + 2, w + 2, wy + 1, ww + 2, wwy + 1, wwyy + 1
    mean = wy / np.maximum(w, 1e-9)
    spread = np.maximum(wwyy - 2 * mean * wwy + mean**2 * ww, 0)
    if not bounded:
        n, w, spread = n + 2, w + 2, spread + 2
    return spread / w * n / (n - 1)


def _of_one_vote(a: SequenceSide, b: SequenceSide) -> Array:
    """The variance of one rating, if both variants were equal."""
    import numpy as np

    w, wy = (
        np.asarray(x, float).sum(-1) + np.asarray(y, float).sum(-1)
        for x, y in ((a.w, b.w), (a.wy, b.wy))
    )
    mean = np.clip(wy / np.maximum(w, 1e-9), 0, 1)
    return mean * (1 - mean)
