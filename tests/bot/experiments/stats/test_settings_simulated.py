"""That decisions hold what they promise where ratings differ although the answers do not.

Seeded. `benchmarks/comparison_error.py` prints the same of many more comparisons.
"""

from dataclasses import replace

import numpy as np
import pytest

from bot.experiments import stats
from bot.experiments.stats.confidence_sequence import SequenceSide
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import Cell, ExperimentSums, StageSums, Sums, VariantSums
from tests.bot.experiments.stats import simulated_settings
from tests.bot.experiments.stats.simulated_settings import (
    Failing,
    Novelty,
    Setting,
    broken,
    outcomes,
    promoted,
    seen,
)
from tests.bot.experiments.stats.simulation import BETTER, NO_DIFFERENCE, WORSE, Outcomes

NOW, BEFORE = ExperimentDesign(), ExperimentDesign(version=1)
NAMES = {0: "collecting", BETTER: "better", WORSE: "worse", NO_DIFFERENCE: "no difference"}


def wrong(found: Outcomes) -> float:
    return found.share(BETTER) + found.share(WORSE)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (Setting(b=0.5, rate=0.4, raters=500), ("worse", "rating")),
        (Setting(b=0.9, rate=0.4, raters=500), ("better", "rating")),
        (Setting(unhappy=2.0, rate=0.4, raters=600), ("collecting", "selection")),
        (Setting(b=0.8, hard=0.1, raters=300), ("collecting", "failures")),
    ],
)
def test_the_simulation_decides_like_the_product(setting: Setting, said: tuple[str, str]) -> None:
    """At looks all along some comparisons, through the whole of `summary`."""
    terms = ExperimentDesign(guardrails={})
    (found,) = seen(setting, 3, seed=1)
    states, told = simulated_settings.states(found, terms), set()
    for comparison in range(3):
        for look in range(0, states.shape[1], 10):
            cells = tuple(
                Cell(sums={n: sums(s[side], (comparison, look)) for n, s in vars(found).items()})
                for side in (0, 1)
            )
            stage = StageSums((0.5, 0.5), cells)
            variants = tuple(VariantSums(label, "helpdesk@1") for label in "AB")
            results = stats.summary(ExperimentSums(variants, (stage,)), terms)
            assert results.state == NAMES[int(states[comparison, look])], (comparison, look)
            told.add((results.state, results.comparisons[0].reason))
    assert said in told


def sums(side: SequenceSide, at: tuple[int, int]) -> Sums:
    return Sums(*(float(part[(*at, 0)]) for part in vars(side).values()))


# How often equal variants are called different


@pytest.mark.slow
@pytest.mark.parametrize("liked", [0.5, 0.7, 0.9, 0.98])
def test_equal_variants_are_called_different_at_most_one_time_in_twenty(liked: float) -> None:
    """Up to 20,000 raters, which is twenty times as many as expected."""
    setting = Setting(a=liked, b=liked, raters=20_000, step=10)
    assert wrong(outcomes(setting, 300, seed=21)) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("expected", [100, 5_000])
def test_also_when_other_numbers_of_people_are_expected(expected: int) -> None:
    terms = ExperimentDesign(expected_people=expected)
    assert wrong(outcomes(Setting(raters=20_000, step=10), 300, seed=22, terms=terms)) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("often", "most"), [(1.2, 0.13), (1.5, 0.05), (2.0, 0.05)])
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_unhappy_people_who_rate_more_often_on_one_variant_make_it_no_worse(
    often: float, most: float, rate: float
) -> None:
    setting = Setting(unhappy=often, rate=rate, raters=1_200, step=5)
    assert wrong(outcomes(setting, 300, seed=23)) <= most


def test_before_the_checks_unequal_rating_decided() -> None:
    setting = Setting(unhappy=2.0, rate=0.3, raters=1_200, step=5)
    assert outcomes(setting, 50, seed=24, terms=BEFORE).share(WORSE) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("hard", [0.01, 0.02, 0.05, 0.1])
def test_failing_on_hard_questions_never_looks_like_quality(hard: float) -> None:
    assert outcomes(Setting(hard=hard, step=5), 300, seed=25).share(BETTER) <= 0.05


def test_before_the_checks_failing_on_hard_questions_looked_like_quality() -> None:
    assert outcomes(Setting(hard=0.1, step=20), 50, seed=26, terms=BEFORE).share(BETTER) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("novelty", "days"), [(0.1, 3.0), (0.15, 7.0)])
def test_what_is_only_new_is_not_promoted(novelty: float, days: float) -> None:
    called, confirmed = promoted(Novelty(novelty=novelty, days=days), 300, seed=27)
    assert called.share(BETTER) > 0.5
    assert confirmed.share(BETTER) <= 0.05


@pytest.mark.slow
def test_what_lasts_is_promoted() -> None:
    called, confirmed = promoted(Novelty(b=0.8, novelty=0.0), 100, seed=28)
    assert called.share(BETTER) > 0.99
    assert confirmed.share(BETTER) > 0.95
    assert confirmed.median > called.median


# How soon different variants are


@pytest.mark.slow
@pytest.mark.parametrize(
    ("a", "b", "raters", "comparisons", "step", "most"),
    [
        (0.52, 0.89, 400, 1_500, 1, 0.70),
        (0.60, 0.80, 1_500, 1_000, 1, 0.83),
        (0.70, 0.85, 2_000, 1_000, 2, 0.89),
        (0.70, 0.78, 6_000, 300, 10, 1.02),
        (0.70, 0.73, 24_000, 150, 50, 1.05),
    ],
)
def test_large_differences_take_fewer_raters_than_with_one_tuning_and_small_ones_hardly_more(
    a: float, b: float, raters: int, comparisons: int, step: int, most: float
) -> None:
    setting = Setting(a, b, raters=raters, step=step)
    now, before = (outcomes(setting, comparisons, 35, terms) for terms in (NOW, BEFORE))
    assert now.median <= most * before.median
    assert now.share(WORSE) <= 0.001


@pytest.mark.slow
def test_large_differences_are_found_although_few_people_rate() -> None:
    """The checks of the ratings need more people then, but they find what is there."""
    setting = Setting(0.6, 0.8, rate=0.3, raters=2_000)
    assert outcomes(setting, 150, seed=30).share(BETTER) > 0.99


# Guardrails


@pytest.mark.slow
def test_people_who_ask_often_make_failures_show_sooner() -> None:
    failing = Failing(b=0.06)
    weighed, alike = (broken(failing, 150, seed=31, weighed=w) for w in (True, False))
    assert weighed > 1.5 * alike
    assert broken(replace(failing, b=failing.a), 150, seed=32) == 0
    assert broken(replace(failing, b=failing.a + 0.02), 150, seed=33) <= 0.02  # just acceptable


def test_the_chance_that_somebody_likes_a_hard_question_lowers_neither_variant() -> None:
    (found,) = seen(Setting(hard=0.1, raters=20_000, step=1_000), 20, seed=34)
    liked = [np.mean(side.wy[:, -1, 0] / side.w[:, -1, 0]) for side in found.rating]
    assert liked == pytest.approx([0.7, (0.7 - 0.1 * 0.2) / 0.9], abs=0.01)
