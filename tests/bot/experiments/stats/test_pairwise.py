"""Bradley-Terry: the closed form of two, the known answer of three, people as the unit."""

import pytest

from bot.experiments.stats.pairwise import strengths
from data.experiments.metric_sums import Ballot, PreferenceCounts


def ballot(a: str, b: str, a_wins: int, b_wins: int, ties: int = 0, people: int = 1) -> Ballot:
    return Ballot((PreferenceCounts(a, b, a_wins, b_wins, ties),), people)


def test_two_variants_have_a_closed_form() -> None:
    """Wins over votes, with the one imagined tie."""
    (b,) = strengths("AB", [ballot("A", "B", 1, 2, ties=1, people=10)])
    assert b.win_rate == pytest.approx((20 + 5 + 0.5) / (40 + 1))
    assert b.low < b.win_rate < b.high or b.low == b.win_rate == b.high


def test_three_variants_are_judged_through_each_other() -> None:
    """A : B : C = 1 : 2 : 4; A and C have never met."""
    found = strengths(
        "ABC", [ballot("A", "B", 1, 2, people=30_000), ballot("B", "C", 1, 2, people=30_000)]
    )
    assert [s.label for s in found] == ["B", "C"]
    assert [s.win_rate for s in found] == pytest.approx([2 / 3, 4 / 5], abs=1e-4)


def test_which_side_was_left_does_not_matter() -> None:
    one = strengths("AB", [ballot("A", "B", 3, 7, people=5)])
    other = strengths("AB", [ballot("B", "A", 7, 3, people=5)])
    assert one == other


def test_one_who_always_wins_is_not_infinitely_strong() -> None:
    (b,) = strengths("AB", [ballot("A", "B", 0, 1, people=9)])
    assert b.win_rate == pytest.approx(9.5 / 10)


def test_a_person_who_votes_often_makes_nobody_surer() -> None:
    """Forty votes each of six people leave much more open than one each of two hundred."""
    crowd = strengths(
        "AB", [ballot("A", "B", 0, 1, people=100), ballot("A", "B", 1, 0, people=100)]
    )
    eager = strengths("AB", [ballot("A", "B", 0, 40, people=3), ballot("A", "B", 40, 0, people=2)])
    assert eager[0].high - eager[0].low > 4 * (crowd[0].high - crowd[0].low)


def test_the_interval_has_the_width_of_the_binomial() -> None:
    (b,) = strengths("AB", [ballot("A", "B", 0, 1, people=600), ballot("A", "B", 1, 0, people=400)])
    assert b.high - b.low == pytest.approx(2 * 1.96 * (0.6 * 0.4 / 1000) ** 0.5, rel=0.1)


def test_the_same_votes_give_the_same_interval() -> None:
    cast = [ballot("A", "B", 2, 3, 1, people=7), ballot("A", "B", 3, 1, people=4)]
    assert strengths("AB", cast) == strengths("AB", cast)


def test_without_votes_there_is_nothing_to_say() -> None:
    assert strengths("AB", []) == ()
    assert strengths("AB", [Ballot(())]) == ()


def test_four_variants_have_the_strengths_of_the_greatest_likelihood() -> None:
    """Against SciPy's minimiser of the negative log likelihood, with the imagined ties."""
    import numpy as np
    from scipy.optimize import minimize

    labels = ["A", "B", "C", "D"]
    wins = np.array([[0, 30, 10, 2], [50, 0, 25, 9], [40, 12, 0, 30], [8, 1, 20, 0]], float)
    cast = [
        Ballot((PreferenceCounts(labels[i], labels[j], int(wins[i, j]), int(wins[j, i]), 0),))
        for i in range(4)
        for j in range(i)
    ]
    with_ties = wins + (1 - np.eye(4)) / 2

    def loss(logs: list[float]) -> float:
        s = np.exp(np.array([0.0, *logs]))
        return -float((with_ties * np.log(s[:, None] / (s[:, None] + s))).sum())

    best = np.exp(minimize(loss, [0.0] * 3, tol=1e-12).x)
    found = [strength.win_rate for strength in strengths(labels, cast)]
    assert found == pytest.approx(list(best / (best + 1)), abs=1e-5)


def test_all_votes_of_a_person_on_the_same_two_variants_count() -> None:
    votes = (
        PreferenceCounts("A", "B", 1, 0, 0),
        PreferenceCounts("B", "A", 2, 1, 0),
        PreferenceCounts("A", "B", 0, 1, 2),
    )
    (b,) = strengths(["A", "B"], [Ballot(votes, 10)])
    assert b.win_rate == pytest.approx((10 * (2 + 1 + 1) + 0.5) / (10 * (1 + 3 + 3) + 1))


def test_many_peoples_votes_give_the_same_interval_every_time() -> None:
    cast = [ballot("A", "B", 2, 3, 1, people=70), ballot("A", "B", 3, 1, people=40)]
    cast += [ballot("A", "B", n, 7 - n, people=9) for n in range(7)]
    assert strengths("AB", cast) == strengths("AB", cast)
