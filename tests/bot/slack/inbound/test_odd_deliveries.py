"""Deliveries that Slack sends and that are easy to get wrong: all are acknowledged."""

import logging
import time
from typing import Any

import pytest

from bot.slack.inbound import http
from bot.slack.render import blocks
from tests.bot.slack.conftest import MEMBER, Bot
from tests.bot.slack.inbound.test_http import BODY, headers
from tests.fake_slack.transports import SignedHttp
from tests.fake_slack.workspace import BOT_USER
from tests.serving.fake_vllm import refusal

MENTION = f"<@{BOT_USER}>"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "channel_rename", "channel": {"id": "C1", "name": "x"}},
        {"type": "function_executed", "function_execution_id": "Fx1"},
        {"type": "an_event_of_tomorrow"},
        {"type": "app_home_opened", "user": MEMBER, "tab": "messages"},
        {"type": "app_home_opened", "tab": "home"},
        {"type": "app_home_opened", "user": MEMBER, "channel": "DU2"},
    ],
)
async def test_an_event_that_nobody_needs_is_acknowledged_once(
    bot: Bot, event: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    (ack,) = await bot.slack.event(event)
    await bot.settled()
    assert ack.status == 200
    assert len(bot.slack.acks) == 1
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("kind", ["block_suggestion", "view_closed"])
async def test_an_interaction_that_nobody_needs_is_acknowledged(bot: Bot, kind: str) -> None:
    payload = {
        "type": kind,
        "team": {"id": "T1"},
        "user": {"id": MEMBER, "team_id": "T1"},
        "view": {"id": "V1", "callback_id": "x", "blocks": [], "private_metadata": ""},
        "callback_id": "x",
        "action_id": "x",
        "trigger_id": bot.slack.trigger(),
    }
    ack = await bot.slack.transport.send("interactive", payload, 0, "")
    assert ack.status == 200


async def test_a_delivery_without_a_workspace_is_for_the_only_one(bot: Bot) -> None:
    message = {"type": "message", "channel_type": "im", "user": MEMBER, "channel": "DU2"}
    message |= {"text": "Where is it?", "ts": bot.slack.next_ts()}
    payload = {
        "type": "event_callback",
        "team_id": None,
        "enterprise_id": "E1",
        "event": message,
        "event_id": "Ev1",
        "event_time": int(time.time()),
        "authorizations": [{"enterprise_id": "E1", "team_id": None, "is_bot": True}],
    }
    await bot.slack.transport.send("events_api", payload, 0, "")
    await bot.settled()
    assert bot.row("SELECT person FROM replies")["person"] == f"slack:T1/{MEMBER}"
    command = {"command": "/understudy", "text": "status", "user_id": MEMBER, "channel_id": "C1"}
    command |= {"trigger_id": bot.slack.trigger(), "response_url": bot.slack.response_url()}
    await bot.slack.transport.send("slash_commands", command, 0, "")
    await bot.settled()
    assert "the help desk" in bot.slack.told(MEMBER)


@pytest.mark.parametrize("bot", ["http"], indirect=True)
@pytest.mark.parametrize(("seconds", "word"), [(-400, "ago"), (400, "in the future")])
async def test_a_wrong_clock_is_in_the_log_once(
    bot: Bot,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    word: str,
) -> None:
    monkeypatch.setattr(http, "_skew_logged", {})
    assert isinstance(bot.slack.transport, SignedHttp)
    for _ in range(3):
        sent = headers(timestamp=str(int(time.time()) + seconds))
        assert (await bot.slack.transport.raw(BODY, sent)).status == 401
    (line,) = [r.getMessage() for r in caplog.records if "set this machine's clock" in r.msg]
    assert word in line


@pytest.mark.parametrize("bot", ["http"], indirect=True)
async def test_an_old_request_that_slack_did_not_sign_says_nothing_about_the_clock(
    bot: Bot, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_skew_logged", {})
    assert isinstance(bot.slack.transport, SignedHttp)
    sent = headers(timestamp=str(int(time.time()) - 400)) | {"X-Slack-Signature": "v0=" + "0" * 64}
    assert (await bot.slack.transport.raw(BODY, sent)).status == 401
    assert [r for r in caplog.records if "clock" in r.getMessage()] == []


async def test_an_emoji_on_any_part_of_a_long_answer_counts(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "MARKDOWN", 600)
    bot.says(*(f"Sentence number {n} of a long answer.\n" for n in range(60)))
    question = await bot.slack.say(MEMBER, "C1", f"{MENTION} tell me everything")
    await bot.slack.answer_to(question, seconds=20)
    await bot.settled()
    parts = bot.slack.in_thread("C1", question.ts)
    assert len(parts) >= 3
    for number, part in enumerate(parts):
        await bot.slack.react(f"U{number + 1}", part, "+1")
    await bot.settled()
    thumbs = bot.rows("SELECT person FROM feedback WHERE kind = 'thumb' AND live = 1")
    assert {r["person"] for r in thumbs} >= {f"slack:T1/U{n + 1}" for n in range(3)}


async def test_a_first_question_that_is_too_long_is_called_a_question(bot: Bot) -> None:
    bot.engine.say = lambda body: refusal(400, "This model's maximum context length is 9 tokens.")
    await bot.slack.say(MEMBER, "DU2", "word " * 100)
    await bot.settled()
    (told,) = bot.slack.from_bot()
    assert "The question is too long" in told.notes
