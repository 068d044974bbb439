"""Crashes at any moment: each question is answered exactly once, over both transports.

`Mortal` runs a bot that can crash at any moment: before or after a commit to the store, and before
or after a call takes effect in Slack. After a crash, nothing that the dead bot still tries reaches
the store or Slack, and a new bot starts with the same store, as after SIGKILL. The last tests kill
a real process.
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlite_utils import Database

from bot.answering.chat import Chat
from bot.service import Service
from bot.slack import app as front
from bot.slack.workspace.manifest import PATH
from data import domains
from data.adapters import placements
from data.config.settings import BotSettings, Settings
from data.store.db import Store, row, rows
from serving.client import EngineClient
from tests.bot.slack.conftest import MEMBER, QUICK, serving, slack_settings
from tests.conftest import ALONE, free_port
from tests.fake_slack import FakeSlack
from tests.fake_slack.transports import SignedHttp
from tests.fake_slack.workspace import APP_TOKEN, BOT_TOKEN, BOT_USER, SIGNING_SECRET, Message
from tests.serving.fake_vllm import HANG, FakeVllm, words

T = TypeVar("T")
MENTION = f"<@{BOT_USER}>"


class Dead(Exception):
    """Raised for whatever a dead bot still tries."""


class MortalStore(Store):
    """A store in which any commit can be the last action of its bot."""

    moment: Callable[[], bool] = staticmethod(lambda: False)  # whether the bot crashes here
    dead = False

    async def submit(self, fn: Callable[[Database], T]) -> T:
        await self._moment()
        result = await super().submit(fn)
        await self._moment()
        return result

    async def read(self, fn: Callable[[Database], T]) -> T:
        await self._moment()
        return await super().read(fn)

    async def _moment(self) -> None:
        if self.dead or self.moment():
            raise Dead


class Mortal:
    """A bot that crashes at random moments and is restarted."""

    def __init__(
        self, slack: FakeSlack, engine: FakeVllm, home: Path, mode: str, odds: float, seed: int
    ) -> None:
        self.deaths = 0
        self.odds = odds
        self._random = random.Random(seed)
        self._slack, self._engine, self._home = slack, engine, home
        self._settings = Settings(
            home=home,
            slack=slack_settings(slack, mode),
            bot=BotSettings(answer_timeout_s=30, max_in_flight=16),
            answers=ALONE,
        )
        self._reviving: asyncio.Task[None] | None = None
        self.front: front.Slack
        self.store: MortalStore
        slack.api.moment = self.moment

    async def start(self) -> None:
        self.store = MortalStore(self._home / "understudy.db")
        self.store.moment = self.moment
        self._client = EngineClient()
        service = Service(
            self._settings, self.store, Chat(self.store, self._client, self._settings)
        )
        self.front = front.create(service, QUICK, follow_s=60)
        self.front.workspace.api.limiter.limits = {}
        odds, self.odds = self.odds, 0.0  # joining is not under test
        await self.front.start()
        self.odds = odds

    def moment(self) -> bool:
        """Whether the bot crashes now."""
        if self.store.dead:
            return True
        if self._random.random() >= self.odds:
            return False
        self.die()
        return True

    def die(self) -> None:
        self.deaths += 1
        self.store.dead = True
        workspace = self.front.workspace
        self.front.workspaces.accepting = False
        workspace.api.quick.token = workspace.api.patient.token = "of a dead bot"
        self._slack.socket.drop()
        self._reviving = asyncio.create_task(self._revive(self.front))

    async def _revive(self, dead: front.Slack) -> None:
        mine = [t for t in [*dead.workspace.tasks._running, *dead._background] if not t.done()]
        for task in mine:
            task.cancel()
        if dead._socket is not None:
            await dead._socket.close_async()  # type: ignore[no-untyped-call]
        await asyncio.wait(mine)
        await dead.workspace.api.close()
        await self.start()

    async def stop(self) -> None:
        self.odds = 0.0
        while self._reviving is not None and not self._reviving.done():
            await self._reviving
        await self.front.stop()
        await self._client.close()
        self.store.close()


@contextlib.asynccontextmanager
async def mortal(
    slack: FakeSlack, engine: FakeVllm, home: Path, mode: str, odds: float, seed: int
) -> AsyncIterator[Mortal]:
    with Store(home / "understudy.db") as store, store.write() as db:
        domains.create(db, "helpdesk", "the help desk", "Answer.")
        placements.record_heartbeat(db, "fake", engine.url, "pocket", "ready")
        db.execute("UPDATE replicas SET heartbeat_at = heartbeat_at + 3600000000")
    bot = Mortal(slack, engine, home, mode, odds, seed)
    async with contextlib.AsyncExitStack() as stack:
        if mode == "http":
            url = await stack.enter_async_context(serving(lambda: bot.front))
            slack.transport = SignedHttp(url + PATH)
        await bot.start()
        yield bot
        await bot.stop()


def expected(question: str) -> str:
    """The engine's answer, long enough to be streamed in pieces."""
    return f"You asked: {question}. " + " ".join(f"word{n}" for n in range(30)) + " End."


