"""People's text is in no log above debug, whatever fails. Over both transports.

Every test of a bot checks this at its end (`conftest.logged_words`). These tests cover the likely
leaks: a server that repeats the text in an error, and our own code failing while it has the text.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from sqlite_utils import Database

from bot.slack.handlers import home, members
from bot.slack.render import blocks, form_fields
from data.store.db import StoreBusy
from tests.bot.slack.conftest import MEMBER, Bot, logged_words
from tests.fake_slack.workspace import BOT_USER, Message
from tests.serving.fake_vllm import CUT, refusal, words

MENTION = f"<@{BOT_USER}>"
QUESTION = "who whispered it in the library?"


@pytest.fixture(autouse=True)
def quiet(bot: Bot, caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """The log so far, after checking that it has none of the text."""

    def log() -> str:
        assert logged_words(caplog, bot.slack) == []
        assert "whisper" not in caplog.text
        return caplog.text

    caplog.set_level(logging.INFO)
    return log


async def ask(bot: Bot, channel: str = "DU2") -> Message:
    said = QUESTION if channel.startswith("D") else f"{MENTION} {QUESTION}"
    question = await bot.slack.say(MEMBER, channel, said)
    await bot.settled()
    return question


@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
async def test_an_engine_that_repeats_the_question(
    bot: Bot, quiet: Callable[[], str], status: int
) -> None:
    bot.engine.say = lambda body: refusal(status, f"bad input: {body['messages'][-1]['content']}")
    await ask(bot)
    await ask(bot, "C1")
    await bot.slack.command(MEMBER, "C1", f"ask {QUESTION}")
    await bot.settled()
    quiet()
    told = bot.slack.told(MEMBER) + bot.slack.from_bot()[-1].notes
    assert told
    assert "whisper" not in told


async def test_an_engine_that_fails_with_the_text_in_its_error(
    bot: Bot, quiet: Callable[[], str]
) -> None:
    def say(body: dict[str, Any]) -> Any:
        said = {"error": {"message": f"lost at: {body['messages'][-1]['content']}"}}
        return [*words(body["model"], "They ", "whispered ")[:3], said]

    bot.engine.say = say
    await ask(bot)
    assert "The engine failed while it answered" in quiet()
    bot.engine.say = lambda body: [*words(body["model"], "They ", "whispered ")[:3], CUT]
    await ask(bot)
    quiet()


@pytest.mark.parametrize("fault", ["invalid_blocks", "msg_too_long", "500", "lost at 40"])
async def test_a_slack_that_rejects_everything(
    bot: Bot, quiet: Callable[[], str], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.handlers.answer.SLACK_AWAY_S", 0.1)
    bot.says("They whispered ", "it loudly.")
    for method in ("startStream", "postMessage", "update", "postEphemeral"):
        bot.slack.faults[f"chat.{method}"] += [fault] * 3
    await ask(bot)
    await ask(bot, "C1")
    quiet()


async def test_a_bug_in_every_place_that_has_the_text(
    bot: Bot, quiet: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store raises an unexpected error, which is logged with its traceback."""
    bot.says("They whispered ", "it loudly.")
    question = await ask(bot, "C1")
    answer = await bot.slack.answer_to(question)
    await bot.slack.thumb(MEMBER, answer, up=False)
    view = (await bot.slack.until(lambda: bot.slack.views, "the form"))[0]
    await bot.slack.shortcut(MEMBER, answer, "teach_this")
    taught = (await bot.slack.until(lambda: bot.slack.views[1:], "the other form"))[0]
    submit, broken = bot.store.submit, False

    async def fails(fn: Callable[[Database], Any]) -> Any:
        if broken:
            raise RuntimeError("a defect")
        return await submit(fn)

    monkeypatch.setattr(bot.store, "submit", fails)
    bot.slack.retries = 0
    broken = True
    await asyncio.gather(
        bot.slack.submit(MEMBER, view, reason="whispered reason", better="whispered better"),
        bot.slack.submit(MEMBER, taught, question="whispered question", answer="whispered too"),
        bot.slack.command(MEMBER, "C1", f"ask {QUESTION}"),
        bot.slack.say(MEMBER, "C1", f"{MENTION} {QUESTION}"),
        bot.slack.press(MEMBER, answer, blocks.REGENERATE),
        bot.slack.thumb(MEMBER, answer, up=True),
        bot.slack.react(MEMBER, answer, "+1"),
    )
    broken = False
    await bot.settled()
    assert "a defect" in quiet()
    bot.slack.problems.clear()  # failed requests were not acknowledged, so no form closed


async def test_a_store_that_is_busy(bot: Bot, quiet: Callable[[], str]) -> None:
    question = await ask(bot, "C1")
    answer = await bot.slack.answer_to(question)
    await bot.slack.thumb(MEMBER, answer, up=False)
    view = (await bot.slack.until(lambda: bot.slack.views, "the form"))[0]

    async def busy(fn: Callable[[Database], Any]) -> Any:
        raise StoreBusy("The store is busy.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bot.store, "submit", busy)
        bot.slack.retries = 0
        sent = await bot.slack.submit(MEMBER, view, better="whispered better")
        assert sent.payload["response_action"] == "errors"
        await bot.slack.command(MEMBER, "C1", f"ask {QUESTION}")
        await bot.slack.say(MEMBER, "C1", f"{MENTION} {QUESTION}")
    await bot.settled()
    quiet()
    bot.slack.problems.clear()  # what was not stored was not acknowledged either


async def test_unexpected_requests(bot: Bot, quiet: Callable[[], str]) -> None:
    """Buttons and forms of another version of the bot, with text in them."""
    message = bot.slack.add(Message("C1", bot.slack.next_ts(), BOT_USER))
    view = {"id": "V0", "type": "modal", "callback_id": "of_another_version", "blocks": []}
    view |= {"private_metadata": "whispered metadata"}
    await asyncio.gather(
        bot.slack.click(MEMBER, message, "of_another_version", "whispered value"),
        bot.slack.submit(MEMBER, view),
        bot.slack.shortcut(MEMBER, message, "of_another_version"),
        bot.slack.command(MEMBER, "C1", "whispered command"),
        bot.slack.event({"type": "message", "subtype": "whatever", "text": QUESTION}),
    )
    await bot.slack.open_home(MEMBER)
    await bot.settled()
    await bot.slack.press_home(MEMBER, home.SEE)
    await bot.settled()
    quiet()
    assert bot.slack.told(MEMBER).count(members.OUTDATED) == 2, "of the button and the shortcut"
    assert bot.slack.from_bot()[-1].notes == members.OUTDATED, "of the form"


async def test_text_in_a_form_of_another_version_stays_there(bot: Bot) -> None:
    typed = form_fields.text_input("of_another_version", "Words", "…")
    view = {"id": "V0", "type": "modal", "callback_id": "of_another_version", "blocks": [typed]}
    ack = await bot.slack.submit(MEMBER, view, of_another_version="Written for an hour.")
    assert ack.payload["errors"] == {"of_another_version": members.OUTDATED}
