"""The table of metrics: entries are complete; differences and bounds are shown in their unit."""

from math import log

import pytest

from data.experiments.metrics import (
    CHECKS,
    METRICS,
    RATING,
    check_guardrail,
    default_bounds,
    guardable,
    measured,
)
from data.store.errors import Invalid


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_of_the_ratings_is_no_guardrail(name: str) -> None:
    assert name.isidentifier()
    assert name not in METRICS
    with pytest.raises(Invalid):
        check_guardrail(name)


@pytest.mark.parametrize("name", METRICS)
def test_an_entry_is_complete(name: str) -> None:
    metric = METRICS[name]
    assert name.isidentifier(), "it names columns in SQL"
    assert (name == RATING) == (metric.sql is None) == (not metric.guardrail)
    assert not metric.guardrail or "{much}" in metric.worse
    assert metric.usual_bound is None or metric.guardrail


def test_all_metrics_except_the_rating_can_be_guardrails() -> None:
    assert guardable() == [name for name in METRICS if name != RATING]
    assert list(measured()) == [*guardable(), "rated", "thumbs_up", "thumbs_down"]
    assert default_bounds() == {"correction": 0.05, "failed": 0.02, "latency": 0.25, "slow": 0.02}
    assert check_guardrail("latency") == "latency"
    with pytest.raises(Invalid, match="'rating' is not a guardrail"):
        check_guardrail(RATING)


def test_shares_are_shown_in_points() -> None:
    failed = METRICS["failed"]
    assert (failed.change(-0.0349), failed.much(-0.0349)) == ("-3.5", "3.5 points")
    assert failed.change(7.0) == "+100.0"
    assert (failed.threshold(0.02), failed.allowed(0.02)) == (0.02, "2 points")


def test_ratios_are_shown_in_per_cent() -> None:
    latency = METRICS["latency"]
    assert (latency.change(log(1.2)), latency.much(log(0.8))) == ("+20%", "20%")
    assert latency.threshold(0.25) == pytest.approx(log(1.25))
    assert latency.allowed(0.25) == "25%"