def echo(body: dict[str, Any]) -> Any:
    text = expected(body["messages"][-1]["content"])
    return words(body["model"], *[text[i : i + 24] for i in range(0, len(text), 24)])


async def ask_many(
    slack: FakeSlack, count: int, seed: int, wave: int = 20
) -> list[tuple[Message, str]]:
    """Mentions, direct messages and follow-ups with and without a mention, each delivered one to
    three times, at once."""
    rng = random.Random(seed)
    asked: list[tuple[Message, str]] = []
    for first in range(0, count, wave):
        waiting = []
        for number in range(first, min(first + wave, count)):
            text, thread = f"question {number}", None
            channel, mention = rng.choice(["C1", "DU2", "C1", "thread", "heard"]), MENTION
            if channel == "heard" and first:  # in a thread where the bot takes part by now
                before = rng.choice(asked[:first])[0]
                channel, thread = before.channel, before.thread_ts or before.ts
                mention = ""
            elif channel == "thread" and asked:
                before = rng.choice(asked)[0]
                channel, thread = before.channel, before.thread_ts or before.ts
            elif channel in ("thread", "heard"):
                channel = "C1"
            said = text if channel.startswith("D") else f"{mention} {text}".strip()
            message = slack.add(Message(channel, slack.next_ts(), MEMBER, said, thread))
            asked.append((message, text))
            waiting.append(slack.announce(message, times=rng.randint(1, 3)))
        await asyncio.gather(*waiting)
    return asked


def answers(slack: FakeSlack) -> dict[tuple[str, str], list[Message]]:
    """The bot's messages by the question in their metadata."""
    found: dict[tuple[str, str], list[Message]] = {}
    for message in slack.from_bot():
        question = message.metadata.get("event_payload", {}).get("question", "?")
        found.setdefault((message.channel, question), []).append(message)
    return found


def each_has_its_only_answer(slack: FakeSlack, asked: list[tuple[Message, str]]) -> None:
    found = answers(slack)
    for message, text in asked:
        (only,) = found.pop((message.channel, message.ts))
        assert only.words.strip() == expected(text)
        assert len(only.elements("feedback")) == 1
        assert only.thread_ts == (message.thread_ts or message.ts)
    assert found == {}


async def exactly_one_answer_each(
    slack: FakeSlack, engine: FakeVllm, home: Path, mode: str, count: int, odds: float
) -> int:
    engine.say = echo
    slack.per_minute = {}
    slack.retry_pause_s = 0.2
    slack.retries = 50  # Slack repeats events for an hour
    async with mortal(slack, engine, home, mode, odds, seed=count) as bot:
        asked = await ask_many(slack, count, seed=7)
        open_ones = "SELECT 1 FROM questions WHERE state <> 'done'"
        with Store(home / "understudy.db") as store:
            await slack.until(
                lambda: not bot.store.dead and row(store.db, open_ones) is None,
                "every question to be done",
                60 + count,
            )
        deaths = bot.deaths
    each_has_its_only_answer(slack, asked)
    with Store(home / "understudy.db") as store:
        left = rows(store.db, "SELECT text FROM questions WHERE text <> ''")
        assert left == []
        assert rows(store.db, "SELECT id FROM replies WHERE status = 'streaming'") == []
    return deaths


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_each_question_is_answered_once_whenever_the_bot_crashes(
    slack: FakeSlack, engine: FakeVllm, tmp_path: Path, mode: str
) -> None:
    deaths = await exactly_one_answer_each(slack, engine, tmp_path, mode, count=40, odds=0.006)
    assert deaths > 3


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_a_thousand_events_with_crashes_are_answered_once_each(
    slack: FakeSlack, engine: FakeVllm, tmp_path: Path, mode: str
) -> None:
    deaths = await exactly_one_answer_each(slack, engine, tmp_path, mode, count=1_000, odds=0.002)
    assert deaths > 20


