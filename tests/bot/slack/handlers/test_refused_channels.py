"""Slack refuses the bot: the asker is told in a direct message, the operator gets an alert."""

from pathlib import Path

import pytest

from bot.cli.doctor import examine
from bot.commands import admin
from data.slack import problems
from tests.bot.slack.conftest import MEMBER, Bot
from tests.fake_slack.workspace import BOT_USER

MENTION = f"<@{BOT_USER}>"
CODES = [
    "restricted_action",
    "restricted_action_read_only_channel",
    "not_in_channel",
    "channel_not_found",
    "is_archived",
    "missing_scope",
    "some_new_code",
]


def alerts(bot: Bot) -> list[str]:
    return [a.text for a in bot.write(admin.status).alerts if a.kind == "slack"]


@pytest.mark.parametrize("code", CODES)
async def test_the_asker_is_told_in_a_direct_message_and_the_operator_by_an_alert(
    bot: Bot, code: str
) -> None:
    bot.slack.refuses["C1"] = code
    await bot.slack.say(MEMBER, "C1", f"{MENTION} where is it?")
    await bot.settled()
    (told,) = bot.slack.from_bot()
    assert (told.channel, told.thread_ts) == (f"D{MEMBER}", None)
    assert "I can't post it in <#C1>" in told.notes
    (alert,) = alerts(bot)
    assert f"T1/C1 ({code})" in alert


async def test_the_alert_ends_with_the_next_answer_there(bot: Bot) -> None:
    bot.slack.refuses["C1"] = "restricted_action"
    await bot.slack.say(MEMBER, "C1", f"{MENTION} where is it?")
    await bot.settled()
    del bot.slack.refuses["C1"]
    question = await bot.slack.say(MEMBER, "C1", f"{MENTION} and now?")
    await bot.slack.answer_to(question)
    await bot.settled()
    assert alerts(bot) == []


async def test_a_channel_that_nobody_asks_in_any_more_is_forgotten(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot.write(lambda db: problems.record(db, "T1", "C1", "is_archived"))
    assert len(alerts(bot)) == 1
    monkeypatch.setattr(problems, "RECENT_US", 0)
    assert alerts(bot) == []


async def test_an_answer_that_its_asker_deleted_is_no_problem(bot: Bot) -> None:
    bot.slack.faults["chat.stopStream"] += ["message_not_found"]
    bot.slack.faults["chat.update"] += ["message_not_found"]
    await bot.slack.say(MEMBER, "C1", f"{MENTION} where is it?")
    await bot.settled()
    assert alerts(bot) == []
    assert [m.channel for m in bot.slack.from_bot()] == ["C1"]


async def test_a_notice_that_the_channel_refuses_goes_to_a_direct_message(bot: Bot) -> None:
    bot.slack.refuses["C1"] = "restricted_action"
    await bot.slack.say(MEMBER, "C1", MENTION)  # no question: the bot gives a hint
    await bot.settled()
    (told,) = bot.slack.from_bot()
    assert told.channel == f"D{MEMBER}"
    assert "I answer questions about" in told.notes


@pytest.mark.parametrize("event", [{"type": "app_uninstalled"}, None])
async def test_a_lost_token_is_an_alert_and_a_finding_of_doctor(
    bot: Bot, event: dict[str, str] | None, tmp_path: Path
) -> None:
    if event is None:
        event = {"type": "tokens_revoked", "tokens": {"bot": [BOT_USER]}}  # type: ignore[dict-item]
    await bot.slack.event(event)
    assert "no longer accepts the bot's token" in alerts(bot)[0]
    found = [f for f in examine(bot.settings) if f.subject == "Slack"]
    assert [f.state for f in found] == ["missing"]


async def test_a_token_that_a_call_finds_rejected_is_an_alert(bot: Bot) -> None:
    bot.slack.revoke("T1")
    await bot.slack.open_home(MEMBER)
    await bot.settled()
    (alert,) = alerts(bot)
    assert "T1 (invalid_auth)" in alert
    bot.slack.tokens["xoxb-fake"] = "T1"
    await bot.restart()
    assert alerts(bot) == []
