"""The arithmetic of charts: scales, round ticks, and values that can be drawn."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.runs.chart_axes import (
    HUGE,
    POINTS,
    curve,
    linear,
    logarithmic,
    logarithmic_ticks,
    path,
    round_axis,
    step_ticks,
    thinned,
)
from data.runs.runs import LossPoint


def test_a_linear_scale_maps_its_ends_and_the_values_between() -> None:
    scale = linear(10, 20, 100, 0)
    assert [scale(v) for v in (10, 12.5, 20)] == [100, 75, 0]
    assert linear(5, 5, 40, 80)(5) == 40


def test_a_logarithmic_scale_puts_factors_at_equal_distances() -> None:
    scale = logarithmic(0.01, 100, 200, 0, least=0.001)
    assert [scale(v) for v in (0.01, 1, 100)] == pytest.approx([200, 100, 0])
    assert scale(0) == scale(0.001) == pytest.approx(250)


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(0.3, 6.0, [0.5, 1, 2, 5]), (0.001, 10.0, [0.001, 0.01, 0.1, 1, 10])],
)
def test_logarithmic_ticks_are_round(low: float, high: float, found: list[float]) -> None:
    assert logarithmic_ticks(low, high) == pytest.approx(found)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.32, 1.9, ["0.0", "0.5", "1.0", "1.5", "2.0"]),
        (11.0, 52.0, ["10", "20", "30", "40", "50", "60"]),
        (1.0, 1.0, ["1.0000000", "1.0000002"]),
    ],
)
def test_a_round_axis_holds_its_values(low: float, high: float, labels: list[str]) -> None:
    axis = round_axis(low, high)
    assert [axis.label(tick) for tick in axis.ticks()] == labels


@given(st.floats(-HUGE, HUGE), st.floats(-HUGE, HUGE))
def test_every_round_axis_holds_its_values_in_a_few_steps(one: float, other: float) -> None:
    axis = round_axis(min(one, other), max(one, other))
    tolerance = abs(axis.step) * 1e-6 + 1e-9
    assert axis.low <= min(one, other) + tolerance
    assert axis.high >= max(one, other) - tolerance
    assert 2 <= len(axis.ticks()) <= 8


def test_curves_leave_out_values_that_cannot_be_drawn() -> None:
    points = [
        LossPoint(n, v, None, None) for n, v in enumerate([2.0, math.nan, math.inf, 2e6, 1.0])
    ]
    assert curve(points, "loss") == [(0, 2.0), (3, 2e6), (4, 1.0)]
    assert curve(points, "loss", HUGE) == [(0, 2.0), (4, 1.0)]
    assert curve(points, "validation_loss") == []


def test_a_long_curve_is_thinned_and_a_path_is_its_positions() -> None:
    long = [(n, 1.0) for n in range(10 * POINTS)]
    assert len(thinned(long)) == POINTS
    assert thinned([(1, 2.0)]) == [(1, 2.0)]
    assert path([(1, 2.0)], linear(0, 2, 0, 10), linear(0, 4, 100, 0)) == [(5, 50)]


def test_steps_are_named_at_both_ends_and_in_the_middle() -> None:
    assert step_ticks([10, 90, 50, 30]) == [10, 50, 90]
    assert step_ticks([7]) == [7]