@pytest.mark.slow
async def test_the_next_process_completes_the_answer_of_a_killed_one(
    slack: FakeSlack, engine: FakeVllm, tmp_path: Path
) -> None:
    """`understudy bot` is killed during a stream. The next process completes the same message."""
    settle(tmp_path, slack, engine, "socket", free_port())
    with Store(tmp_path / "understudy.db") as store:
        engine.say = lambda body: [*words(body["model"], "Half an ", "answer ", "is")[:4], HANG]
        first = started(tmp_path)
        try:
            await slack.until(lambda: slack.socket.connections, "the socket", 60)
            question = await slack.say(MEMBER, "DU2", "Why?")
            await slack.until(lambda: slack.called("chat.startStream"), "the stream")
            await slack.until(
                lambda: row(store.db, "SELECT 1 FROM questions WHERE shown_ts <> ''"), "its ts"
            )
        finally:
            first.send_signal(signal.SIGKILL)
            first.wait()
        engine.say = echo
        second = started(tmp_path)
        try:
            answer = await slack.answer_to(question, seconds=30)
        finally:
            second.terminate()
            await asyncio.to_thread(second.wait)
        assert slack.in_thread("DU2", question.ts) == [answer]
        assert answer.words == expected("Why?")
        statuses = rows(store.db, "SELECT status FROM replies ORDER BY created_at")
        assert [r["status"] for r in statuses] == ["failed", "done"]


KILLS = 5
OFTEN = 48


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_a_process_that_is_killed_again_and_again_answers_each_question_once(
    slack: FakeSlack, engine: FakeVllm, tmp_path: Path, mode: str
) -> None:
    """SIGKILL at random moments while questions arrive, each one to three times."""
    rng, port = random.Random(mode), free_port()
    settle(tmp_path, slack, engine, mode, port)
    engine.say, engine.pause_s = echo, 0.01
    slack.per_minute, slack.retries, slack.retry_pause_s = {}, 300, 0.2
    slack.channels |= {f"C{n}" for n in range(10, 22)}  # each channel allows one message a second
    if mode == "http":
        slack.transport = SignedHttp(f"http://127.0.0.1:{port}{PATH}")

    async def ask(number: int) -> tuple[Message, str]:
        await asyncio.sleep(number * 0.8)
        text, channel = f"question {number}", f"C{10 + number % 12}"
        message = slack.add(Message(channel, slack.next_ts(), MEMBER, f"{MENTION} {text}"))
        await slack.announce(message, times=rng.randint(1, 3))
        return message, text

    process, asking = started(tmp_path), asyncio.gather(*map(ask, range(OFTEN)))
    try:
        with Store(tmp_path / "understudy.db") as store:
            at_work = "SELECT 1 FROM questions WHERE state = 'answering' AND worker LIKE ?"
            for _ in range(KILLS):
                its = [f"%/{process.pid}/%"]
                await slack.until(lambda its=its: row(store.db, at_work, its), "its work", 60)
                await asyncio.sleep(rng.uniform(0, 1.5))
                process.kill()
                process.wait()
                process = started(tmp_path)
            asked = await asking
            left = "SELECT 1 FROM questions WHERE state <> 'done'"
            await slack.until(lambda: row(store.db, left) is None, "every answer", 180)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)  # it disconnects from the fake
    each_has_its_only_answer(slack, asked)
    slack.problems.clear()  # nothing was acknowledged while it was dead


def settle(home: Path, slack: FakeSlack, engine: FakeVllm, mode: str, port: int) -> None:
    """Write the settings and create the store of an `understudy bot` process."""
    (home / "understudy.toml").write_text(
        f'[bot]\nport = {port}\n[slack]\nmode = "{mode}"\nbot_token = "{BOT_TOKEN}"\n'
        f'app_token = "{APP_TOKEN}"\nsigning_secret = "{SIGNING_SECRET}"\n'
        f'api_url = "{slack.api_url}"\n[answers]\nmode = "adapter"\n'
    )
    with Store(home / "understudy.db") as store, store.write() as db:
        domains.create(db, "helpdesk", "the help desk", "Answer.")
        placements.record_heartbeat(db, "fake", engine.url, "pocket", "ready")
        db.execute("UPDATE replicas SET heartbeat_at = heartbeat_at + 3600000000")


def started(home: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "UNDERSTUDY_CONFIG": str(home / "understudy.toml")}
    return subprocess.Popen([sys.executable, "-m", "bot", "bot"], env=environment)
