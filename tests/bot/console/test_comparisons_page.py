"""The pages about comparisons: what they say, and what their forms change."""

import html
from typing import Any

import pytest
from sqlite_utils import Database

from bot.experiments import breakdowns, decider, forecast, stats
from data.adapters import registry
from data.experiments import decisions, expected_people, experiments, policies, testers
from data.experiments.expected_people import RecentRater, recent_raters
from data.experiments.experiments import Experiment
from data.experiments.metrics import signed
from data.feedback import raters
from data.store.clock import DAY_US
from data.store.db import rows
from tests.bot.api.test_comparisons_api import rate, start
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client

LIST = "/console/domains/helpdesk/comparisons"


def one(experiment: Experiment) -> str:
    return f"/console/comparisons/{experiment.id}"


def decided(bot: Bot, experiment: Experiment) -> None:
    def write(db: Database) -> None:
        found = decider.evaluate_experiment(db, experiments.get(db, experiment.id))
        assert found is None or decider.apply_verdict(db, found) is not None

    bot.write(write)


def test_the_old_address_leads_to_the_page(bot: Bot) -> None:
    browser = client(bot, "reviewer")

    assert browser.get("/comparisons").url.path == LIST
    assert browser.get("/comparisons/").url.path == LIST
    assert bot.http().get("/comparisons").status_code == 401


def test_a_comparison_is_started_and_stopped(bot: Bot) -> None:
    browser = client(bot)
    page = browser.get(LIST)
    assert "so many must rate" in page.text
    assert "never: nobody rates" in page.text

    form = {"a": "1", "b": "2", "percent": "20", "people": "verified", "pairwise": "true"}
    begun = browser.post(LIST, data=form)

    experiment = experiments.get(bot.store.db, 1)
    assert begun.url.path == one(experiment)
    assert [v.share for v in experiment.variants] == pytest.approx([0.8, 0.2])
    assert experiment.pairwise == 0.1
    assert experiment.started_by == "user:admin"
    assert "Start the comparison" not in browser.get(LIST).text
    again = browser.post(LIST, data=form)
    assert again.status_code == 409
    assert "already comparing" in again.text

    ramped = browser.post(f"{one(experiment)}/ramp", data={"percent": "50"})
    assert "Stage 2" in ramped.text
    smaller = browser.post(f"{one(experiment)}/ramp", data={"percent": "5"})
    assert "can only grow" in smaller.text
    tester = {"person": "user:admin", "variant": "B"}
    assert "admin gets B" in browser.post(f"{one(experiment)}/testers", data=tester).text
    assert testers.list_testers(bot.store.db, experiment) == {"user:admin": "B"}

    stopped = browser.post(f"{one(experiment)}/stop")
    assert "The comparison has ended." in stopped.text
    assert "ended before a decision was made" in stopped.text
    assert browser.post(f"{one(experiment)}/stop").status_code == 409
    actions = [r["action"] for r in rows(bot.store.db, "SELECT action FROM audit ORDER BY id")]
    assert actions[-4:] == ["ab start", "ab ramp", "ab tester", "ab stop"]


def test_it_shows_the_results_and_what_to_do(bot: Bot) -> None:
    experiment = start(bot)
    rate(bot, experiment)
    decided(bot, experiment)
    bot.write(
        lambda db: raters.quarantine(db, bot.domain, "slack:T1/U1", "pressed at random", "cli:ann")
    )
    browser = client(bot)
    text = html.unescape(browser.get(one(experiment)).text)

    results = stats.compute_results(bot.store.db, experiment)
    rating = results.comparisons[0].differences["rating"]
    assert results.sentence in text
    assert f"interval {signed(rating.low)} to {signed(rating.high)}." in text
    assert f'aria-label="interval {signed(rating.low)} to {signed(rating.high)} points"' in text
    for line in results.details:
        assert line in text
    assert "1 rating by quarantined raters, from one person" in text
    assert "slack:T1/U1, quarantined: pressed at random" in text
    assert "Everybody gets helpdesk@2 from the next answer on, and the comparison ends." in text
    assert "It is worse." in text
    assert "These are 2 looks at once" in text
    for part in ("Slack", "new"):
        assert f'<th scope="row">{part}</th>' in text

    made = decisions.list_decisions(bot.store.db, experiment.id)[0]
    again = browser.get(f"{one(experiment)}/decisions/{made.id}").text
    assert "the result is the same in every number" in again
    counted = browser.post(
        f"{one(experiment)}/raters", data={"person": "slack:T1/U1", "decision": "release"}
    )
    assert "count again" in counted.text
    unsaid = {"person": "slack:T1/U2", "decision": "quarantine", "why": " "}
    assert browser.post(f"{one(experiment)}/raters", data=unsaid).status_code == 400


