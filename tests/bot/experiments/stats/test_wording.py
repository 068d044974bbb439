"""The sentences of a comparison's results, each written out in full."""

from dataclasses import replace

import pytest

from bot.experiments.stats import wording
from bot.experiments.stats.results import (
    Comparison,
    Difference,
    Split,
    State,
    Strength,
    VariantResult,
)
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import Cell, StageSums

DESIGN = ExperimentDesign()
CONTROL = VariantResult("A", "helpdesk@1", 12, 10, 20, 0, 6, 4, 0.6, rated=0.3, failing=0.01)
CANDIDATE = VariantResult("B", "helpdesk@2", 12, 10, 20, 2, 6, 4, 0.6, rated=0.346, failing=0.08)


def difference(estimate: float, adjusted: float = 0.0) -> Difference:
    return Difference(estimate, estimate - 0.1, estimate + 0.1, 0.05, 20, (10, 10), adjusted)


def comparison(
    state: State = "collecting",
    reason: str = "",
    needed: int | None = None,
    chance: float | None = None,
    **differences: Difference,
) -> Comparison:
    return Comparison("B", "helpdesk@2", state, "", reason, differences, needed, chance)


def verdict(found: Comparison, missing: int = 0) -> str:
    return wording.verdict(found, (CONTROL, CANDIDATE), missing, DESIGN)


# The verdict


@pytest.mark.parametrize(
    ("missing", "more"),
    [(1, "1 more person"), (2, "2 more people"), (1200, "1,200 more people")],
)
def test_raters_that_are_still_missing_are_counted(missing: int, more: str) -> None:
    said = verdict(comparison(rating=difference(0.1)), missing)
    assert said == f"Collecting: {more} must rate before B can be evaluated."


def test_without_raters_in_one_stage_nothing_is_compared() -> None:
    assert verdict(comparison()) == "Collecting: B and A have no raters in the same stage."


@pytest.mark.parametrize(
    ("estimate", "needed", "said"),
    [
        (
            0.05,
            1,
            "Collecting: B is 5 points above A so far, interval -5.0 to +15.0. "
            "If the difference stays the same, ratings from 1 more person will decide.",
        ),
        (
            -0.05,
            200,
            "Collecting: B is 5 points below A so far, interval -15.0 to +5.0. "
            "If the difference stays the same, ratings from about 200 more people will decide.",
        ),
        (0.0, None, "Collecting: B is 0 points above A so far, interval -10.0 to +10.0."),
    ],
)
def test_an_undecided_comparison_gives_the_interval_and_what_is_needed(
    estimate: float, needed: int | None, said: str
) -> None:
    assert verdict(comparison(needed=needed, rating=difference(estimate))) == said


def test_unequal_rating_is_named() -> None:
    worse = comparison(reason="selection", rating=difference(-0.15))
    assert verdict(worse) == (
        "Collecting: among the people who rated, B is 15 points below A, interval -25.0 to -5.0. "
        "But people rated 35% of B's answers and 30% of A's, and a difference in who rates could "
        "explain it: among all answers, it is not clear yet that it has fewer thumbs up and more "
        "thumbs down."
    )
    better = comparison(reason="selection", rating=difference(0.15))
    assert verdict(better).endswith(
        "it is not clear yet that it has more thumbs up and fewer thumbs down."
    )


def test_failures_that_may_explain_a_difference_are_named() -> None:
    better = comparison(reason="failures", rating=difference(0.15))
    assert verdict(better) == (
        "Collecting: on the questions that both answered, B is 15 points above A, interval +5.0 to "
        "+25.0. But B failed on 8% of its questions, A on 1%. If people had disliked those "
        "answers, the difference could be zero."
    )


def test_a_decided_comparison_names_both_versions() -> None:
    better = comparison("better", "rating", rating=difference(0.2))
    assert verdict(better) == (
        "B (helpdesk@2) is better than A (helpdesk@1) by 20 points, interval +10.0 to +30.0."
    )
    equal = comparison("no difference", "rating", rating=difference(0.01))
    assert verdict(equal) == (
        "No meaningful difference: B (helpdesk@2) is within 2 points of A (helpdesk@1), "
        "interval -9.0 to +11.0."
    )


def test_a_broken_guardrail_says_whether_it_is_an_opinion_or_a_defect() -> None:
    worse = comparison("worse", "correction", correction=difference(0.2))
    assert verdict(worse) == (
        "Worse: B (helpdesk@2): 20 points more of its answers are corrected, "
        "interval +10.0 to +30.0; the limit is 5 points worse."
    )
    broken = comparison("unhealthy", "failed", failed=difference(0.2))
    assert verdict(broken) == (
        "Unhealthy: B (helpdesk@2): 20 points more of its answers fail, "
        "interval +10.0 to +30.0; the limit is 2 points worse."
    )


