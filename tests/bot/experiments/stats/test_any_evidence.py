"""Whatever was collected, there are results: plain numbers, the same each time, fair to all."""

from dataclasses import asdict
from math import isfinite
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.experiments import stats
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import Ballot, Cell, ExperimentSums, PreferenceCounts
from tests.bot.experiments.stats.given import cell, evidence

values = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=60)


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    rated = draw(values)
    earlier = draw(st.lists(st.none() | st.floats(0, 1), max_size=len(rated)))
    return cell(
        rated,
        assigned=len(rated) + draw(st.integers(0, 500)),
        earlier=earlier,
        failed=draw(values),
        correction=draw(values),
        follow_up=draw(values),
        latency=draw(st.lists(st.floats(0, 18), max_size=40)),
    )


@st.composite
def collected(draw: st.DrawFn, variants: int = 2) -> ExperimentSums:
    stages = draw(st.lists(st.tuples(*[cells()] * variants), min_size=1, max_size=3))
    first = [draw(st.floats(0.01, 0.9 / variants)) for _ in stages]
    shares = [[s, *[(1 - s) / (variants - 1)] * (variants - 1)] for s in first]
    choice = st.builds(PreferenceCounts, st.just("A"), st.just("B"), *[st.integers(0, 9)] * 3)
    ballots = draw(st.lists(st.builds(Ballot, st.tuples(choice), st.integers(1, 5)), max_size=3))
    return evidence(*stages, shares=shares, ballots=ballots)


def numbers(found: Any) -> list[float]:
    if isinstance(found, dict):
        return [n for v in found.values() for n in numbers(v)]
    if isinstance(found, list | tuple):
        return [n for v in found for n in numbers(v)]
    return [found] if isinstance(found, float) else []


@pytest.mark.integration
@given(given_evidence=collected(variants=2) | collected(variants=3))
@settings(max_examples=60, deadline=None)
def test_results_are_plain_finite_and_can_be_given_again(given_evidence: ExperimentSums) -> None:
    found = stats.summary(given_evidence, ExperimentDesign())
    assert all(isfinite(n) for n in numbers(asdict(found)))
    stored = orjson.loads(orjson.dumps(asdict(found)))
    assert stats.recompute_results(stored) == found
    for candidate in found.comparisons:
        assert (candidate.needed is None) == (candidate.state != "collecting")
        assert all(d.low <= d.estimate <= d.high for d in candidate.differences.values())


@given(given_evidence=collected())
@settings(max_examples=40, deadline=None)
def test_what_is_better_one_way_is_worse_the_other_way(given_evidence: ExperimentSums) -> None:
    swapped = ExperimentSums(
        given_evidence.variants,
        tuple(
            type(s)(tuple(reversed(s.shares)), tuple(reversed(s.cells)))
            for s in given_evidence.stages
        ),
    )
    terms = ExperimentDesign(guardrails={})
    there, back = (stats.summary(e, terms) for e in (given_evidence, swapped))
    opposite = {"better": "worse", "worse": "better"}
    assert back.state == opposite.get(there.state, there.state)
    rating, again = (r.comparisons[0].differences.get("rating") for r in (there, back))
    if rating is not None and again is not None:
        assert (again.low, again.high) == pytest.approx((-rating.high, -rating.low))
