"""Thompson sampling: shares follow the chances, above a floor."""

import pytest

from bot.experiments.stats.adaptive import next_shares
from data.store.errors import Invalid
from tests.bot.experiments.stats.given import cell, evidence, votes


def test_the_better_variant_gets_more_and_nobody_less_than_the_floor() -> None:
    found = evidence([cell(votes(60, 40)), cell(votes(95, 5)), cell(votes(5, 95))])
    a, b, c = next_shares(found, floor=0.1)
    assert sum((a, b, c)) == pytest.approx(1)
    assert b == pytest.approx(0.8)
    assert (a, c) == pytest.approx((0.1, 0.1))


def test_equal_variants_share_equally() -> None:
    assert next_shares(evidence([cell(votes(6, 4)), cell(votes(6, 4))])) == pytest.approx(
        (0.5, 0.5)
    )


def test_without_ratings_on_a_side_nothing_is_preferred() -> None:
    assert next_shares(evidence([cell(votes(6, 4)), cell()])) == (0.5, 0.5)


@pytest.mark.parametrize("floor", [0.0, 0.5, 0.7, -0.1])
def test_a_floor_that_cannot_be_kept_is_refused(floor: float) -> None:
    with pytest.raises(Invalid, match=r"between 0 and 0\.5 with 2 variants"):
        next_shares(evidence([cell(), cell()]), floor)