def test_a_broken_split_gives_expected_and_actual_numbers() -> None:
    stage = StageSums((0.5, 0.5), (Cell(assigned=1), Cell(assigned=1499)))
    variants = (replace(CONTROL, people=1), replace(CONTROL, label="B", people=1499))
    assert wording.broken_split(variants, [stage]) == (
        "Unhealthy: the split of the people is not as planned (A has 1 person, about 750 "
        "expected; B has 1,499 people, about 750 expected), so nothing can be decided. Find out "
        "which people are missing, then start a new comparison."
    )


# Ratings, chance and details


def test_the_raters_of_each_variant_are_counted() -> None:
    b = replace(CONTROL, label="B", adapter="helpdesk@2", raters=1, mean=1.0)
    c = replace(CONTROL, label="C", adapter="helpdesk@3", raters=0, mean=None)
    assert wording.rated([CONTROL, b, c]) == (
        "10 people rated A (helpdesk@1, 60% liked), 1 person rated B (helpdesk@2, 100% liked) "
        "and 0 people rated C (helpdesk@3)."
    )


def test_failures_and_unequal_rating_are_said_beside_the_ratings() -> None:
    rated = comparison(rated=Difference(0.046, 0.001, 0.09, 0.01, 100.0, (50, 50)))
    assert wording.cautions([CONTROL, CANDIDATE], [rated]) == (
        "B failed on 8% of its questions, A on 1%; the ratings compare the others.",
        "People rate B's answers more often than A's (35% of them, 30% of A's), so those who rate "
        "may differ.",
    )
    less = comparison(rated=Difference(-0.046, -0.09, -0.001, 0.01, 100.0, (50, 50)))
    assert "answers less often than" in wording.cautions([CONTROL, CANDIDATE], [less])[1]


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.1), (-0.1, 0.0), (-0.1, 0.1)])
def test_nothing_is_said_without_failures_and_while_people_may_rate_alike(
    low: float, high: float
) -> None:
    alike = comparison(rated=Difference((low + high) / 2, low, high, 0.01, 100.0, (50, 50)))
    sound = replace(CANDIDATE, failing=0.0049), replace(CONTROL, failing=None)
    assert wording.cautions([sound[1], sound[0]], [alike]) == ()
    assert wording.cautions([sound[1], replace(sound[0], failing=0.005)], [alike]) != ()
    assert wording.cautions([replace(CONTROL, failing=0.01), sound[0]], [alike]) != ()


def test_failures_are_said_once() -> None:
    held = comparison(reason="failures", rating=difference(0.15))
    assert wording.cautions([CONTROL, CANDIDATE], [held]) == ()


@pytest.mark.parametrize(
    ("chance", "said"),
    [
        (0.0, "under 1%"),
        (0.0049, "under 1%"),
        (0.005, "under 1%"),
        (0.0051, "1%"),
        (0.5, "50%"),
        (0.994, "99%"),
        (0.995, "over 99%"),
        (1.0, "over 99%"),
    ],
)
def test_a_posterior_is_never_certain(chance: float, said: str) -> None:
    assert wording.chance(comparison(chance=chance)) == (
        f"Chance that B is better: {said} (for information, not for decisions: with many looks, "
        "95% comes up even between equal variants)."
    )


def test_the_details_give_the_checks_of_the_ratings() -> None:
    found = comparison(
        rated=Difference(0.04, 0.01, 0.07, 0.05, 20, (10, 10)),
        thumbs_up=difference(0.1),
        later_rating=difference(-0.02),
    )
    assert wording.details([found], Split(0.0, 1.0, True), [], DESIGN)[:2] == (
        "B: answers rated +4.0 points (+1.0 to +7.0).",
        "B: answers liked, by ratings from a person's day 8 on, -2.0 points (-12.0 to +8.0).",
    )


def test_without_a_posterior_there_is_no_sentence() -> None:
    assert wording.chance(comparison()) == ""


@pytest.mark.parametrize(("sound", "planned"), [(True, "as planned"), (False, "not as planned")])
def test_the_details_give_each_metric_the_preferences_and_the_split(
    sound: bool, planned: str
) -> None:
    found = comparison(
        rating=difference(0.1, adjusted=0.25),
        latency=Difference(0.0, -0.1053605, 0.0953102, 0.05, 20, (10, 10)),
        regenerate=difference(0.1),
    )
    strength = Strength("B", 0.6, 0.4, 0.8)
    assert wording.details([found], Split(0.0, 0.51, sound), [strength], DESIGN) == (
        "B: time to answer +0% (-10% to +10%); the limit is 25% worse.",
        "B: answers regenerated +10.0 points (+0.0 to +20.0).",
        "B: earlier ratings remove 25% of the variance.",
        "B: preferred to the control in 60% of the choices (40% to 80%, for information, not for "
        "decisions).",
        f"The split of the people is {planned} (p = 0.51).",
    )
