"""The tests for anomalies, against SciPy and by hand: where their limits are, and what they say."""

import pytest
from scipy import stats

from data.feedback import rater_anomalies
from data.feedback.rater_anomalies import (
    Peers,
    Tally,
    correlation,
    detect_anomaly,
    level_at,
    mean,
    position_bias,
    smallest_correlation,
)


def by_analysis_of_variance(tallies: list[Tally]) -> float:
    """The intraclass correlation from SciPy's F statistic (Donner 1986)."""
    groups = [[1.0] * t.up + [0.0] * t.down for t in tallies]
    f = float(stats.f_oneway(*groups).statistic)
    total, sizes = sum(map(len, groups)), [len(group) for group in groups]
    usual = (total - sum(size**2 for size in sizes) / total) / (len(groups) - 1)
    return (f - 1) / (f + usual - 1)


def test_the_correlation_is_that_of_an_analysis_of_variance() -> None:
    uneven = [Tally(u, d) for u, d in ((9, 1), (2, 6), (5, 5), (1, 3), (12, 2), (0, 4))] * 2
    few = [Tally(u, 3 - u) for u in (3, 0, 2, 3, 0, 1, 3, 3, 0, 2)]
    for tallies in (uneven, few):
        assert correlation(tallies) == pytest.approx(by_analysis_of_variance(tallies))


def test_with_too_few_raters_or_ratings_the_correlation_is_assumed() -> None:
    apart = [Tally(3, 0), Tally(0, 3)] * 5  # ten raters, and twenty ratings beyond the first
    assert correlation(apart) == 0.95
    assert correlation(apart[:9]) == 0.4
    assert correlation([Tally(2, 0), *apart[1:]]) == 0.4


def test_people_are_never_taken_for_all_the_same_nor_for_all_different() -> None:
    assert correlation([Tally(5, 5)] * 20) == 0.05
    assert correlation([Tally(9, 0), Tally(0, 9)] * 20) == 0.95
    assert correlation([Tally(9, 0)] * 20) == 0.4  # nobody differs: there is nothing to estimate


@pytest.mark.parametrize(
    ("ratings", "level"),
    [(10, 0.004 / 64), (20, 0.004 / 32), (40, 0.001), (60, 0.002), (120, 0.004 / 16)]
    + [(240, 0.004 / 32), (480, 0.004 / 64)]
    + [(n, None) for n in (0, 5, 9, 11, 30, 50, 61, 80, 90, 180, 300)],
)
def test_most_of_the_level_goes_to_40_and_60_ratings(ratings: int, level: float | None) -> None:
    assert level_at(ratings) == (None if level is None else pytest.approx(level))


def test_all_tests_of_a_person_together_have_the_level() -> None:
    levels = [level_at(n) for n in (10, 20, 40, 60, *(60 * 2**k for k in range(1, 40)))]
    assert sum(level for level in levels if level) == pytest.approx(0.004 * 59 / 64)


@pytest.mark.parametrize(
    ("own", "rate", "button"),
    [(Tally(60, 0), 0.3, "👍"), (Tally(0, 60), 0.7, "👎")],
)
def test_sixty_times_the_button_that_others_seldom_press_is_an_anomaly(
    own: Tally, rate: float, button: str
) -> None:
    level = level_at(60)
    assert level is not None
    found = detect_anomaly(own, Peers(20, rate, 0.2), level)
    assert found is not None
    assert found[0] == "same_button"
    assert f"pressed {button} 60 times out of 60" in found[1]
    assert "20 others like" in found[1]
    # where most others press it, too, honest people press nothing else
    assert detect_anomaly(own, Peers(20, 1 - rate, 0.2), level) is None


def test_people_differ_as_little_as_those_do_who_rated_other_answers() -> None:
    alike, apart = [Tally(5, 5)] * 20, [Tally(9, 0), Tally(0, 9)] * 20
    assert smallest_correlation(apart, alike) == smallest_correlation(alike, apart) == 0.05
    assert smallest_correlation(apart, alike[:9]) == 0.95  # nine people are not enough
    assert smallest_correlation(apart[:9], []) == 0.4


def test_an_outlier_is_less_likely_than_half_the_level() -> None:
    peers, n = Peers(15, 0.7, 0.3), 40
    size = 1 / 0.3 - 1
    exact = stats.betabinom(n, 0.7 * size, 0.3 * size)
    for k in (1, 2, 3):
        chance = float(exact.cdf(k))
        assert detect_anomaly(Tally(k, n - k), peers, 1.9 * chance) is None
        found = detect_anomaly(Tally(k, n - k), peers, 2.1 * chance)
        assert found is not None
        assert found[0] == "outlier"
        assert f"likes {k / n:.0%} of 40 answers" in found[1]
        assert f"1 in {1 / chance:,.0f} raters" in found[1]


def test_what_is_practically_impossible_is_said_so() -> None:
    found = detect_anomaly(Tally(160, 0), Peers(20, 0.3, 0.1), 0.001)
    assert found is not None
    assert "(practically impossible by chance)" in found[1]


@pytest.mark.parametrize(
    ("own", "side"),
    [
        (Tally(20, 0), "first"),
        (Tally(0, 20), "second"),
        (Tally(40, 0), "first"),
        (Tally(10, 0), None),
        (Tally(30, 0), None),  # no test is due
        (Tally(19, 1), None),
        (Tally(1, 39), None),
    ],
)
def test_twenty_times_the_same_position_is_a_bias(own: Tally, side: str | None) -> None:
    found = position_bias(own)
    assert (found is None) is (side is None)
    if side is not None:
        assert found == f"chose the {side} of two answers {own.total} times out of {own.total}"


def test_a_mean_rate_gives_every_rater_one_voice_and_is_never_certain() -> None:
    assert mean([Tally(90, 10), Tally(0, 1)]) == pytest.approx((0.9 + 0 + 0.5) / 3)
    assert 0 < mean([Tally(0, 9)]) < mean([Tally(9, 0)]) < 1


def test_ten_other_raters_are_enough_to_compare_with() -> None:
    assert rater_anomalies.OTHERS == 10
