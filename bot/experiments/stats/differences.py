"""A candidate against the control in every metric, from the sums of the evidence."""

from collections.abc import Mapping
from dataclasses import astuple

from bot.experiments.stats import cuped, sequence
from bot.experiments.stats.results import Difference
from bot.experiments.stats.sequence import SequenceSide
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import ExperimentSums, Sums
from data.experiments.metrics import METRICS, RATING

GUARDRAILS_TUNED_FOR = 0.1  # of the expected people: what is broken should show early


def against_a(
    evidence: ExperimentSums, candidate: int, terms: ExperimentDesign
) -> Mapping[str, Difference]:
    """Of the variant at that place, in the metrics that both sides have."""
    found = {metric: _difference(evidence, candidate, metric, terms) for metric in METRICS}
    return {metric: difference for metric, difference in found.items() if difference is not None}


def alpha(metric: str, variants: int, terms: ExperimentDesign) -> float:
    """With several candidates each gets its part (Bonferroni), so that together they err no more
    often than one would."""
    return (terms.alpha if metric == RATING else terms.guardrail_alpha) / (variants - 1)


def tuned_for(metric: str, variants: int, terms: ExperimentDesign) -> float:
    """The people of these two sides for whom the interval is narrowest."""
    both = terms.expected_people * 2 / variants
    return both if metric == RATING else both * GUARDRAILS_TUNED_FOR


def side(sums: list[Sums]) -> SequenceSide:
    """The sums of one variant's stages as arrays."""
    import numpy as np

    return SequenceSide(*np.array([astuple(s) for s in sums], float).reshape(-1, 6).T)


def _difference(
    evidence: ExperimentSums, candidate: int, metric: str, terms: ExperimentDesign
) -> Difference | None:
    a, b, gain = _sums(evidence, candidate, metric)
    if not any(x.people and y.people for x, y in zip(a, b, strict=True)):
        return None
    count = len(evidence.variants)
    found = sequence.difference(
        side(a),
        side(b),
        alpha(metric, count, terms),
        tuned_for(metric, count, terms),
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
    evidence: ExperimentSums, candidate: int, metric: str
) -> tuple[list[Sums], list[Sums], float]:
    """Control's and candidate's, by stage; ratings adjusted by earlier ones where that helps."""
    a = [stage.cells[0] for stage in evidence.stages]
    b = [stage.cells[candidate] for stage in evidence.stages]
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
