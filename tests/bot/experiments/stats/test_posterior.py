"""The posterior: exact, for any number of sides, and the same under a ramp as the interval."""

from math import exp, lgamma

import pytest

from bot.experiments.stats.differences import sequence_side
from bot.experiments.stats.posterior import (
    Likes,
    probabilities_best,
    probability_better,
    standardised,
)
from tests.bot.experiments.stats.given import sums, votes


def exact(a_up: int, a_down: int, b_up: int, b_down: int) -> float:
    """P(B > A) for whole numbers, in closed form (Miller 2015, "Formulas for Bayesian A/B")."""

    def log_beta(x: float, y: float) -> float:
        return lgamma(x) + lgamma(y) - lgamma(x + y)

    a, b, c, d = a_up + 1, a_down + 1, b_up + 1, b_down + 1
    return sum(
        exp(log_beta(a + i, b + d) - log_beta(1 + i, d) - log_beta(a, b)) / (d + i)
        for i in range(c)
    )


def test_the_closed_form_itself() -> None:
    """One up each against nothing: P(B > A) for Beta(2, 1) and Beta(1, 1) is 1/3."""
    assert exact(1, 0, 0, 0) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("a", "b"), [((0, 1), (1, 0)), ((3, 2), (4, 1)), ((40, 60), (60, 40)), ((700, 300), (690, 310))]
)
def test_it_equals_the_closed_form(a: tuple[int, int], b: tuple[int, int]) -> None:
    found = probability_better(Likes(sum(a), a[0]), Likes(sum(b), b[0]))
    assert found == pytest.approx(exact(*a, *b), abs=1e-6)


def test_equal_variants_have_equal_probabilities() -> None:
    assert probability_better(Likes(3, 1.5), Likes(3, 1.5)) == pytest.approx(0.5)
    assert probabilities_best([Likes(9, 4)] * 3) == pytest.approx([1 / 3] * 3)


def test_the_chances_add_up_and_follow_the_means() -> None:
    chances = probabilities_best([Likes(50, 30), Likes(50, 35), Likes(50, 20)])
    assert sum(chances) == pytest.approx(1)
    assert chances[1] > chances[0] > chances[2]


def test_one_stage_is_unchanged() -> None:
    a, b = (
        standardised([sequence_side([sums(votes(3, 1))]), sequence_side([sums(votes(1, 1))])]) or []
    )
    assert (a.people, a.total, b.people, b.total) == pytest.approx((4, 3, 2, 1))


def test_a_ramp_under_drifting_ratings_favours_nobody() -> None:
    """Everybody liked it at 5%, half at 50%: added up, the control would look better."""
    a = sequence_side([sums(votes(95, 0)), sums(votes(50, 50))])
    b = sequence_side([sums(votes(5, 0)), sums(votes(50, 50))])
    likes = standardised([a, b])
    assert likes is not None
    assert likes[0].total / likes[0].people == pytest.approx(likes[1].total / likes[1].people)


def test_without_ratings_of_a_variant_there_is_no_posterior() -> None:
    assert standardised([sequence_side([sums([1.0])]), sequence_side([sums([])])]) is None


def test_stages_weigh_as_their_rarer_variant_allows() -> None:
    """By hand: a stage weighs 1 / (1/n_a + 1/n_b), the stage without a rater of b nothing."""
    ups, people = [(3, 1), (4, 2), (5, 1), (1, 0)], [(4, 2), (10, 3), (6, 1), (2, 0)]
    sides = [
        sequence_side([sums(votes(u[i], n[i] - u[i])) for u, n in zip(ups, people, strict=True)])
        for i in (0, 1)
    ]
    weights = [1 / (1 / a + 1 / b) for a, b in people[:3]]
    shares = [weight / sum(weights) for weight in weights]
    found = standardised(sides)
    assert found is not None
    for i, likes in enumerate(found):
        stages = [
            (share, u[i], n[i]) for share, u, n in zip(shares, ups[:3], people[:3], strict=True)
        ]
        mean = sum(share * up / n for share, up, n in stages)
        count = 1 / sum(share**2 / n for share, _, n in stages)
        assert (likes.people, likes.total) == pytest.approx((count, count * mean))


def test_a_mean_that_was_adjusted_beyond_0_or_1_counts_as_that() -> None:
    found = standardised([sequence_side([sums([1.25] * 4)]), sequence_side([sums([-0.25] * 4)])])
    assert found == [Likes(4.0, 4.0), Likes(4.0, 0.0)]
