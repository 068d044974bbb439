"""The interval that decides: the formula, and what stages do to it."""

import warnings
from dataclasses import fields
from math import log, sqrt

import numpy as np
import pytest

from bot.experiments.stats.confidence_sequence import (
    Interval,
    SequenceSide,
    boundary,
    difference,
    rho_squared,
    variance,
)
from bot.experiments.stats.differences import sequence_side
from tests.bot.experiments.stats.given import sums, votes


def eq_9(sigma: float, t: float, rho: float, alpha: float) -> float:
    """Half the width, as it is printed."""
    x = t * rho**2 + 1
    return sigma * sqrt(2 * x / (t**2 * rho**2) * log(sqrt(x) / alpha))


def interval(a: list[list[float]], b: list[list[float]]) -> Interval:
    """Stages of ratings."""
    sides = [sequence_side([sums(stage) for stage in stages]) for stages in (a, b)]
    return difference(*sides, 0.05, 1000)


@pytest.mark.parametrize("time", [0.5, 40.0, 1000.0, 50_000.0])
def test_the_boundary_is_that_of_the_paper(time: float) -> None:
    rho = sqrt(rho_squared(0.05, 1000))
    error = 0.9 / sqrt(time)
    assert error * boundary(time, 0.05, 1000) == pytest.approx(eq_9(0.9, time, rho, 0.05))


def test_the_interval_is_narrowest_where_it_is_tuned_for() -> None:
    here = boundary(1000, 0.05, 1000)
    assert all(here < boundary(1000, 0.05, other) for other in (500, 900, 1100, 2000))


def test_one_stage_is_the_difference_of_two_means() -> None:
    found = interval([votes(60, 40)], [votes(70, 30)])
    a, b = (sequence_side([sums(v)]) for v in (votes(60, 40), votes(70, 30)))
    assert found.estimate == pytest.approx(0.1)
    assert found.error == pytest.approx(sqrt((variance(a, True) + variance(b, True)) / 100))
    assert found.high - found.estimate == pytest.approx(found.estimate - found.low)


def test_with_equal_shares_and_variances_time_is_the_number_of_people() -> None:
    assert interval([votes(60, 40)], [votes(60, 40)]).time == pytest.approx(200)
    assert interval([votes(60, 40)], [votes(6, 4)]).time == pytest.approx(4 * 1000 / 110, rel=0.05)


def test_a_drift_between_the_stages_of_a_ramp_is_no_difference() -> None:
    """All ratings fall while the candidate's share grows: added up it would look worse."""
    found = interval([votes(900, 50), votes(50, 50)], [votes(47, 3), votes(50, 50)])
    assert abs(found.estimate) < 0.01
    assert found.low < 0 < found.high


def test_a_small_stage_before_costs_no_precision() -> None:
    """Even though the few people at 5% tell little, the interval is no wider with them."""
    after = interval([votes(350, 150)], [votes(350, 150)])
    ramped = interval([votes(350, 150), votes(665, 285)], [votes(350, 150), votes(35, 15)])
    assert ramped.error < after.error


def test_a_stage_with_only_one_variant_adds_no_information() -> None:
    alone = interval([votes(60, 40)], [votes(70, 30)])
    more = interval([votes(60, 40), votes(30, 20)], [votes(70, 30), []])
    assert (more.estimate, float(more.time)) == (
        alone.estimate,
        pytest.approx(alone.time, rel=0.02),
    )


