"""The results of a comparison."""

from math import exp, lgamma

import pytest

from bot import stats
from data.experiments import Variant, VariantCounts


def collected(label: str, *ratings: float, people: int = 9) -> VariantCounts:
    variant = Variant(1, label, 1, f"helpdesk@{'AB'.index(label) + 1}", 0.5, None, {})
    return VariantCounts(variant, people, 12, 1, 5, 3, ratings)


def exact(a_up: int, a_down: int, b_up: int, b_down: int) -> float:
    """P(B > A) for whole numbers, in closed form (Miller 2015, "Formulas for Bayesian A/B")."""

    def log_beta(x: float, y: float) -> float:
        return lgamma(x) + lgamma(y) - lgamma(x + y)

    a, b, c, d = a_up + 1, a_down + 1, b_up + 1, b_down + 1
    return sum(
        exp(log_beta(a + i, b + d) - log_beta(1 + i, d) - log_beta(a, b)) / (d + i)
        for i in range(c)
    )


@pytest.mark.parametrize(
    ("a", "b"), [((0, 1), (1, 0)), ((3, 2), (4, 1)), ((40, 60), (60, 40)), ((700, 300), (690, 310))]
)
def test_the_posterior_is_the_closed_form(a: tuple[int, int], b: tuple[int, int]) -> None:
    ratings_a = [1.0] * a[0] + [0.0] * a[1]
    ratings_b = [1.0] * b[0] + [0.0] * b[1]

    assert stats.probability_better(ratings_a, ratings_b) == pytest.approx(exact(*a, *b), abs=1e-6)


def test_equal_sides_are_a_toss_up() -> None:
    assert stats.probability_better([1, 0, 0.5], [0.5, 1, 0]) == pytest.approx(0.5)


def test_both_sides_of_a_coin_add_up() -> None:
    a, b = [1, 0.25, 0], [1, 1, 0.5, 0.75]

    there, back = stats.probability_better(a, b), stats.probability_better(b, a)

    assert there + back == pytest.approx(1)
    assert there > 0.5


def test_someone_who_rates_often_counts_once() -> None:
    """Two people rated A, one of them down forty times: the mean is over people."""
    results = stats.summary([collected("A", 0.0, 1.0), collected("B", 1.0)])

    assert results.variants[0].raters == 2
    assert results.variants[0].mean == 0.5


def test_results_in_words() -> None:
    results = stats.summary([collected("A", 1.0, 0.0, 1.0), collected("B", 1.0, 1.0)])

    assert results.sentence == (
        "Collecting: 3 people rated A (helpdesk@1, 67% liked) and 2 people rated B (helpdesk@2, "
        "100% liked). Chance that B is better: 71% (for showing, not for deciding)."
    )


def test_without_ratings_on_a_side_nothing_is_claimed() -> None:
    results = stats.summary([collected("A", 1.0), collected("B")])

    assert results.b_better is None
    assert results.sentence == (
        "Collecting: 1 person rated A (helpdesk@1, 100% liked) and 0 people rated B (helpdesk@2); "
        "both sides need ratings."
    )


def test_the_closed_form_itself() -> None:
    """One up each against nothing: P(B > A) for Beta(2, 1) and Beta(1, 1) is 1/3."""
    assert exact(1, 0, 0, 0) == pytest.approx(1 / 3)
