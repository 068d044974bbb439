"""How many raters are missing: the interval closes there, and not before."""

import pytest

from bot.experiments.stats.confidence_sequence import SPENT, boundary
from bot.experiments.stats.remaining import about, needed
from bot.experiments.stats.results import Difference


def at(estimate: float, time: float = 400.0) -> Difference:
    """After `time` raters in equal parts, where a person varies by a half."""
    people = (int(time / 2), int(time / 2))
    return Difference(estimate, estimate - 1, estimate + 1, 0.5 * 2 / time**0.5, time, people)


def half(found: Difference, more: int) -> float:
    """Half the width of the interval when so many more have rated."""
    time = found.time + more
    error = found.error * (found.time / time) ** 0.5
    return error * float(boundary(time, SPENT * 0.05, 1000))


@pytest.mark.parametrize("estimate", [0.05, -0.05, 0.02, 0.0, 0.1])
def test_with_so_many_more_raters_there_is_a_decision(estimate: float) -> None:
    """Either zero is outside of the interval, or all of it is within the minimum effect, 0.04."""
    found = at(estimate)
    more = needed(found, 0.05, 1000, 0.04)
    target = max(abs(estimate), 0.04 - abs(estimate))
    assert half(found, more) <= target
    assert half(found, int(more * 0.99)) > target


def test_at_least_one_rater_is_missing() -> None:
    assert needed(at(0.9), 0.05, 1000, 0.04) == 1


@pytest.mark.parametrize(
    ("people", "words"),
    [
        (1, "1"),
        (7, "7"),
        (42, "42"),
        (100, "100"),
        (101, "110"),
        (1_234, "1,300"),
        (98_001, "99,000"),
    ],
)
def test_a_number_is_rounded_up_to_two_digits(people: int, words: str) -> None:
    assert about(people) == words


def test_a_difference_is_not_adjusted_unless_it_says_so() -> None:
    assert at(0.1).adjusted == 0.0
