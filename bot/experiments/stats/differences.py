"""The difference between a candidate and the control in every metric, from the metric sums."""

from collections.abc import Mapping
from dataclasses import astuple

from bot.experiments.stats import confidence_sequence, cuped
from bot.experiments.stats.confidence_sequence import SequenceSide
from bot.experiments.stats.results import Difference
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import ExperimentSums, Sums
from data.experiments.metrics import METRICS, RATING

GUARDRAILS_TUNED_FOR = 0.1  # share of the expected people: defects should show early


def differences_to_control(
    sums: ExperimentSums, candidate: int, design: ExperimentDesign
) -> Mapping[str, Difference]:
    """The differences of the variant at index `candidate`, in the metrics that both variants
    have."""
    found = {metric: _difference(sums, candidate, metric, design) for metric in METRICS}
    return {metric: difference for metric, difference in found.items() if difference is not None}


def alpha(metric: str, variants: int, design: ExperimentDesign) -> float:
    """The error level for one candidate. Several candidates share it (Bonferroni), so that together
    they err no more often than one would."""
    return (design.alpha if metric == RATING else design.guardrail_alpha) / (variants - 1)


def tuned_for(metric: str, variants: int, design: ExperimentDesign) -> float:
    """The number of people on the two variants at which the interval is narrowest."""
    both = design.expected_people * 2 / variants
    return both if metric == RATING else both * GUARDRAILS_TUNED_FOR


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
    count = len(sums.variants)
    found = confidence_sequence.difference(
        sequence_side(a),
        sequence_side(b),
        alpha(metric, count, design),
        tuned_for(metric, count, design),
        bounded=METRICS[metric].unit == "share",
        of_votes=1 - gain if metric == RATING else 0.0,
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
