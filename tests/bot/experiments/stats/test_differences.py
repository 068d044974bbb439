"""The sequence of each metric: its error, and the numbers of people that it is tuned for."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bot.experiments.stats.confidence_sequence import boundary
from bot.experiments.stats.differences import SequencePlan, differences_to_control, plan
from data.experiments.design import ExperimentDesign
from tests.bot.experiments.stats.given import cell, evidence, votes

DESIGN = ExperimentDesign()
BEFORE = ExperimentDesign(version=1, guardrail_alpha=0.01)


@pytest.mark.parametrize(
    ("metric", "variants", "design", "alpha", "tuned_for"),
    [
        ("rating", 2, DESIGN, 0.05, (150, 1_600)),
        ("rating", 3, DESIGN, 0.025, (100, 3_200 / 3)),
        ("rating", 2, replace(DESIGN, expected_people=100), 0.05, (50, 160)),
        ("rating", 2, BEFORE, 0.05, 1_000),
        ("rating", 3, BEFORE, 0.025, 2_000 / 3),
        ("thumbs_up", 2, DESIGN, 0.11, (150, 1_600)),
        ("thumbs_down", 3, DESIGN, 0.11, (100, 3_200 / 3)),
        ("later_rating", 2, DESIGN, 0.1, 250),
        ("later_rating", 3, replace(DESIGN, expected_people=100), 0.05, 50),
        ("rated", 3, DESIGN, 0.025, 2_000 / 3),
        ("failed", 2, DESIGN, 0.005, 300),
        ("latency", 3, DESIGN, 0.0025, 200),
        ("failed", 2, replace(DESIGN, guardrails={"failed": 0.1}), 0.02, 300),
        ("regenerate", 2, replace(DESIGN, guardrails={}), 0.02, 300),
        ("failed", 3, BEFORE, 0.005, 200 / 3),
    ],
)
def test_every_sequence_has_its_error_and_its_tuning(
    metric: str,
    variants: int,
    design: ExperimentDesign,
    alpha: float,
    tuned_for: float | Sequence[float],
) -> None:
    assert plan(metric, variants, design) == SequencePlan(
        pytest.approx(alpha), pytest.approx(tuned_for)
    )


def test_the_thumbs_among_all_answers_are_tuned_for_as_many_raters() -> None:
    """A quarter rates: four times as many people have an answer as rate."""
    sides = [cell(votes(60, 40), thumbs_up=votes(60, 340), thumbs_down=votes(40, 360))] * 2
    found = differences_to_control(evidence(sides), 1, DESIGN)["thumbs_up"]
    half = found.error * float(boundary(found.time, 1.2 * 0.11, (600, 6_400)))
    assert found.high - found.estimate == pytest.approx(half)


def test_more_ratings_than_answers_and_none_change_no_tuning() -> None:
    more = [cell(votes(60, 40), thumbs_up=votes(6, 4))] * 2
    none = [cell(thumbs_up=votes(6, 4))] * 2
    for sides in (more, none):
        found = differences_to_control(evidence(sides), 1, DESIGN)["thumbs_up"]
        half = found.error * float(boundary(found.time, 1.2 * 0.11, (150, 1_600)))
        assert found.high - found.estimate == pytest.approx(half)


def test_the_first_version_of_the_statistics_has_no_checks() -> None:
    sides = [cell(votes(60, 40), rated=votes(1, 1), failed=votes(1, 9))] * 2
    assert set(differences_to_control(evidence(sides), 1, BEFORE)) == {"rating", "failed"}
    assert set(differences_to_control(evidence(sides), 1, DESIGN)) == {"rating", "rated", "failed"}


def test_a_person_never_counts_as_more_than_their_weight_in_shares() -> None:
    """A hundred people of whom each has one answer in five failed, weighed as once: the variance is
    at least that of one answer. In the first version it is what the people's values say."""
    same = [cell(failed=[0.2] * 100)] * 2
    now, before = (
        differences_to_control(evidence(same), 1, design)["failed"] for design in (DESIGN, BEFORE)
    )
    assert now.error == pytest.approx((0.2 * 0.8 * (1 / 100 + 1 / 100)) ** 0.5)
    assert before.error < 0.6 * now.error