def test_the_results_by_day_end_with_those_that_decide(bot: Bot) -> None:
    experiment = start(bot)
    rate(bot, experiment, 60)

    def spread(db: Database) -> None:
        """Ratings of four days, and one person who changes their mind about another answer."""
        db.execute("UPDATE experiments SET started_at = started_at - ?", [4 * DAY_US])
        db.execute("UPDATE assignments SET at = at - ?", [4 * DAY_US])
        db.execute("UPDATE feedback SET created_at = created_at - (id % 4) * ?", [DAY_US])

    bot.write(spread)
    experiment = experiments.get(bot.store.db, experiment.id)

    days = breakdowns.over_time(bot.store.db, experiment)
    parts = breakdowns.by_segment(bot.store.db, experiment)

    results = stats.compute_results(bot.store.db, experiment)
    decides = results.comparisons[0].differences["rating"]
    last = days[-1].ratings.differences[0]
    assert len(days) == 4
    assert last is not None
    assert (last.estimate, last.low, last.high) == pytest.approx(
        (decides.estimate, decides.low, decides.high)
    )
    assert [side.raters for side in days[-1].ratings.sides] == [v.raters for v in results.variants]
    raters_by_day = [sum(s.raters for s in d.ratings.sides) for d in days]
    assert raters_by_day == sorted(raters_by_day)
    slack = next(p for p in parts if p.name == "Slack").ratings.differences[0]
    assert slack is not None
    assert slack.estimate == pytest.approx(decides.estimate)
    assert slack.high - slack.low > decides.high - decides.low  # it is one look of several
    page = client(bot, "reviewer").get(one(experiment)).text
    assert "Difference of B to A in the mean rating, by day" in page
    assert "The numbers by day" in page


def test_a_candidate_is_promoted_or_rolled_back(bot: Bot) -> None:
    browser, first = client(bot), start(bot)
    refused = browser.post(f"{one(first)}/promote", data={"variant": "A"})
    assert refused.status_code == 400

    said = browser.post(f"{one(first)}/promote", data={"variant": "B"}).text

    assert "helpdesk@2 is live, from the next answer on." in said
    live = registry.live(bot.store.db, bot.domain.id)
    assert live is not None
    assert live.version == 2
    second = start(bot)
    ended = browser.post(f"{one(second)}/roll-back").text
    assert "Everybody gets helpdesk@1" in ended
    live = registry.live(bot.store.db, bot.domain.id)
    assert live is not None
    assert live.version == 1


def test_the_policy_is_set(bot: Bot) -> None:
    client(bot).post(f"{LIST}/policy", data={"policy": "auto"})

    assert policies.policy_of(bot.store.db, bot.domain.id).policy == "auto"
    assert 'method="post"' not in client(bot, "reviewer").get(LIST).text.split("<main")[1]


def test_a_forecast_reads_the_ratings_once(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def raters(*given: Any) -> list[RecentRater]:
        asked.append(given)
        return recent_raters(*given)

    for module in (forecast, expected_people):
        monkeypatch.setattr(module, "recent_raters", raters)
    assert "How long one takes" in client(bot).get("/console/domains/helpdesk/comparisons").text
    assert len(asked) == 1
