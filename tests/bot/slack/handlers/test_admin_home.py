"""The part of the Home tab for reviewers and admins."""

from dataclasses import replace

import pytest

from bot.experiments import stats
from bot.experiments.stats.wording import signed
from bot.slack.handlers import admin_home
from bot.slack.render.blocks import sentence
from data.adapters import registry
from data.experiments import experiments
from data.feedback import feedback
from data.feedback.feedback_summary import BadAnswer, RatingCounts
from data.monitoring import alerts
from data.people import roles
from data.runs import runs
from tests.bot.experiments.test_decider import rate
from tests.bot.slack.commands.test_handlers import command, with_adapters, with_pairs
from tests.bot.slack.conftest import ADMIN, MEMBER, REVIEWER, Bot
from tests.bot.slack.handlers.test_review import pending
from tests.bot.slack.handlers.test_run_follower import claim, step
from tests.data import given
from tests.fake_slack import rules


async def home(bot: Bot, user: str) -> str:
    """Open the Home tab; returns its blocks as text."""
    await bot.slack.open_home(user)
    await bot.settled()
    return str(bot.slack.homes[user]["blocks"])


async def test_only_reviewers_and_admins_see_it(bot: Bot) -> None:
    assert "Feedback this week" in await home(bot, ADMIN)
    assert "Feedback this week" in await home(bot, REVIEWER)
    assert "Feedback this week" not in await home(bot, MEMBER)


async def test_a_guest_does_not_see_it_even_with_a_role(bot: Bot) -> None:
    bot.slack.profiles[MEMBER] = {"is_restricted": True}
    bot.write(lambda db: roles.grant(db, f"slack:T1/{MEMBER}", "admin", "test"))
    assert "Feedback this week" not in await home(bot, MEMBER)


async def test_it_shows_the_live_version_and_the_same_interval_as_elsewhere(bot: Bot) -> None:
    with_adapters(bot)
    await command(bot, ADMIN, "ab start 1 2")
    running = experiments.running(bot.store.db, bot.domain.id)
    assert running is not None
    running = bot.write(lambda db: given.same_sides(db, running))
    bot.write(lambda db: rate(db, running, {"A": 0.4, "B": 0.9}, 120))
    results = stats.compute_results(bot.store.db, running)
    rating = results.comparisons[0].differences["rating"]
    interval = f"interval {signed(rating.low)} to {signed(rating.high)}"
    assert interval in results.sentence
    shown = await home(bot, ADMIN)
    assert "answered by helpdesk@1" in shown
    assert results.sentence in shown
    for text in ("status", "ab status"):
        assert results.sentence in await command(bot, ADMIN, text)


async def test_it_shows_the_running_run_with_its_loss(bot: Bot) -> None:
    with_pairs(bot)
    bot.write(lambda db: runs.request(db, bot.domain, f"slack:T1/{ADMIN}"))
    run = claim(bot)
    for number in range(1, 31):
        step(bot, run, number, 3.0 / number)
    shown = await home(bot, ADMIN)
    assert "50 %" in shown
    assert "training loss of run 1: `█" in shown


async def test_it_shows_this_weeks_ratings_and_the_lowest_rated_answers(bot: Bot) -> None:
    assert "Nobody rated an answer this week" in await home(bot, ADMIN)
    bot.says("The moon.")
    for number in range(2):
        question = await bot.slack.say(MEMBER, f"D{MEMBER}", f"What is cheese {number}?")
        await bot.slack.answer_to(question)
    await bot.settled()
    first, second = [r["id"] for r in bot.rows("SELECT id FROM replies ORDER BY created_at")]

    def judge(db: object) -> None:
        for person in (MEMBER, ADMIN):
            feedback.thumb(db, second, f"slack:T1/{person}", False)
        feedback.thumb(db, first, f"slack:T1/{MEMBER}", True)
        feedback.reason(db, second, f"slack:T1/{MEMBER}", "It made that up.")

    bot.write(judge)
    shown = await home(bot, ADMIN)
    assert "1 👍, 2 👎, 0 corrections from 2 people" in shown
    assert "*What is cheese 1?*" in shown
    assert "2 👎 · base · “It made that up.”" in shown
    assert "cheese 0?*" not in shown


async def test_it_shows_alerts_and_engines(bot: Bot) -> None:
    shown = await home(bot, ADMIN)
    assert "There are no alerts" in shown
    assert "engine fake: ready" in shown
    with_adapters(bot)
    bot.write(lambda db: db.execute("DELETE FROM placements"))
    bot.write(lambda db: db.execute("UPDATE adapters SET live_at = live_at - 3600000000"))
    bot.write(lambda db: db.execute("UPDATE replicas SET heartbeat_at = heartbeat_at - 3600000000"))
    shown = await home(bot, ADMIN)
    found = alerts.alerts(bot.store.db)
    assert len(found) > 1
    for alert in found:
        assert f":warning: {sentence(alert.text)}" in shown
    assert "There are no alerts" not in shown
    assert "engine fake: not responding" in shown


async def test_its_buttons_work(bot: Bot) -> None:
    pending(bot, 2)
    assert "Review (2)" in await home(bot, REVIEWER)
    await bot.slack.press_home(REVIEWER, "command:review:Review (2)")
    await bot.settled()
    assert "Question 1?" in str(bot.slack.views[-1])
    await bot.slack.press_home(REVIEWER, "command:runs:Runs")
    await bot.settled()
    assert "There are no runs yet" in bot.slack.from_bot()[-1].notes
    assert bot.slack.from_bot()[-1].channel == f"D{REVIEWER}"


@pytest.mark.parametrize("count", [0, 1, 30])
async def test_it_stays_within_slacks_limits(bot: Bot, count: int) -> None:
    found = await bot.store.read(lambda db: admin_home.read(db, "admin"))
    bad = BadAnswer("helpdesk", "helpdesk@1", "<&>" * 9_000, "<&>" * 9_000, 9, "<&>" * 900, True)
    domain = replace(found.status.domains[0], live=bot.write(lambda db: None))
    status = replace(found.status, domains=[domain] * count)
    many = replace(
        found, status=status, worst=[bad] * min(count, 5), this_week=RatingCounts(1, 2, 3, 4)
    )
    blocks = admin_home.shown(many)
    assert len(blocks) <= 45
    assert rules.home({"type": "home", "blocks": blocks}) == []
    assert registry.live(bot.store.db, bot.domain.id) is None
