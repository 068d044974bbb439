"""The verdict on a candidate: which check comes first, and where its limits are."""

from typing import cast

import pytest

from bot.experiments.stats.results import Comparison, Difference, State
from bot.experiments.stats.verdicts import (
    broken,
    failures_explain,
    few,
    lasting,
    overall,
    selection_explains,
    verdict,
)
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


# The checks of the ratings


@pytest.mark.parametrize(
    ("rating", "up", "down", "explained"),
    [
        ((0.1, 0.3), (0.01, 0.1), (-0.1, -0.01), False),
        ((0.1, 0.3), (0.0, 0.1), (-0.1, -0.01), True),  # no more thumbs up
        ((0.1, 0.3), (0.01, 0.1), (-0.1, 0.0), True),  # no fewer thumbs down
        ((0.1, 0.3), (-0.1, -0.01), (0.01, 0.1), True),
        ((-0.3, -0.1), (-0.1, -0.01), (0.01, 0.1), False),
        ((-0.3, -0.1), (-0.1, 0.0), (0.01, 0.1), True),
        ((-0.3, -0.1), (-0.1, -0.01), (0.0, 0.1), True),
        ((-0.3, -0.1), (0.01, 0.1), (-0.1, -0.01), True),
    ],
)
def test_among_all_answers_the_thumbs_must_point_the_same_way(
    rating: tuple[float, float],
    up: tuple[float, float],
    down: tuple[float, float],
    explained: bool,
) -> None:
    found = {
        "rating": between(*rating),
        "thumbs_up": between(*up),
        "thumbs_down": between(*down),
    }
    assert selection_explains(found) is explained
    decided = ("better" if rating[0] > 0 else "worse", "rating")
    assert verdict(True, found, DESIGN) == (("collecting", "selection") if explained else decided)
    for missing in ("thumbs_up", "thumbs_down"):  # not measured by earlier versions
        assert not selection_explains({n: d for n, d in found.items() if n != missing})


def failing(low: float, high: float, surplus: float) -> dict[str, Difference]:
    """Ratings, thumbs that agree with them, and a surplus of the candidate's failures."""
    sign = 1 if low > 0 else -1
    agree, contrary = (between(*sorted((sign * x, sign * 2 * x))) for x in (0.1, -0.1))
    failed = Difference(surplus, surplus - 0.5, surplus + 0.5, 0.1, 200.0, (100, 100))
    thumbs = {"thumbs_up": agree, "thumbs_down": contrary}
    return {"rating": between(low, high), "failed": failed, **thumbs}


@pytest.mark.parametrize(
    ("low", "high", "surplus", "explained"),
    [
        (0.04, 0.2, 0.049, False),  # of a candidate that 80% like
        (0.04, 0.2, 0.05, True),
        (0.04, 0.2, 0.051, True),
        (0.04, 0.2, -0.5, False),  # the other one fails more
        (-0.2, -0.04, -0.066, False),  # of a control that 60% like
        (-0.2, -0.04, -0.067, True),
        (-0.2, -0.04, 0.5, False),
    ],
)
def test_a_surplus_of_failures_counts_as_disliked(
    low: float, high: float, surplus: float, explained: bool
) -> None:
    found, likes = failing(low, high, surplus), (0.6, 0.8)
    assert failures_explain(found, likes) is explained
    decided = ("better" if low > 0 else "worse", "rating")
    said = ("collecting", "failures") if explained else decided
    assert verdict(True, found, DESIGN, likes) == said


def test_a_difference_that_could_be_exactly_zero_is_explained() -> None:
    for sign in (1, -1):  # in numbers that are exact in binary
        found = failing(*sorted((sign * 0.25, sign * 0.5)), sign * 0.5)
        assert failures_explain(found, (0.5, 0.5))
        assert not failures_explain(found, (0.49, 0.49))


def test_without_likes_every_failure_may_have_been_liked() -> None:
    assert verdict(True, failing(0.04, 0.2, 0.039), DESIGN) == ("better", "rating")
    assert verdict(True, failing(0.04, 0.2, 0.041), DESIGN) == ("collecting", "failures")
    assert verdict(True, failing(-0.2, -0.04, -0.039), DESIGN) == ("worse", "rating")
    assert verdict(True, failing(-0.2, -0.04, -0.041), DESIGN) == ("collecting", "failures")


def test_failures_are_checked_before_the_choice_of_raters() -> None:
    found = failing(0.04, 0.2, 0.1) | {"thumbs_up": between(-0.1, 0.1)}
    assert verdict(True, found, DESIGN) == ("collecting", "failures")


def test_the_first_version_of_the_statistics_has_no_checks() -> None:
    found = {n: failing(0.04, 0.2, 0.5)[n] for n in ("rating", "failed")}
    assert verdict(True, found, ExperimentDesign(version=1, guardrails={})) == ("better", "rating")


@pytest.mark.parametrize(
    ("later", "lasts"),
    [
        (between(0.001, 0.2), True),
        (between(0.0, 0.2), False),
        (between(0.1, 0.2, people=19), False),
        (None, False),
    ],
)
def test_a_better_candidate_lasts_if_later_ratings_exclude_zero(
    later: Difference | None, lasts: bool
) -> None:
    found = {"rating": between(0.1, 0.2)} | ({"later_rating": later} if later else {})
    assert lasting(found, DESIGN) is lasts
    assert lasting(found, ExperimentDesign(novelty_days=1)) is lasts
    assert lasting(found, ExperimentDesign(novelty_days=0)) is None


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
