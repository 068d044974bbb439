"""The verdict on a candidate: which check comes first, and where its limits are."""

from typing import cast

import pytest

from bot.experiments.stats.results import Comparison, Difference, State
from bot.experiments.stats.verdicts import broken, few, overall, verdict
from data.experiments.design import ExperimentDesign

DESIGN = ExperimentDesign(
    minimum_effect=0.02,
    least_people=20,
    guardrails={"correction": 0.05, "failed": 0.02, "follow_up": 0.1},
)


def between(low: float, high: float, people: int = 100, time: float = 200.0) -> Difference:
    return Difference((low + high) / 2, low, high, 0.01, time, (people, people))


def on_rating(low: float, high: float) -> tuple[State, str]:
    return verdict(True, {"rating": between(low, high)}, DESIGN)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.3, ("better", "rating")),
        (-0.3, -0.01, ("worse", "rating")),
        (-0.1, 0.1, ("collecting", "")),
        (0.0, 0.3, ("collecting", "")),  # zero is not excluded
        (-0.3, 0.0, ("collecting", "")),
        (-0.01, 0.01, ("no difference", "rating")),
        (-0.02, 0.02, ("no difference", "rating")),
        (-0.021, 0.02, ("collecting", "")),
        (-0.02, 0.021, ("collecting", "")),
        (0.005, 0.015, ("no difference", "rating")),  # too small to matter
    ],
)
def test_the_interval_of_the_ratings_decides(
    low: float, high: float, expected: tuple[State, str]
) -> None:
    assert on_rating(low, high) == expected


def test_without_ratings_results_are_collected() -> None:
    assert verdict(True, {}, DESIGN) == ("collecting", "")
    few_rated = {"rating": between(0.1, 0.3, people=19)}
    assert verdict(True, few_rated, DESIGN) == ("collecting", "")


def test_a_broken_split_prevents_any_decision() -> None:
    found = {"rating": between(0.1, 0.3), "failed": between(0.1, 0.3)}
    assert verdict(False, found, DESIGN) == ("unhealthy", "split")


@pytest.mark.parametrize(
    ("name", "low", "high", "expected"),
    [
        ("failed", 0.021, 0.1, True),
        ("failed", 0.02, 0.1, False),
        ("failed", -0.3, -0.1, False),
        ("follow_up", -0.3, -0.11, True),  # fewer say that it helped
        ("follow_up", -0.3, -0.1, False),
        ("follow_up", -0.3, 0.05, False),
        ("follow_up", 0.2, 0.3, False),
    ],
)
def test_a_guardrail_breaks_when_the_whole_interval_is_beyond_its_bound(
    name: str, low: float, high: float, expected: bool
) -> None:
    assert broken(name, between(low, high), DESIGN.guardrails[name], DESIGN) is expected
    assert not broken(name, between(low, high, people=19), DESIGN.guardrails[name], DESIGN)


def test_a_defect_is_named_before_a_broken_guardrail_that_is_an_opinion() -> None:
    bad = between(0.5, 0.6)
    for found in ({"correction": bad, "failed": bad}, {"failed": bad, "correction": bad}):
        assert verdict(True, {"rating": between(0.1, 0.3), **found}, DESIGN) == (
            "unhealthy",
            "failed",
        )
    assert verdict(True, {"correction": bad, "latency": bad}, DESIGN) == ("worse", "correction")


@pytest.mark.parametrize(
    ("people", "time", "expected"),
    [
        ((20, 20), 40.0, False),
        ((19, 90), 200.0, True),
        ((90, 19), 200.0, True),
        ((20, 20), 39.9, True),
        ((90, 90), 30.0, True),
        ((90, 90), 50.0, False),
    ],
)
def test_twenty_people_on_each_variant_and_in_common_stages_are_enough(
    people: tuple[int, int], time: float, expected: bool
) -> None:
    found = Difference(0.1, 0.0, 0.2, 0.01, time, people)
    assert few(found, DESIGN) is expected


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["worse", "better", "collecting"], "better"),
        (["worse", "collecting", "no difference"], "collecting"),
        (["worse", "worse"], "worse"),
        (["unhealthy"], "unhealthy"),
        (["worse", "no difference"], "no difference"),
        (["unhealthy", "worse"], "worse"),
    ],
)
def test_a_comparison_is_decided_when_each_candidate_is(states: list[str], expected: str) -> None:
    comparisons = [
        Comparison("B", "helpdesk@2", cast(State, state), "", "", {}, None, None)
        for state in states
    ]
    assert overall(comparisons) == expected
