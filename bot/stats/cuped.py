"""Regression adjustment with what a person thought before: people differ more than variants do.

CUPED (Deng, Xu, Kohavi and Walker, "Improving the sensitivity of online controlled experiments by
utilizing pre-experiment data", WSDM 2013): instead of a person's mean y, compare y - theta (x - m),
with x the person's mean rating before the comparison, m the mean of x, and

    theta = cov(x, y) / var(x)

within variants and stages, so that no difference between them gets into it. What a person thought
before cannot depend on the variant, so the comparison stays the same and only its noise shrinks,
by the squared correlation. People without earlier ratings count as average: x = m.

**When it helps:** it is used from LEAST_PEOPLE with earlier ratings on, and only while the noise
shrinks by at least LEAST_GAIN. Before that, theta is a guess that adds noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from data.evidence import Earlier, Sums

LEAST_PEOPLE = 100
LEAST_GAIN = 0.05

Rated = tuple[Sums, Earlier]  # of one variant in one stage


@dataclass(frozen=True)
class Adjustment:
    theta: float
    mean: float  # of the earlier ratings
    gain: float  # the share of the variance that it takes away, 0..1

    def adjusted(self, sums: Sums, earlier: Earlier) -> Sums:
        """The sums of y - theta (x - mean)."""
        x, xx, xy = _centred(earlier, self.mean)
        return Sums(
            people=sums.people,
            total=sums.total - self.theta * x,
            squares=sums.squares - 2 * self.theta * xy + self.theta**2 * xx,
        )


def adjustment(cells: Sequence[Rated]) -> Adjustment | None:
    """What earlier ratings can take away; None: it would not help, or not yet."""
    known = sum(e.people for _, e in cells)
    if known < LEAST_PEOPLE:
        return None
    mean = sum(e.x for _, e in cells) / known
    sxx = sxy = syy = 0.0
    for sums, earlier in cells:
        if sums.people:
            x, xx, xy = _centred(earlier, mean)
            sxx += xx - x * x / sums.people
            sxy += xy - x * sums.total / sums.people
            syy += sums.squares - sums.total**2 / sums.people
    gain = sxy * sxy / (sxx * syy) if sxx > 0 and syy > 0 else 0.0
    return Adjustment(sxy / sxx, mean, min(gain, 1.0)) if gain >= LEAST_GAIN else None


def _centred(e: Earlier, mean: float) -> tuple[float, float, float]:
    """The sums of x - mean, of its square, and of it times y; people without x add nothing."""
    return e.x - e.people * mean, e.xx - 2 * mean * e.x + e.people * mean**2, e.xy - mean * e.y
