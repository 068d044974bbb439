"""200 mentions in a minute against Slack's limits: all answers complete, with their buttons, and
nobody is told of a limit. The minute, Slack's and ours, passes thirty times as fast."""

import asyncio
import time

import pytest

from bot.slack.client.clock import Clock
from bot.slack.client.stream import Pace
from tests.bot.slack.conftest import MEMBER, Bot
from tests.fake_slack.workspace import BOT_USER, Message
from tests.serving.fake_vllm import words

SPEED = 30
MENTIONS = 200
WAYS = (
    "chat.startStream",
    "chat.stopStream",
    "chat.appendStream",
    "chat.update",
    "chat.postMessage",
)
TEXT = "".join(f"Line {n} of the answer, in some words.\n" for n in range(25)) + "The end."


class Fast(Clock):
    def now(self) -> float:
        return time.monotonic() * SPEED

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        await super().wait(event, seconds / SPEED)


@pytest.fixture
def clock() -> Clock:
    return Fast()


@pytest.fixture
def pace() -> Pace:
    return Pace()


def echo(body: dict[str, list[dict[str, str]]]) -> object:
    text = f"To {body['messages'][-1]['content']}\n{TEXT}"
    return words("base@0", *[text[i : i + 40] for i in range(0, len(text), 40)])


async def mention(bot: Bot, number: int, channel: str) -> Message:
    text = f"question {number}"
    said = text if channel.startswith("D") else f"<@{BOT_USER}> {text}"
    return await bot.slack.say(MEMBER, channel, said)


async def test_two_hundred_mentions_in_a_minute_are_all_answered(bot: Bot) -> None:
    bot.engine.say, bot.engine.pause_s = echo, 0.02
    channels = ["C1", "C1", "C2", "DU2"]
    asking = []
    for number in range(MENTIONS):
        asking.append(asyncio.create_task(mention(bot, number, channels[number % 4])))
        await bot.front.workspace.api.clock.sleep(60 / MENTIONS)
    questions = await asyncio.gather(*asking)
    await bot.slack.until(bot.idle, "all answers", 200)
    for number, question in enumerate(questions):
        (answer,) = bot.slack.in_thread(question.channel, question.ts)
        assert answer.words == f"To question {number}\n{TEXT}"
        assert len(answer.elements("feedback")) == 1
        assert answer.streaming_since is None
        assert answer.notes == ""
    assert bot.slack.ephemerals == []
    ways = {m: len([c for c in bot.slack.called(m) if not c.error]) for m in WAYS}
    assert all(ways.values()), ways
    assert ways["chat.startStream"] == ways["chat.stopStream"]
