"""Variance reduction with a person's earlier ratings: people differ more than variants do.

CUPED (Deng, Xu, Kohavi and Walker, "Improving the sensitivity of online controlled experiments by
utilizing pre-experiment data", WSDM 2013): instead of a person's mean y, compare y - theta (x - m),
with x the person's mean rating before the comparison, m the mean of x, and

    theta = cov(x, y) / var(x)

within variants and stages, so that differences between them do not affect theta, and with the
people's squared weights, as in the variance that it reduces. Earlier ratings cannot depend on the
variant, so the estimate stays unbiased and only its variance shrinks, by the squared correlation.
People without earlier ratings count as average: x = m.

**When it is used:** only with earlier ratings from at least LEAST_PEOPLE people, and only while the
variance shrinks by at least LEAST_GAIN. Otherwise the estimate of theta would add noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from data.experiments.metric_sums import PriorRatings, Sums

LEAST_PEOPLE = 100
LEAST_GAIN = 0.05

Rated = tuple[Sums, PriorRatings]  # of one variant in one stage


@dataclass(frozen=True)
class Adjustment:
    theta: float
    mean: float  # of the earlier ratings
    gain: float  # the share of the variance that it removes, 0..1

    def adjusted(self, sums: Sums, earlier: PriorRatings) -> Sums:
        """The sums of y - theta (x - mean)."""
        x, theta = _centred(earlier, self.mean), self.theta
        return replace(
            sums,
            wy=sums.wy - theta * x.w,
            wwy=sums.wwy - theta * x.ww,
            wwyy=sums.wwyy - 2 * theta * x.wwy + theta**2 * x.wwx,
        )


@dataclass(frozen=True)
class _Centred:
    """Sums over people of w x, w^2 x, w^2 x^2 and w^2 x y, where x is centred on the mean."""

    w: float
    ww: float
    wwx: float
    wwy: float


def adjustment(cells: Sequence[Rated]) -> Adjustment | None:
    """The adjustment by earlier ratings; None: too few of them, or too little gain."""
    if sum(e.people for _, e in cells) < LEAST_PEOPLE:
        return None
    mean = sum(e.wx for _, e in cells) / sum(e.w for _, e in cells)
    sxx = sxy = syy = 0.0
    for s, earlier in cells:
        if s.people:
            x = _centred(earlier, mean)
            mean_x, mean_y = x.w / s.w, s.wy / s.w
            sxx += x.wwx - 2 * mean_x * x.ww + mean_x**2 * s.ww
            sxy += x.wwy - mean_y * x.ww - mean_x * s.wwy + mean_x * mean_y * s.ww
            syy += s.wwyy - 2 * mean_y * s.wwy + mean_y**2 * s.ww
    gain = sxy * sxy / (sxx * syy) if sxx > 1e-9 and syy > 1e-9 else 0.0
    return Adjustment(sxy / sxx, mean, min(gain, 1.0)) if gain >= LEAST_GAIN else None


def _centred(e: PriorRatings, mean: float) -> _Centred:
    """The centred sums. People without earlier ratings add nothing."""
    return _Centred(
        w=e.wx - mean * e.w,
        ww=e.wwx - mean * e.ww,
        wwx=e.wwxx - 2 * mean * e.wwx + mean**2 * e.ww,
        wwy=e.wwxy - mean * e.wwy,
    )