def test_a_stage_with_only_candidates_adds_no_information_and_no_warning() -> None:
    alone = interval([votes(60, 40)], [votes(70, 30)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        more = interval([votes(60, 40), []], [votes(70, 30), votes(30, 20)])
    assert more.estimate == alone.estimate


def test_a_single_person_on_each_variant_is_a_stage() -> None:
    """By hand: the first stage weighs 50, the second 1/2; the differences are 0.1 and -1."""
    found = interval([votes(60, 40), votes(1, 0)], [votes(70, 30), votes(0, 1)])
    assert found.estimate == pytest.approx((50 * 0.1 - 0.5) / 50.5)


@pytest.mark.parametrize("ratings", [votes(7, 3), votes(2, 0), votes(0, 5), [0.2, 0.5, 0.9]])
def test_the_variance_has_one_person_more_at_0_and_at_1(ratings: list[float]) -> None:
    found = variance(sequence_side([sums(ratings)]), bounded=True)
    assert found == pytest.approx(np.var([*ratings, 0.0, 1.0], ddof=1))


def test_without_bounds_two_people_more_are_a_unit_from_the_mean() -> None:
    ratings = [3.0, 5.0, 10.0, 30.0]
    found = variance(sequence_side([sums(ratings)]), bounded=False)
    assert found == pytest.approx(np.var([*ratings, 11.0, 13.0], ddof=1))


def test_equal_ratings_of_a_few_people_are_not_certainty() -> None:
    found = interval([votes(0, 3)], [votes(3, 0)])
    assert found.low < 0


def test_vectorised_results_equal_single_ones() -> None:
    a, b = (sequence_side([sums(v)]) for v in (votes(60, 40), votes(70, 30)))
    many = [
        SequenceSide(
            *(np.stack([getattr(s, f.name), getattr(s, f.name) / 2]) for f in fields(SequenceSide))
        )
        for s in (a, b)
    ]
    found = difference(*many, 0.05, 1000, of_votes=2.0)
    one = difference(a, b, 0.05, 1000, of_votes=2.0)
    assert (found.low[0], found.high[0]) == (one.low, one.high)
    assert found.high[1] - found.low[1] > one.high - one.low


def test_vectorised_results_add_up_their_own_stages() -> None:
    stages = [(votes(60, 40), votes(70, 30)), (votes(5, 25), votes(12, 18))]
    a, b = (sequence_side([sums(stage[n]) for stage in stages]) for n in (0, 1))
    one = difference(a, b, 0.05, 1000)
    many = [
        SequenceSide(
            *(np.stack([getattr(s, f.name), getattr(s, f.name) * 3]) for f in fields(SequenceSide))
        )
        for s in (a, b)
    ]
    found = difference(*many, 0.05, 1000)
    for name in ("estimate", "low", "high", "error", "time"):
        assert getattr(found, name)[0] == getattr(one, name)


def test_one_person_never_counts_as_more_than_their_weight() -> None:
    """A hundred people whose means are all alike, with the weight of five: as five hundred."""
    alike = SequenceSide(*(np.array([x]) for x in (100, 500, 350, 2_500, 1_750, 1_225)))
    once = sequence_side([sums(votes(350, 150))])
    found, other = (difference(s, s, 0.05, 1000, of_votes=1.0) for s in (alike, once))
    assert found.error == pytest.approx(other.error, rel=0.05)
    assert difference(alike, alike, 0.05, 1000).error < 0.5 * other.error


def test_a_few_people_who_all_agree_get_the_common_variance() -> None:
    a, b = sequence_side([sums(votes(768, 32))]), sequence_side([sums(votes(70, 0))])
    liked = 838 / 870
    expected = sqrt(liked * (1 - liked) * (1 / 800 + 1 / 70))
    assert difference(a, b, 0.05, 1000, of_votes=1.0).error == pytest.approx(expected)
    assert difference(a, b, 0.05, 1000).error < 0.75 * expected


def test_the_error_is_empirical_whatever_the_weights_assume() -> None:
    """Ten people who always vote alike, a hundred times: their weights claim more than there is."""
    draw = np.random.default_rng(1)
    y = draw.integers(0, 2, (2_000, 2, 50)).astype(float)  # comparisons, sides, people
    w = np.where(np.arange(50) % 2, 1.0, 5.0)
    estimates, errors = [], []
    for two in y:
        sides = [
            SequenceSide(
                *(
                    np.array([s])
                    for s in (
                        50,
                        w.sum(),
                        (w * v).sum(),
                        (w * w).sum(),
                        (w * w * v).sum(),
                        (w * w * v * v).sum(),
                    )
                )
            )
            for v in two
        ]
        found = difference(*sides, 0.05, 1000)
        estimates.append(found.estimate)
        errors.append(found.error)
    assert np.mean(errors) == pytest.approx(np.std(estimates), rel=0.05)


# Two tunings


def log_e(z: float, t: float, alpha: float, tuned_for: float) -> float:
    """The logarithm of Robbins' mixture, as it is printed."""
    x = t * rho_squared(alpha, tuned_for)
    return z * z / 2 * x / (1 + x) - log(1 + x) / 2


@pytest.mark.parametrize("time", [1e-6, 0.5, 40.0, 100.0, 1_000.0, 1e5, 1e8])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_with_two_tunings_the_average_e_value_is_one_in_alpha_at_the_boundary(
    time: float, alpha: float
) -> None:
    z = float(boundary(time, alpha, (100, 1_750)))
    average = np.mean([np.exp(log_e(z, time, alpha, people)) for people in (100, 1_750)])
    assert average == pytest.approx(1 / alpha, rel=1e-9)


def test_two_equal_tunings_are_one() -> None:
    times = np.array([1.0, 50.0, 4_000.0])
    assert boundary(times, 0.05, (300, 300)) == pytest.approx(boundary(times, 0.05, 300))


def test_two_tunings_are_nearly_as_narrow_as_each_where_it_is_narrowest() -> None:
    for people in (100, 1_750):
        both, best = (boundary(people, 0.05, tuned) for tuned in ((100, 1_750), people))
        assert best < both < 1.08 * best
    assert boundary(60, 0.05, (100, 1_750)) < 0.85 * boundary(60, 0.05, 1_000)


def test_tunings_may_differ_between_looks() -> None:
    """As those of the thumbs among all answers do."""
    times = np.array([[50.0, 90.0]])
    tunings = (np.array([[100.0, 200.0]]), np.array([[1_000.0, 2_000.0]]))
    found = boundary(times, 0.05, tunings)
    assert found[0, 1] == pytest.approx(float(boundary(90, 0.05, (200, 2_000))))


def test_of_two_tunings_more_than_alpha_is_spent_and_of_one_less() -> None:
    a, b = (sequence_side([sums(v)]) for v in (votes(60, 40), votes(70, 30)))
    one, two = (difference(a, b, 0.05, tuned) for tuned in (1_000, (100, 1_750)))
    assert one.high - one.estimate == pytest.approx(one.error * boundary(one.time, 0.045, 1_000))
    half = two.error * boundary(two.time, 0.06, (100, 1_750))
    assert two.high - two.estimate == pytest.approx(half)
