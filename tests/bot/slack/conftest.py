"""A bot in a fake workspace: the real front end, chat and store, a fake Slack and a fake engine.

`bot` runs every test that asks for it twice, over Socket Mode and over signed HTTP.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pydantic import SecretStr
from sqlite_utils import Database
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from bot.answering.chat import Chat
from bot.service import Service
from bot.slack import app as front
from bot.slack.client.clock import Clock
from bot.slack.client.stream import Pace
from bot.slack.workspace.manifest import PATH
from data import domains
from data.adapters import placements
from data.adapters.registry import BASE_SERVED_NAME, Adapter
from data.config.settings import (
    AnswersSettings,
    BotSettings,
    ServingSettings,
    Settings,
    SlackSettings,
)
from data.domains import Domain
from data.store.db import Store, row, rows
from serving.client import EngineClient
from tests.conftest import ALONE
from tests.fake_slack import FakeSlack
from tests.fake_slack.transports import SignedHttp
from tests.fake_slack.workspace import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET
from tests.serving.fake_vllm import FakeVllm, running, words

QUICK = Pace(first_s=0.02, growth=1.0, longest_s=0.05, retry_s=0.01)
MIN_TEXT = 8  # characters; shorter texts can be in a log by coincidence
ADMIN, REVIEWER, MEMBER = "U1", "U3", "U2"


@dataclass
class Bot:
    slack: FakeSlack
    engine: FakeVllm
    store: Store
    front: front.Slack
    settings: Settings
    domain: Domain
    transport: str

    def says(self, *texts: str, **more: Any) -> None:
        """Set what the engine answers from now on."""
        self.engine.say = lambda body: words(body["model"], *texts, **more)

    def row(self, sql: str, *params: Any) -> dict[str, Any]:
        found = row(self.store.db, sql, params)
        assert found is not None
        return found

    def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        return rows(self.store.db, sql, params)

    def write(self, fn: Callable[[Database], Any]) -> Any:
        with self.store.write() as db:
            return fn(db)

    def beat(self, url: str | None = None) -> None:
        """Record a heartbeat of the engine."""
        self.write(
            lambda db: placements.record_heartbeat(
                db, "fake", url or self.engine.url, "pocket", "ready"
            )
        )

    def hold(self, *adapters: Adapter) -> None:
        """Record that the engine holds these adapters."""
        for adapter in adapters:
            self.write(lambda db, a=adapter: placements.record_loaded(db, "fake", a.id, 1.0))

    async def settled(self) -> None:
        """Wait until the bot is idle."""
        await self.slack.until(self.idle, "the bot's work to end", 20)

    def idle(self) -> bool:
        open_ones = "SELECT 1 FROM questions WHERE state <> 'done'"
        return not self.front.workspace.tasks.running and row(self.store.db, open_ones) is None

    async def restart(self) -> None:
        """Restart the front end with the same store."""
        await self.front.stop()
        self.front = front.create(self.front.service, QUICK, follow_s=0.05)
        await self.front.start()


@pytest.fixture
def engine() -> Iterator[FakeVllm]:
    fake = FakeVllm(held={BASE_SERVED_NAME: "/base"})
    with running(fake):
        yield fake


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    fake = FakeSlack()
    await fake.start()
    yield fake
    await fake.stop()
    assert fake.problems == []


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "understudy.db") as opened:
        yield opened


@pytest.fixture
def domain(store: Store) -> Domain:
    with store.write() as db:
        return domains.create(
            db, "helpdesk", "the help desk", "Answer.", ("How do I reset my password?",)
        )


def slack_settings(slack: FakeSlack, mode: str) -> SlackSettings:
    return SlackSettings(
        mode=mode,
        bot_token=SecretStr(BOT_TOKEN),
        app_token=SecretStr(APP_TOKEN),
        signing_secret=SecretStr(SIGNING_SECRET),
        admins=(ADMIN,),
        reviewers=(REVIEWER,),
        api_url=slack.api_url,
    )


@pytest.fixture
def clock() -> Clock:
    """The clock of the rate limits."""
    return Clock()


@pytest.fixture
def pace() -> Pace:
    return QUICK


@pytest.fixture
def answers() -> AnswersSettings:
    """Adapters answer without a search, unless a test module overrides this."""
    return ALONE


@pytest.fixture(params=["socket", "http"])
async def bot(
    request: pytest.FixtureRequest,
    slack: FakeSlack,
    engine: FakeVllm,
    store: Store,
    domain: Domain,
    tmp_path: Path,
    clock: Clock,
    pace: Pace,
    answers: AnswersSettings,
    caplog: pytest.LogCaptureFixture,
) -> AsyncIterator[Bot]:
    mode = request.param
    caplog.set_level(logging.INFO)
    settings = Settings(
        home=tmp_path,
        slack=slack_settings(slack, mode),
        bot=BotSettings(answer_timeout_s=5, engine_wait_s=0, max_tokens=2_000),
        serving=ServingSettings(max_model_len=8_192),
        answers=answers,
    )
    client = EngineClient()
    service = Service(settings, store, Chat(store, client, settings))
    slack.now = clock.now
    joined = front.create(service, pace, follow_s=0.05, clock=clock)
    made = Bot(slack, engine, store, joined, settings, domain, mode)
    made.beat()
    await joined.start()
    async with contextlib.AsyncExitStack() as stack:
        if mode == "http":
            url = await stack.enter_async_context(serving(lambda: made.front))
            slack.transport = SignedHttp(url + PATH)
        yield made
        await made.front.stop()
        await client.close()
    assert logged_words(caplog, slack) == []


def logged_words(caplog: pytest.LogCaptureFixture, slack: FakeSlack) -> list[str]:
    """Texts of people and the bot that are in the log above debug."""
    lines = [
        caplog.handler.format(r)
        for when in ("setup", "call")
        for r in caplog.get_records(when)
        if r.levelno > logging.DEBUG and r.name != "aiohttp.access"
    ]
    log = "\n".join(lines)
    said = {m.text for m in slack.messages.values()} | {m.words for m in slack.from_bot()}
    said |= slack.typed | set(slack.users.values())
    return [text for text in said if len(text) >= MIN_TEXT and text in log]


@contextlib.asynccontextmanager
async def serving(current: Callable[[], front.Slack]) -> AsyncIterator[str]:
    """Serve the front end's routes over HTTP; yields the address."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Starlette(routes=current().routes)(scope, receive, send)

    server = _QuietServer(uvicorn.Config(app, log_level="warning", lifespan="off"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await task


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
