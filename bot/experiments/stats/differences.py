"""The difference between a candidate and the control in every metric, from the metric sums."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from bot.experiments.stats import confidence_sequence, cuped
from bot.experiments.stats.confidence_sequence import SequenceSide, Tuning
from bot.experiments.stats.results import Difference
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import ExperimentSums, Sums
from data.experiments.metrics import (
    CHECKS,
    LATER_RATING,
    METRICS,
    RATED,
    RATING,
    THUMBS_DOWN,
    THUMBS_UP,
)

# As shares of the expected people
EARLY, LATE = 0.15, 1.6  # the two tunings of the ratings
GUARDRAILS_TUNED_FOR = 0.3  # defects should show early
GUARDRAILS_TUNED_BEFORE = 0.1  # in the first version of the statistics
LATER_TUNED_FOR = 0.25  # not everybody comes back
LEAST_TUNING = 50.0  # people; with fewer, nothing is decided
# The probability that unequal rating is ever taken for a difference in quality. The error of the
# ratings comes on top: both must agree.
SELECTION_ALPHA = 0.11
NOVELTY_ALPHA = 0.1  # twice the probability that a novelty is ever taken for a lasting improvement


def differences_to_control(
    sums: ExperimentSums, candidate: int, design: ExperimentDesign
) -> Mapping[str, Difference]:
    """The differences of the variant at index `candidate`, in the metrics that both variants
    have."""
    metrics = METRICS if design.version == 1 else METRICS | CHECKS
    found = {metric: _difference(sums, candidate, metric, design) for metric in metrics}
    return {metric: difference for metric, difference in found.items() if difference is not None}


@dataclass(frozen=True)
class SequencePlan:
    """The settings of one confidence sequence, see `confidence_sequence.difference`."""

    alpha: float
    tuned_for: Tuning


def plan(metric: str, variants: int, design: ExperimentDesign) -> SequencePlan:
    """The plan for one candidate. Several candidates share the error (Bonferroni), so that together
    they err no more often than one would. So do the guardrails."""
    both, others = design.expected_people * 2 / variants, variants - 1
    if metric == RATING and design.version == 1:
        return SequencePlan(design.alpha / others, both)
    tunings = max(both * EARLY, LEAST_TUNING), both * LATE
    if metric == RATING:
        return SequencePlan(design.alpha / others, tunings)
    if metric in (THUMBS_UP, THUMBS_DOWN):
        return SequencePlan(SELECTION_ALPHA, tunings)
    if metric == LATER_RATING:
        return SequencePlan(NOVELTY_ALPHA / others, max(both * LATER_TUNED_FOR, LEAST_TUNING))
    if metric == RATED:
        return SequencePlan(design.alpha / others, both)
    if design.version == 1:
        return SequencePlan(design.guardrail_alpha / others, both * GUARDRAILS_TUNED_BEFORE)
    shared = others * max(1, len(design.guardrails))
    return SequencePlan(design.guardrail_alpha / shared, both * GUARDRAILS_TUNED_FOR)


def sequence_side(sums: list[Sums]) -> SequenceSide:
    """The sums of one variant's stages as arrays."""
    import numpy as np

    return SequenceSide(*np.array([astuple(s) for s in sums], float).reshape(-1, 6).T)


def _difference(
    sums: ExperimentSums, candidate: int, metric: str, design: ExperimentDesign
) -> Difference | None:
    a, b, gain = _sums(sums, candidate, metric)
    if not any(x.people and y.people for x, y in zip(a, b, strict=True)):
        return None
    share = (METRICS | CHECKS)[metric].unit == "share"
    planned = plan(metric, len(sums.variants), design)
    tuned_for = planned.tuned_for
    if metric in (THUMBS_UP, THUMBS_DOWN) and isinstance(tuned_for, Sequence):
        scale = _per_rater(sums, candidate, metric)
        tuned_for = [people * scale for people in tuned_for]
    found = confidence_sequence.difference(
        sequence_side(a),
        sequence_side(b),
        planned.alpha,
        tuned_for,
        bounded=share,
        of_votes=1 - gain if metric == RATING else float(share and design.version > 1),
    )
    return Difference(
        estimate=float(found.estimate),
        low=float(found.low),
        high=float(found.high),
        error=float(found.error),
        time=float(found.time),
        people=(sum(s.people for s in a), sum(s.people for s in b)),
        adjusted=gain,
    )


def _per_rater(sums: ExperimentSums, candidate: int, metric: str) -> float:
    """The weight of the people with answers for each unit of weight of the raters: the sequences of
    the thumbs among all answers count people with answers, but the design expects raters."""
    cells = [stage.cells[side] for stage in sums.stages for side in (0, candidate)]
    raters = sum(cell.of(RATING).w for cell in cells)
    return max(1.0, sum(cell.of(metric).w for cell in cells) / raters) if raters else 1.0


def _sums(
    sums: ExperimentSums, candidate: int, metric: str
) -> tuple[list[Sums], list[Sums], float]:
    """The sums of the control and the candidate by stage, and the share of the variance that the
    adjustment by earlier ratings removes."""
    a = [stage.cells[0] for stage in sums.stages]
    b = [stage.cells[candidate] for stage in sums.stages]
    sums_a, sums_b = [c.of(metric) for c in a], [c.of(metric) for c in b]
    rated = [(c.of(metric), c.earlier) for c in (*a, *b)]
    found = cuped.adjustment(rated) if metric == RATING else None
    if found is None:
        return sums_a, sums_b, 0.0
    return (
        [found.adjusted(s, c.earlier) for s, c in zip(sums_a, a, strict=True)],
        [found.adjusted(s, c.earlier) for s, c in zip(sums_b, b, strict=True)],
        found.gain,
    )
