"""The daily digest: posted once a day, if there is something to report."""

from datetime import datetime

import pytest

from bot.slack.client.clock import Clock
from bot.slack.commands import digest
from data.config.settings import SlackSettings
from data.pairs import pairs, review_queue
from data.pairs.pairs import Draft
from tests.bot.slack.conftest import ADMIN, MEMBER, REVIEWER, Bot
from tests.bot.slack.handlers.test_review import pending
from tests.bot.slack.workspace.test_roles import settle
from tests.fake_slack.workspace import Message

MORNING = datetime(2031, 3, 3, 9, 0).astimezone()


class Calendar(Clock):
    """The time of day that a test says it is."""

    at = MORNING.replace(hour=0)

    def local(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Calendar:
    return Calendar()


async def told(bot: Bot, now: datetime = MORNING) -> list[Message]:
    """Look at the time; what the bot has posted by then."""
    clock = bot.front.workspaces.shared.clock
    assert isinstance(clock, Calendar)
    clock.at = now
    await digest.tell(bot.front.workspaces, now)
    untold = "SELECT 1 FROM deeds WHERE state <> 'told'"
    await bot.slack.until(lambda: bot.rows(untold) == [], "it to be told")
    return bot.slack.from_bot()


def test_it_is_due_from_its_time_on() -> None:
    settings = SlackSettings(digest_channel="C1", digest_at="09:00")
    at = [MORNING.replace(hour=h, minute=m) for h, m in ((8, 59), (9, 0), (23, 59))]
    assert [digest.due(settings, now) for now in at] == [False, True, True]


async def test_the_digest_is_posted_once_a_day_however_often_the_bot_starts(bot: Bot) -> None:
    await settle(bot, digest_channel="C2")
    pending(bot, 3)
    assert await told(bot, MORNING.replace(hour=8)) == []
    (message,) = await told(bot)
    await settle(bot, digest_channel="C2")
    assert await told(bot) == [message]
    assert message.channel == "C2"
    assert "Suggested answers to review: 3" in message.notes
    assert "*the help desk*: 3 pairs, the oldest suggested" in message.notes
    assert len(await told(bot, MORNING.replace(day=4))) == 2


async def test_it_counts_what_was_decided_since_yesterday(bot: Bot) -> None:
    await settle(bot, digest_channel="C2")
    pending(bot, 3)
    bot.write(lambda db: review_queue.decide(db, 1, "approved", f"slack:T1/{ADMIN}"))
    bot.write(lambda db: review_queue.decide(db, 2, "rejected", f"slack:T1/{ADMIN}"))
    (message,) = await told(bot, datetime.now().astimezone().replace(hour=23))
    assert "since yesterday: 1 approved, 1 rejected" in message.notes


async def test_a_day_without_anything_has_no_digest(bot: Bot) -> None:
    await settle(bot, digest_channel="C2")
    assert await told(bot) == []
    pending(bot, 1)
    assert await told(bot) == []  # the day is over


async def test_without_a_channel_there_is_no_digest(bot: Bot) -> None:
    pending(bot, 1)
    assert await told(bot) == []


async def test_its_button_opens_the_review_for_reviewers(bot: Bot) -> None:
    await settle(bot, digest_channel="C2")
    pending(bot, 1)
    (message,) = await told(bot)
    await bot.slack.press(REVIEWER, message, "command:review:Review")
    await bot.settled()
    assert "Question 1?" in str(bot.slack.views[-1])
    await bot.slack.press(MEMBER, message, "command:review:Review")
    await bot.settled()
    assert "Only reviewers and admins" in bot.slack.told(MEMBER)
    assert len(bot.slack.views) == 1


async def test_a_digest_that_slack_refused_is_posted_later(bot: Bot) -> None:
    await settle(bot, digest_channel="C2")
    draft = Draft("Question?", "Answer.")
    bot.write(lambda db: pairs.add(db, bot.domain, [draft], source="correction"))
    bot.slack.faults["chat.postMessage"] += ["lost after"]
    (message,) = await told(bot)
    assert "Suggested answers to review: 1" in message.notes
    assert bot.rows("SELECT 1 FROM deeds WHERE state <> 'told'") == []
