"""What the bot answers in a channel, set by admins in that channel."""

import pytest

from bot.slack.handlers.answer import SWITCHED_OFF
from data import domains
from data.config.settings import AnswersSettings
from tests.bot.slack.commands.test_handlers import command
from tests.bot.slack.conftest import ADMIN, MEMBER, Bot
from tests.fake_slack.workspace import BOT_USER
from tests.serving.fake_vllm import refusal

MENTION = f"<@{BOT_USER}>"


async def test_by_default_only_mentions_are_answered(bot: Bot) -> None:
    assert "messages that mention me" in await command(bot, MEMBER, "channel")
    await bot.slack.say(MEMBER, "C1", "Where is it?")
    await bot.settled()
    assert bot.engine.asked == []


async def test_an_admin_lets_the_bot_answer_everything(bot: Bot) -> None:
    assert "every question" in await command(bot, ADMIN, "channel listen all")
    question = await bot.slack.say(MEMBER, "C1", "Where is it?")
    await bot.slack.answer_to(question)
    await bot.slack.say(MEMBER, "C1", "<@U3> can you look?")
    await bot.slack.say(MEMBER, "C2", "Elsewhere?")
    await bot.settled()
    assert len(bot.engine.asked) == 1


async def test_an_admin_switches_the_bot_off_in_a_channel(bot: Bot) -> None:
    first = await bot.slack.say(MEMBER, "C1", f"{MENTION} where is it?")
    await bot.slack.answer_to(first)
    assert "nothing" in await command(bot, ADMIN, "channel listen off")
    await bot.slack.say(MEMBER, "C1", f"{MENTION} and now?", thread_ts=first.ts)
    await bot.slack.say(MEMBER, "C1", "And now?", thread_ts=first.ts)
    await bot.settled()
    assert len(bot.engine.asked) == 1
    assert bot.slack.told(MEMBER).count(SWITCHED_OFF) == 1
    await command(bot, MEMBER, "ask Where is it?")
    assert len(bot.engine.asked) == 2
    assert "mention me" in await command(bot, ADMIN, "channel listen mentions")
    question = await bot.slack.say(MEMBER, "C1", f"{MENTION} where is it?")
    await bot.slack.answer_to(question)


async def test_an_admin_chooses_the_domain_of_a_channel(bot: Bot) -> None:
    bot.write(lambda db: domains.create(db, "legal", "the law", system_prompt="Be lawful."))
    assert "The domain is the law" in await command(bot, ADMIN, "channel domain legal", "C2")
    question = await bot.slack.say(MEMBER, "C2", f"{MENTION} may I?")
    await bot.slack.answer_to(question)
    assert bot.engine.asked[0]["messages"][0]["content"] == "Be lawful."
    assert "The domain is the help desk" in await command(bot, ADMIN, "channel domain", "C2")


@pytest.mark.parametrize("text", ["channel listen all", "channel domain helpdesk"])
async def test_only_admins_change_a_channel(bot: Bot, text: str) -> None:
    assert "admin" in await command(bot, MEMBER, text)
    assert "mention me" in await command(bot, MEMBER, "channel")
    assert bot.rows("SELECT * FROM slack_channels") == []


async def test_a_direct_message_has_no_such_setting(bot: Bot) -> None:
    assert "in the channel" in await command(bot, ADMIN, "channel listen all", f"D{ADMIN}")


class TestGrounded:
    """The bot answers from approved pairs, of which there are none."""

    @pytest.fixture
    def answers(self) -> AnswersSettings:
        return AnswersSettings(mode="grounded")

    async def test_where_everything_is_answered_it_stays_silent_without_an_answer(
        self, bot: Bot
    ) -> None:
        await command(bot, ADMIN, "channel listen all")
        await bot.slack.say(MEMBER, "C1", "Lunch, anyone?")
        await bot.settled()
        assert bot.slack.from_bot() == []
        assert [r["outcome"] for r in bot.rows("SELECT outcome FROM replies")] == ["declined"]
        asked = await bot.slack.say(MEMBER, "C1", f"{MENTION} lunch?")
        await bot.settled()
        assert len(bot.slack.in_thread("C1", asked.ts)) == 1


async def test_where_nobody_asked_nobody_is_told_of_a_failure(bot: Bot) -> None:
    await command(bot, ADMIN, "channel listen all")
    before = bot.slack.told(MEMBER)
    bot.engine.say = lambda body: refusal(500, "out of memory")
    await bot.slack.say(MEMBER, "C1", "Where is it?")
    await bot.slack.say(MEMBER, "C1", "x" * 20_000)
    photo = bot.slack.send_file("photo.png", b"\x89", "image/png")
    await bot.slack.say(MEMBER, "C1", "", subtype="file_share", files=[photo])
    bot.says("Yes.")
    bot.slack.refuses["C1"] = "restricted_action"
    await bot.slack.say(MEMBER, "C1", "And now?")
    await bot.settled()
    assert bot.slack.from_bot() == []
    assert bot.slack.told(MEMBER) == before
    assert bot.slack.statuses == []
