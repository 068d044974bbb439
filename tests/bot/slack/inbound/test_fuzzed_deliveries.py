"""Deliveries that Slack signed, and that look like nothing Slack sends.

`FUZZ_EXAMPLES=20000 python -m pytest tests/bot/slack/inbound/test_fuzzed_deliveries.py` fuzzes for
longer. The sequence is the same each time.
"""

import copy
import json
import os
import random
import time
import urllib.parse
from typing import Any

import pytest

from tests.bot.slack.conftest import MEMBER, Bot
from tests.bot.slack.inbound.test_permission import GUEST, WHO, answered, state
from tests.fake_slack.transports import SignedHttp, sign
from tests.fake_slack.workspace import BOT_USER

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "120"))
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2**70, 1.5, "", "x", "\x00", "\x1b[2J\u202e", "9" * 400, [], {}, [[]],
    {"a": {}}, ["x"], "slack:T1/U1", "<@U1>", "1.1.1", "{}", "[1]",
)  # fmt: skip


def deliveries(reply: str, ts: str) -> list[dict[str, Any]]:
    """One of each kind, by a guest."""
    who = {"user": {"id": WHO}, "team": {"id": "T1"}, "trigger_id": "1.2"}
    place = {"channel": {"id": "C1"}, "container": {"message_ts": ts, "channel_id": "C1"}}
    item = {"type": "message", "channel": "C1", "ts": ts}
    event = {"type": "event_callback", "team_id": "T1", "event_id": "E1", "event_time": 1}
    view = {"id": "V1", "type": "modal", "private_metadata": json.dumps([reply, "C1", ts])}
    better = {"better": {"text": {"type": "plain_text_input", "value": "x"}}}
    action = {"type": "button", "action_id": "feedback", "value": f"up:{reply}", "action_ts": "1.1"}
    return [
        {**event, "event": {"type": "message", "user": WHO, "channel": "C1", "ts": "9.1",
                            "text": f"<@{BOT_USER}> why?"}},
        {**event, "event": {"type": "reaction_added", "user": WHO, "reaction": "+1", "item": item,
                            "event_ts": "9.2"}},
        {**event, "event": {"type": "app_home_opened", "user": WHO, "tab": "home"}},
        {**event, "event": {"type": "agent_session_stopped", "user": WHO, "channel": "C1"}},
        {**who, **place, "type": "block_actions", "message": {"ts": ts}, "actions": [action]},
        {**who, "type": "view_submission",
         "view": {**view, "callback_id": "correction", "state": {"values": better}, "blocks": []}},
        {**who, **place, "type": "message_action", "callback_id": "teach_this",
         "message": {"ts": ts, "text": "x", "user": MEMBER}, "message_ts": ts},
        {"command": "/understudy", "text": "retrain", "user_id": WHO, "team_id": "T1",
         "channel_id": "C1", "trigger_id": "3.4"},
    ]  # fmt: skip


def spoiled(body: Any, dice: random.Random) -> Any:
    """The delivery with one to three of its values replaced, removed or nested."""
    body = copy.deepcopy(body)
    for _ in range(dice.randint(1, 3)):
        parents = [node for node in _nodes(body) if node]
        if not parents:
            return body
        parent = dice.choice(parents)
        key = dice.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        if dice.random() < 0.3:
            del parent[key]
        elif key not in ("user", "id", "user_id") or dice.random() < 0.3:
            parent[key] = copy.deepcopy(dice.choice(ODD))
    return body


def _nodes(body: Any) -> list[Any]:
    if not isinstance(body, dict | list):
        return []
    inner = body.values() if isinstance(body, dict) else body
    return [body, *(node for each in inner for node in _nodes(each))]


async def send(transport: SignedHttp, body: Any) -> int:
    """Send it signed, as JSON, as a form with a payload, or as a slash command."""
    if isinstance(body, dict) and "command" in body:
        raw = urllib.parse.urlencode({k: str(v) for k, v in body.items()}, errors="ignore").encode()
    elif isinstance(body, dict) and "event" in body:
        raw = json.dumps(body).encode()
    else:
        raw = urllib.parse.urlencode({"payload": json.dumps(body)}).encode()
    json_body = raw[:1] in b"{["
    kind = "application/json" if json_body else "application/x-www-form-urlencoded"
    stamp = str(int(time.time()))
    headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": sign(raw, stamp)}
    return (await transport.raw(raw, {**headers, "Content-Type": kind})).status


@pytest.mark.parametrize("bot", ["http"], indirect=True)
async def test_no_delivery_brings_the_bot_down_or_gets_past_the_permission_check(bot: Bot) -> None:
    assert isinstance(bot.slack.transport, SignedHttp)
    bot.slack.per_minute = {}
    bot.slack.users[WHO] = "Person"
    bot.slack.profiles[WHO] = GUEST
    answer, reply = await answered(bot)
    dice, before = random.Random(17), state(bot)
    for number in range(EXAMPLES):
        body = spoiled(dice.choice(deliveries(reply, answer.ts)), dice)
        status = await send(bot.slack.transport, body) or await send(bot.slack.transport, body)
        assert status in (200, 400, 404, 500, 503), (number, status, json.dumps(body))
        if number % 20 == 0:
            await bot.settled()
            assert state(bot) == before, number
    await bot.settled()
    assert state(bot) == before
    await bot.slack.thumb(MEMBER, answer, up=True)
    await bot.settled()
    assert bot.rows("SELECT value FROM feedback WHERE kind = 'thumb'"), "a true delivery counts"
