"""The interval that decides: a confidence sequence for a difference of means per person.

Whoever looks after every vote, and stops when they like, still errs at most `alpha` of the time.
It is the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences" (Annals of Statistics 2024,
arXiv 2103.06476, eq. 9), which is Robbins' normal mixture around a mean whose variance is
estimated:

    estimate +- sigma * sqrt( 2 (t rho^2 + 1) / (t^2 rho^2) * log( sqrt(t rho^2 + 1) / alpha ) )

**People.** A person's value is the mean of their ratings so far, which moves while they go on
voting. Were all people weighed alike, what a first vote added would be taken back by the next ones,
the sum would be no martingale, and looks in between would be wrong too often: up to 9% in place of
5%, where the votes of one person have little in common. With the weight n / (1 + r (n - 1)) for n
votes whose correlation is r, each vote adds what could not be foretold (it is the weight of the
best linear prediction). The variance is that between people, so the interval does not rest on r;
but nobody is taken to tell more than as many people as they weigh, who voted once. Where votes of
a person have less in common than r, the mean of many would keep moving while the interval closed
around it: with 200 votes each it was wrong up to 7% of the time. What one vote varies is that of
both sides together, as if they were alike: fifty people at a share of 8% who all like their answers
seem to vary hardly at all, and where 96% like them on both sides, it was wrong 6% of the time.

**Stages.** People carry the stage in which they were first exposed, and within a stage the shares
are constant and were fixed by what came before it. So each stage's difference of means is, given
its counts, an unbiased step of a martingale, whatever a ramp or an adaptive rule did between the
stages. The steps are put together with the weights w_a w_b / (w_a + w_b), where w is a side's sum
of weights: those of Cochran (1954) and of Mantel and Haenszel, in expectation n p_a p_b. This is
inverse probability weighting with the known shares and overlap weights (Li, Morgan and Zaslavsky
2018), normalised within each stage: a variant's small share makes nobody weigh more, so a stage of
5% costs no precision; and a side that rates less often shifts nothing. Time is the variance that
the steps have summed up, as in the paper's sequence for varying variances, in units of people who
rated once, at equal shares.
"""

from dataclasses import dataclass
from math import log
from typing import Any

# Of alpha; the rest is kept back, because the sequence is asymptotic and the means of people move.
SPENT = 0.9

Array = Any  # numpy's, or a number; numpy is imported when results are worked out, not before


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

    estimate: Array  # b minus a; not a number where no stage has people on both sides
    low: Array
    high: Array
    error: Array  # standard error of the estimate
    time: Array  # in people at equal shares


def difference(
    a: SequenceSide,
    b: SequenceSide,
    alpha: float,
    tuned_for: float,
    bounded: bool = True,
    of_votes: float = 0.0,
) -> Interval:
    """The mean of b minus that of a, at any time; narrowest when `tuned_for` people are rated.

    `bounded`: the values lie in 0..1. Each side's variance is worked out with two more people, at
    0 and 1, or one above and below the mean, so that a handful of equal values is not taken for
    certainty. `of_votes`: the least that people of weight one vary, both sides together, as a part
    (0..1) of what one vote of anybody does; for values that are means of votes."""
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
        half = error * boundary(time, SPENT * alpha, tuned_for)
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


def variance(side: SequenceSide, bounded: bool) -> Array:
    """Of a person of weight one, over all stages: between stages it is counted as well, which is
    cautious when the mean drifts. It is worked out over people, whatever their weights assume."""
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
    """The variance of one vote of anybody, were both sides alike."""
    import numpy as np

    w, wy = (
        np.asarray(x, float).sum(-1) + np.asarray(y, float).sum(-1)
        for x, y in ((a.w, b.w), (a.wy, b.wy))
    )
    mean = np.clip(wy / np.maximum(w, 1e-9), 0, 1)
    return mean * (1 - mean)
