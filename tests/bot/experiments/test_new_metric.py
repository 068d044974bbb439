"""A metric that is added to `METRICS` is collected, compared, worded, guarded and shown."""

from typing import Any

import pytest

from data.experiments import assignments, experiments
from data.experiments.metrics import METRICS, Metric
from tests.bot.conftest import Bot
from tests.data import given

STOPPED = Metric(
    unit="share",
    higher_is_better=False,
    label="answers stopped by the reader",
    sql="avg(r.status = 'cancelled')",
    worse="{much} more of its answers are stopped by the reader",
    usual_bound=0.1,
)


@pytest.fixture(autouse=True)
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "stopped", STOPPED)


def compare(bot: Bot, **body: Any) -> tuple[dict[str, Any], dict[str, float]]:
    """The results over HTTP of a comparison in which readers stop a fifth of A's answers and
    four fifths of B's, and its guardrails."""
    client = bot.http("admin")
    begun = client.post("/v1/experiments", json={"a": "1", "b": "2"} | body).json()
    running = bot.write(lambda db: given.same_sides(db, experiments.get(db, begun["id"])))

    def write(db: Any) -> None:
        for n in range(300):
            person = f"slack:T1/U{n}"
            variant = assignments.variant_for(running, person)
            assignments.expose(db, running.id, person, variant.id, running.stage)
            cancelled = (n % 5 == 0) == (variant.label == "A")
            status = "cancelled" if cancelled else "done"
            given.reply(db, bot.domain, person, variant=variant, status=status)

    bot.write(write)
    results = client.get(f"/v1/experiments/{begun['id']}").json()["results"]
    return results, running.terms["guardrails"]


def test_a_new_metric_reaches_every_place(bot: Bot) -> None:
    results, guardrails = compare(bot)

    usual = {"correction": 0.05, "failed": 0.02, "latency": 0.25, "slow": 0.02}
    assert guardrails == usual | {"stopped": 0.1}
    cells = [cell["sums"]["stopped"] for cell in results["evidence"]["stages"][0]["cells"]]
    assert sum(cell["people"] for cell in cells) == 300
    (candidate,) = results["comparisons"]
    found = candidate["differences"]["stopped"]
    assert found["estimate"] == pytest.approx(0.6, abs=0.1)
    assert (candidate["state"], candidate["reason"]) == ("worse", "stopped")
    points = f"{100 * found['estimate']:.1f}".removesuffix(".0")
    assert f"{points} points more of its answers are stopped" in candidate["sentence"]
    assert "the limit is 10 points worse" in candidate["sentence"]
    assert any(line.startswith("B: answers stopped by the reader +") for line in results["details"])


def test_its_guardrail_can_be_set_over_http(bot: Bot) -> None:
    results, guardrails = compare(bot, guardrails={"stopped": 0.9})

    assert guardrails["stopped"] == 0.9
    assert results["comparisons"][0]["reason"] == ""
