"""How many people a comparison needs and how long it takes, from the domain's ratings of late.

The number is that of `stats/remaining.py`, asked before anybody has rated: the interval must
exclude zero if the difference is the assumed one. The variance is that of the means of the people
who rated lately, or the largest possible one while hardly anybody has. The time is the one in which
as many different people rated lately.
"""

from dataclasses import dataclass
from math import ceil

from sqlite_utils import Database

from bot.experiments.stats import Difference
from bot.experiments.stats.differences import plan
from bot.experiments.stats.remaining import needed
from data.domains import Domain
from data.experiments import policies
from data.experiments.counted_people import People
from data.experiments.design import ExperimentDesign
from data.experiments.expected_people import (
    FEWEST_TO_KNOW,
    LATELY_DAYS,
    RecentRater,
    expected_of,
    recent_raters,
)
from data.experiments.metrics import RATING
from data.store.clock import DAY_US, now_us

DIFFERENCES = (0.2, 0.1, 0.05, 0.02)  # of the mean rating, 0..1
MOST_VARIANCE = 0.25  # of values between 0 and 1


@dataclass(frozen=True)
class ForecastLine:
    """What it takes to see one difference."""

    difference: float  # of the mean rating, 0..1
    people: int  # who must rate, on both variants together
    days: int | None  # until as many have rated; None: nobody rates
    longer: bool  # it takes at least `days`: nobody knows how many new people would come


@dataclass(frozen=True)
class Forecast:
    """What a comparison of two variants takes."""

    raters: int  # people who rated in the last four weeks and count
    known: bool  # whether they are enough to know how ratings vary
    lines: tuple[ForecastLine, ...]  # the largest difference first


def forecast(
    db: Database, domain: Domain, share: float = 0.5, people: People = "verified"
) -> Forecast:
    """The forecast for a comparison that starts now; `share` (0..1) of the people get the
    candidate."""
    raters = recent_raters(db, domain.id, people)
    design = ExperimentDesign(expected_people=expected_of(raters), people=people)
    known = len(raters) >= FEWEST_TO_KNOW
    variance = _variance(raters) if known else MOST_VARIANCE
    left = 1 - policies.policy_of(db, domain.id).holdout
    lines = []
    for size in DIFFERENCES:
        count = _people(size, variance, share, design)
        days, longer = _days(raters, count / left)
        lines.append(ForecastLine(size, count, days, longer))
    return Forecast(len(raters), known, tuple(lines))


def _people(size: float, variance: float, share: float, design: ExperimentDesign) -> int:
    """Until the interval excludes zero."""
    planned = plan(RATING, 2, design)
    one = Difference(
        estimate=size, low=size, high=size, error=2 * variance**0.5, time=1.0, people=(1, 0)
    )
    at_equal_shares = 1 + needed(one, planned.alpha, planned.tuned_for, design.minimum_effect)
    least = design.least_people / min(share, 1 - share)
    return ceil(max(at_equal_shares / (4 * share * (1 - share)), least))


def _variance(raters: list[RecentRater]) -> float:
    """Of the means, with two people more, at 0 and 1, as in the confidence sequence."""
    means = [r.mean for r in raters] + [0.0, 1.0]
    mean = sum(means) / len(means)
    return sum((m - mean) ** 2 for m in means) / (len(means) - 1)


def _days(raters: list[RecentRater], count: float) -> tuple[int | None, bool]:
    """The days in which `count` different people rate, and whether it takes longer than people were
    looked at."""
    if not raters:
        return None, False
    if count > len(raters):
        return ceil(LATELY_DAYS * count / len(raters)), True
    newest = sorted((r.last_at for r in raters), reverse=True)
    return max(1, ceil((now_us() - newest[ceil(count) - 1]) / DAY_US)), False
