"""The adjustment by earlier ratings: it is a regression, and it is used when it helps."""

import random

import pytest

from bot.experiments.stats.cuped import adjustment
from tests.bot.experiments.stats.given import cell


def people(count: int, seed: int, strength: float = 0.7) -> tuple[list[float | None], list[float]]:
    """Earlier ratings, every fourth unknown, and later ones that follow them."""
    draw = random.Random(seed)
    x = [draw.random() if n % 4 else None for n in range(count)]
    y = [strength * (0.5 if e is None else e) + 0.3 * draw.random() for e in x]
    return x, y


def test_it_is_the_regression_within_variants() -> None:
    """Against numpy's least squares with a column for each variant and one for x."""
    import numpy as np

    cells, lines, targets = [], [], []
    known = [e for seed in (1, 2) for e in people(200, seed)[0] if e is not None]
    mean = sum(known) / len(known)
    for i, seed in enumerate((1, 2)):
        x, y = people(200, seed)
        y = [value + 0.4 * i for value in y]  # the variants differ: theta must not see it
        made = cell(y, earlier=x)
        cells.append((made.of("rating"), made.earlier))
        lines += [[i == 0, i == 1, 0.0 if e is None else e - mean] for e in x]
        targets += y
    (*_, theta), *_ = np.linalg.lstsq(np.array(lines, float), np.array(targets), rcond=None)
    found = adjustment(cells)
    assert found is not None
    assert (found.theta, found.mean) == pytest.approx((theta, mean))
    residuals = np.array(targets) - np.array(lines, float)[:, 2] * theta
    for i, (sums, earlier) in enumerate(cells):
        adjusted, own = found.adjusted(sums, earlier), residuals[200 * i : 200 * (i + 1)]
        assert (adjusted.wy, adjusted.wwyy) == pytest.approx((own.sum(), (own**2).sum()))
        assert adjusted.wwy == pytest.approx(own.sum())  # everybody weighs 1


def test_the_gain_is_the_variance_that_goes_away() -> None:
    import numpy as np

    x, y = people(400, 3)
    made = cell(y, earlier=x)
    found = adjustment([(made.of("rating"), made.earlier)])
    assert found is not None
    after = found.adjusted(made.of("rating"), made.earlier)
    left = after.wwyy / 400 - (after.wy / 400) ** 2
    assert 1 - left / np.var(y) == pytest.approx(found.gain)
    assert found.gain > 0.5


def test_it_waits_for_people_and_for_a_gain() -> None:
    few_x, few_y = people(120, 4)  # 90 of them known
    none_x, none_y = people(400, 5, strength=0.0)
    for x, y in ((few_x, few_y), (none_x, none_y), ([None] * 400, none_y)):
        made = cell(y, earlier=x)
        assert adjustment([(made.of("rating"), made.earlier)]) is None


def test_earlier_ratings_that_are_all_the_same_help_nobody() -> None:
    made = cell([1.0, 0.0] * 100, earlier=[1.0] * 200)
    assert adjustment([(made.of("rating"), made.earlier)]) is None


def test_a_hundred_people_with_earlier_ratings_are_enough() -> None:
    draw = random.Random(6)
    x: list[float | None] = [draw.random() for _ in range(100)]
    y = [0.5 * (e or 0.0) for e in x]
    enough, few = cell(y, earlier=x), cell(y, earlier=[None, *x[1:]])
    assert adjustment([(enough.of("rating"), enough.earlier)]) is not None
    assert adjustment([(few.of("rating"), few.earlier)]) is None


def test_the_gain_is_that_of_all_variants_together() -> None:
    cells, before, after = [], 0.0, 0.0
    for seed, strength in ((7, 0.9), (8, 0.2)):
        x, y = people(300, seed, strength)
        made = cell(y, earlier=x)
        cells.append((made.of("rating"), made.earlier))
    found = adjustment(cells)
    assert found is not None
    for sums, earlier in cells:
        adjusted = found.adjusted(sums, earlier)
        before += sums.wwyy - sums.wy**2 / 300
        after += adjusted.wwyy - adjusted.wy**2 / 300
    assert found.gain == pytest.approx(1 - after / before)


def test_ratings_that_hardly_differ_are_adjusted_too() -> None:
    """Nobody's rating is more than 0.02 from another's, and yet all of it is explained."""
    draw = random.Random(9)
    x: list[float | None] = [0.5 + 0.02 * draw.random() for _ in range(200)]
    made = cell([e or 0.0 for e in x], earlier=x)
    found = adjustment([(made.of("rating"), made.earlier)])
    assert found is not None
    assert found.theta == pytest.approx(1.0)
    assert found.gain == pytest.approx(1.0)
    assert found.gain <= 1.0
