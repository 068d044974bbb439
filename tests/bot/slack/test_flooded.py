"""While one address floods the HTTP service, or has filled the room of browsers and keys, Slack's
members ask, vote, give reasons and correct as ever."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bot.slack.workspace.manifest import PATH
from data.adapters import registry
from data.config.settings import BotSettings, Settings
from data.domains import Domain
from data.store.db import Store, rows
from tests.bot.conftest import add_adapter, add_replica
from tests.bot.conftest import serving as service
from tests.bot.slack.conftest import MEMBER, slack_settings
from tests.conftest import ALONE, free_port
from tests.data import given
from tests.fake_slack import FakeSlack
from tests.fake_slack.transports import SignedHttp
from tests.fake_slack.workspace import BOT_USER
from tests.serving.fake_vllm import FakeVllm, words

FLOOD = 150
ACKNOWLEDGED_S = 3.0  # Slack delivers again after that


@dataclass
class Flooded:
    url: str
    store: Store


@pytest.fixture
async def flooded(
    slack: FakeSlack, engine: FakeVllm, store: Store, domain: Domain, tmp_path: Path
) -> AsyncIterator[Flooded]:
    """The whole service, with Slack's requests on the port that the address floods. What browsers
    and keys may store is used up but for a little."""
    bot = BotSettings(
        port=free_port(), engine_wait_s=0, max_in_flight=8, max_waiting=32, web_storage_mib=1
    )
    settings = Settings(home=tmp_path, bot=bot, slack=slack_settings(slack, "http"), answers=ALONE)
    with store.write() as db:
        live = add_adapter(db, domain, 1)
        registry.promote(db, live, "cli:test")
        add_replica(db, engine.url, live)
    url = f"http://127.0.0.1:{bot.port}"
    slack.transport = SignedHttp(url + PATH)
    stop = threading.Event()
    running = service(settings, stop)
    await asyncio.to_thread(running.__enter__)
    yield Flooded(url, store)
    await asyncio.to_thread(running.__exit__, None, None, None)


async def flood(url: str, sessions: int) -> list[int]:
    """Ask under many sessions of one address, all at once; returns the statuses."""
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits, verify=False) as client:
        cookies = []
        for _ in range(sessions):
            client.cookies.clear()
            cookies.append((await client.get("/")).headers["set-cookie"].partition(";")[0])
        client.cookies.clear()

        async def ask(cookie: str) -> int:
            body = {"conversation": "a1b2c3d4e5f6", "text": "What is a run?"}
            headers = {"Cookie": cookie, "X-Forwarded-For": "192.0.2.1"}
            return (await client.post("/web/ask", json=body, headers=headers)).status_code

        return list(
            await asyncio.gather(*[ask(c) for c in cookies for _ in range(FLOOD // sessions)])
        )


async def test_members_are_acknowledged_and_answered(
    flooded: Flooded, slack: FakeSlack, engine: FakeVllm
) -> None:
    engine.pause_s = 0.02
    engine.say = lambda body: words(body["model"], *["word "] * 20)
    attack = asyncio.create_task(flood(flooded.url, 30))
    await slack.until(lambda: len(engine.asked) >= 6, "the attack to fill its room", 30)
    began = asyncio.get_running_loop().time()
    questions = [
        await slack.say(MEMBER, "C1", f"<@{BOT_USER}> Question {number}?") for number in range(3)
    ]
    assert asyncio.get_running_loop().time() - began < 3 * ACKNOWLEDGED_S
    assert not attack.done()
    for question in questions:
        assert (await slack.answer_to(question)).words.startswith("word word")
    statuses = await attack
    assert set(statuses) == {200, 429}, "some are answered, and some are told to come back"


async def test_members_rate_and_correct_when_browsers_have_filled_their_room(
    flooded: Flooded, slack: FakeSlack, domain: Domain
) -> None:
    with flooded.store.write() as db:
        given.reply(db, domain, "web:1", "w" * 1_100_000, "No.")
    assert set(await flood(flooded.url, 2)) == {503}
    answer = await slack.answer_to(await slack.say(MEMBER, "C1", f"<@{BOT_USER}> Where?"))
    for number in range(3):
        await slack.until(lambda: rows(flooded.store.db, ENDED), "the answer to end")
        await slack.thumb(MEMBER, answer, up=False)
        await slack.until(lambda n=number: len(slack.views) > n, "the form")
        said = {"reason": f"Wrong {number}.", "better": f"In the attic {number}."}
        await slack.submit(MEMBER, slack.views[-1], **said, learn=True)
        await slack.until(
            lambda n=number: (
                len(rows(flooded.store.db, "SELECT 1 FROM feedback WHERE kind = 'correction'"))
                == n + 1
            ),
            "the correction",
        )
        await slack.thumb(MEMBER, answer, up=True)
        await slack.until(
            lambda: rows(flooded.store.db, "SELECT 1 FROM feedback WHERE value = 1 AND live = 1"),
            "the thumb",
        )


ENDED = "SELECT 1 FROM replies WHERE status = 'done' AND person LIKE 'slack:%'"
