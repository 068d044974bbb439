"""The results of a comparison over time and by segment, with the intervals of the statistics.

Over time, the interval is the one that decides, as it was at the end of each day, without the
adjustment by earlier ratings. It may be looked at every day. Segments are many looks at once: their
intervals are wider, so that all of them together err no more often than the one that decides.
"""

from dataclasses import dataclass, replace

from sqlite_utils import Database

from bot.experiments.stats import Difference
from bot.experiments.stats.differences import differences_to_control
from data.experiments import design as designs
from data.experiments import rating_breakdowns
from data.experiments.design import ExperimentDesign
from data.experiments.experiments import Experiment
from data.experiments.metric_sums import ExperimentSums
from data.experiments.metrics import RATING


@dataclass(frozen=True)
class SideRatings:
    """The ratings of one variant's people."""

    raters: int
    mean: float | None  # 0..1; None: nobody rated


@dataclass(frozen=True)
class RatingsOfPart:
    """The ratings of a part of the people, or of the time."""

    sides: tuple[SideRatings, ...]  # the control first
    differences: tuple[Difference | None, ...]  # of the candidates to the control


@dataclass(frozen=True)
class DayResult:
    """As it was at the end of a day."""

    at: int  # microseconds since the epoch
    ratings: RatingsOfPart


@dataclass(frozen=True)
class SegmentResult:
    """One part of the people."""

    group: str
    name: str
    ratings: RatingsOfPart


def over_time(db: Database, experiment: Experiment) -> list[DayResult]:
    """One for each day on which somebody rated, the oldest first."""
    design = designs.from_json(experiment.terms)
    found = rating_breakdowns.by_day(db, experiment)
    return [DayResult(at, _ratings(sums, design)) for at, sums in found]


def by_segment(db: Database, experiment: Experiment) -> list[SegmentResult]:
    """One for each part of the people in which somebody rated."""
    design = designs.from_json(experiment.terms)
    found = rating_breakdowns.by_segment(db, experiment)
    shared = replace(design, alpha=design.alpha / max(1, len(found)))
    return [SegmentResult(s.group, s.name, _ratings(s.sums, shared)) for s in found]


def _ratings(sums: ExperimentSums, design: ExperimentDesign) -> RatingsOfPart:
    candidates = range(1, len(sums.variants))
    return RatingsOfPart(
        tuple(_side(sums, side) for side in range(len(sums.variants))),
        tuple(differences_to_control(sums, i, design).get(RATING) for i in candidates),
    )


def _side(sums: ExperimentSums, side: int) -> SideRatings:
    found = [stage.cells[side].of(RATING) for stage in sums.stages]
    weight = sum(s.w for s in found)
    return SideRatings(
        sum(s.people for s in found), sum(s.wy for s in found) / weight if weight else None
    )
