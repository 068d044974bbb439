"""Feedback through Slack, HTTP and the web page leaves the same rows in one store."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from bot.app import create_app
from bot.commands import admin
from bot.slack.handlers import recent_questions
from data.config.settings import SlackSettings
from data.people import keys
from data.store.db import rows
from serving.client import EngineClient
from tests.bot.conftest import add_adapter
from tests.bot.slack.conftest import MEMBER, Bot
from tests.fake_slack.workspace import Message
from tests.serving.fake_vllm import words

QUESTION = "What is a run?"
KEPT = """
SELECT f.kind, f.value, f.text, f.live, f.superseded_at IS NOT NULL AS superseded, f.counts,
       f.over_cap, p.prompt, p.response, p.status, p.source, f.person = r.person AS own
FROM feedback f JOIN replies r ON r.id = f.reply_id LEFT JOIN pairs p ON p.id = f.pair_id
WHERE f.reply_id = ? ORDER BY f.kind, f.id
"""


@dataclass
class Web:
    """The HTTP service with the store of the Slack front end."""

    member: httpx.AsyncClient
    page: httpx.AsyncClient

    async def say(self, replies: tuple[str, str], **words: str) -> None:
        """Send the same feedback over the API and from the page."""
        http, web = replies
        sent = await self.member.post("/v1/feedback", json={"id": http} | words)
        clicked = await self.page.post("/web/feedback", json={"reply_id": web} | words)
        assert (sent.status_code, clicked.status_code) == (201, 201), (sent.text, clicked.text)


@pytest.fixture
async def web(bot: Bot) -> AsyncIterator[Web]:
    settings = bot.settings.model_copy(update={"slack": SlackSettings(mode="off")})
    engine = EngineClient()
    transport = httpx.ASGITransport(create_app(settings, bot.store, engine))
    secret = bot.write(lambda db: keys.create(db, "a member", "member", "cli:test"))[1]
    key = {"Authorization": f"Bearer {secret}"}
    at = {"transport": transport, "base_url": "http://127.0.0.1"}
    async with httpx.AsyncClient(headers=key, **at) as member, httpx.AsyncClient(**at) as page:
        await page.get("/")
        yield Web(member, page)
    await engine.close()


def kept(bot: Bot, reply_id: str) -> list[dict[str, Any]]:
    return rows(bot.store.db, KEPT, [reply_id])


def newest(bot: Bot) -> str:
    return str(bot.row("SELECT id FROM replies ORDER BY created_at DESC, id DESC")["id"])


async def answers(bot: Bot, web: Web) -> tuple[Message, str, tuple[str, str]]:
    """One question asked three times: Slack's message and reply, and the replies over HTTP and the
    page."""
    bot.says("One tuning ", "of a model.")
    question = await bot.slack.say(MEMBER, f"D{MEMBER}", QUESTION)
    message = await bot.slack.answer_to(question)
    await bot.settled()
    through_slack = newest(bot)
    ask = {"model": "helpdesk", "messages": [{"role": "user", "content": QUESTION}]}
    http = (await web.member.post("/v1/chat/completions", json=ask)).json()["id"]
    talk = await web.page.post("/web/ask", json={"conversation": "a1b2c3d4e5f6", "text": QUESTION})
    return message, through_slack, (http, json.loads(talk.text.splitlines()[0])["reply_id"])


async def test_thumbs_texts_and_whether_it_helped(bot: Bot, web: Web) -> None:
    message, through_slack, others = await answers(bot, web)

    await bot.slack.thumb(MEMBER, message, up=False)
    await bot.slack.until(lambda: bot.slack.views, "the form")
    said = {"reason": "outdated", "better": "One tuning job."}
    await bot.slack.submit(MEMBER, bot.slack.views[-1], **said, learn=True)
    await bot.settled()
    await bot.slack.thumb(MEMBER, message, up=True)
    await bot.slack.open_home(MEMBER)
    for helped in ("no", "yes"):
        await bot.settled()
        await bot.slack.press_home(MEMBER, f"{recent_questions.HELPED}{helped}")
    await bot.settled()

    await web.say(others, thumb="down", reason="outdated", correction="One tuning job.")
    for more in ({"thumb": "up"}, {"helped": "no"}, {"helped": "yes"}):
        await web.say(others, **more)

    rows_ = kept(bot, through_slack)
    assert [(r["kind"], r["value"], r["live"], r["own"]) for r in rows_] == [
        ("correction", None, 1, 1),
        ("follow_up", 0.0, 0, 1),
        ("follow_up", 1.0, 1, 1),
        ("reason", None, 1, 1),
        ("thumb", 0.0, 0, 1),
        ("thumb", 1.0, 1, 1),
    ]
    assert [kept(bot, other) for other in others] == [rows_, rows_]


async def test_a_withdrawn_rating(bot: Bot, web: Web) -> None:
    message, through_slack, others = await answers(bot, web)

    for added in (True, False):
        await bot.slack.react(MEMBER, message, "+1", added=added)
        await bot.settled()
    for thumb in ("up", "none"):
        await web.say(others, thumb=thumb)

    rows_ = kept(bot, through_slack)
    assert [(r["kind"], r["value"], r["live"], r["superseded"]) for r in rows_] == [
        ("thumb", 1.0, 0, 1)
    ]
    assert [kept(bot, other) for other in others] == [rows_, rows_]


async def test_a_choice_between_two_answers(bot: Bot, web: Web) -> None:
    both = [bot.write(lambda db, v=v: add_adapter(db, bot.domain, v)) for v in (1, 2)]
    bot.hold(*both)
    bot.engine.say = lambda body: words(body["model"], f"Here speaks {body['model']}.")
    bot.write(lambda db: admin.start_comparison(db, bot.domain, "1", "2", "cli:test", pairwise=1.0))

    question = await bot.slack.say(MEMBER, f"D{MEMBER}", QUESTION)
    await bot.settled()
    (message,) = bot.slack.in_thread(f"D{MEMBER}", question.ts)
    through_slack = bot.row("SELECT first_reply FROM pairings")["first_reply"]
    ask = {"model": "helpdesk", "messages": [{"role": "user", "content": QUESTION}]}
    http = (await web.member.post("/v1/chat/answers", json=ask)).json()
    talk = await web.page.post("/web/ask", json={"conversation": "a1b2c3d4e5f6", "text": QUESTION})
    others = (http["data"][0]["id"], json.loads(talk.text)["answers"][0]["reply_id"])

    for which in ("first", "tie", "second"):
        await bot.slack.press(MEMBER, message, f"prefer:{which}")
        await bot.settled()
        await web.say(others, prefer=which)

    rows_ = kept(bot, through_slack)
    assert [(r["value"], r["live"], r["counts"]) for r in rows_] == [
        (1.0, 0, 1),
        (0.5, 0, 1),
        (0.0, 1, 1),
    ]
    assert [kept(bot, other) for other in others] == [rows_, rows_]
