"""Starting and stopping the front end: tokens, outages, reconnects, and the whole application."""

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.answering.chat import Chat
from bot.service import Service
from bot.slack import app as front
from data.config.settings import Settings, SlackSettings
from data.domains import Domain
from data.store.db import Store
from data.store.errors import Invalid
from serving.client import EngineClient
from tests.bot.slack.conftest import MEMBER, QUICK, Bot, logged_words, slack_settings
from tests.conftest import ALONE
from tests.fake_slack import FakeSlack
from tests.serving.fake_vllm import FakeVllm


def made(store: Store, home: Path, slack: SlackSettings) -> front.Slack:
    settings = Settings(home=home, slack=slack, answers=ALONE)
    chat = Chat(store, EngineClient(), settings)
    return front.create(Service(settings, store, chat), QUICK)


@pytest.mark.parametrize(
    ("mode", "missing"),
    [
        ("socket", "bot_token"),
        ("socket", "app_token"),
        ("http", "bot_token"),
        ("http", "signing_secret"),
    ],
)
def test_a_missing_token_is_named(
    slack: FakeSlack, store: Store, tmp_path: Path, mode: str, missing: str
) -> None:
    given = slack_settings(slack, mode).model_copy(update={missing: SecretStr("")})
    with pytest.raises(Invalid, match=f"UNDERSTUDY_SLACK_{missing.upper()}"):
        made(store, tmp_path, given)


@pytest.mark.parametrize("wrong", ["bot_token", "app_token"])
async def test_a_wrong_token_is_named(
    slack: FakeSlack, store: Store, tmp_path: Path, wrong: str
) -> None:
    given = slack_settings(slack, "socket").model_copy(update={wrong: SecretStr("xox-wrong")})
    joining = made(store, tmp_path, given)
    with pytest.raises(Invalid, match=wrong):
        await joining.start()


async def test_joining_is_retried_while_slack_is_unreachable(
    slack: FakeSlack, store: Store, domain: Domain, tmp_path: Path
) -> None:
    slack.faults["auth.test"] += ["500"]
    joining = made(store, tmp_path, slack_settings(slack, "socket"))
    await joining.start()
    assert not joining.workspaces.accepting
    await slack.until(lambda: joining.workspaces.accepting, "the second try")
    await joining.stop()


@pytest.mark.parametrize("bot", ["socket"], indirect=True)
async def test_the_socket_reconnects_when_slack_asks_for_it(bot: Bot) -> None:
    await bot.slack.socket.ask_to_reconnect()
    await bot.slack.until(lambda: bot.slack.socket.connected_times == 2, "a new connection")
    question = await bot.slack.say(MEMBER, "DU2", "Still there?")
    await bot.slack.answer_to(question)


@pytest.fixture
def dying(slack: FakeSlack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first connection is dead from the start and never closed."""
    monkeypatch.setattr("bot.slack.app.PING_S", 0.2)
    slack.socket.dies = True


@pytest.mark.usefixtures("dying")
@pytest.mark.parametrize("bot", ["socket"], indirect=True)
async def test_a_silently_dead_socket_is_noticed(bot: Bot) -> None:
    bot.slack.socket.dies = False
    await bot.slack.until(lambda: bot.slack.socket.connected_times == 2, "a new connection")
    question = await bot.slack.say(MEMBER, "DU2", "Still there?")
    await bot.slack.answer_to(question)


def test_a_silent_socket_is_replaced_within_a_minute() -> None:
    assert 45 <= 4 * front.PING_S <= 60


async def test_the_route_exists_only_in_http_mode(bot: Bot) -> None:
    paths = ["/slack/events"] if bot.transport == "http" else []
    assert [route.path for route in bot.front.routes] == paths


async def test_stopping_twice_is_harmless(bot: Bot) -> None:
    await bot.front.stop()
    await bot.front.stop()


async def test_peoples_text_is_in_no_log_above_debug(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bot.says("whispered answer ", "and more")
    bot.slack.faults["chat.startStream"] += ["limited"]
    bot.slack.faults["chat.postMessage"] += ["500"]
    question = await bot.slack.say(MEMBER, "C1", "<@UBOT> whispered question", times=2)
    answer = await bot.slack.answer_to(question)
    await bot.slack.say(MEMBER, "C1", "whispered talk")
    await bot.slack.command(MEMBER, "C1", "ask whispered")
    await bot.slack.command(MEMBER, "C1", "whispered")
    await bot.slack.thumb(MEMBER, answer, up=False)
    view = await bot.slack.until(lambda: bot.slack.views, "the form")
    await bot.slack.submit(MEMBER, view[0], better="whispered better")
    await bot.settled()
    assert "chat.startStream" in caplog.text
    assert "whispered" not in caplog.text


async def test_the_http_application_mounts_the_route(
    slack: FakeSlack, engine: FakeVllm, store: Store, domain: Domain, tmp_path: Path
) -> None:
    from bot.app import create_app
    from data.adapters import placements

    with store.write() as db:
        placements.record_heartbeat(db, "fake", engine.url, "pocket", "ready")
    settings: Any = Settings(home=tmp_path, slack=slack_settings(slack, "socket"), answers=ALONE)
    app = create_app(settings, store)
    async with app.router.lifespan_context(app):
        question = await slack.say(MEMBER, "DU2", "Anybody?")
        assert (await slack.answer_to(question)).words == "Hello there"


async def test_text_in_a_log_would_be_noticed(
    bot: Bot, caplog: pytest.LogCaptureFixture, slack: FakeSlack
) -> None:
    """The check at the end of every bot test can fail."""
    question = await bot.slack.say(MEMBER, "DU2", "a whispered question")
    await bot.slack.answer_to(question)
    logging.getLogger("bot.slack").debug(question.text)
    assert logged_words(caplog, slack) == []
    logging.getLogger("bot.slack").info(question.text)
    assert logged_words(caplog, slack) == [question.text]
    question.text = "hush"
    slack.typed.clear()


@pytest.mark.parametrize("bot", ["socket"], indirect=True)
async def test_a_dropped_socket_neither_cuts_nor_doubles_an_answer(bot: Bot) -> None:
    bot.engine.pause_s = 0.02
    bot.says(*["word "] * 30)
    question = await bot.slack.say(MEMBER, "DU2", "Long?")
    await bot.slack.until(lambda: bot.slack.called("chat.startStream"), "the stream")
    bot.slack.socket.drop()
    await bot.slack.until(lambda: bot.slack.socket.connected_times == 2, "a new connection", 30)
    await bot.slack.announce(question, times=2)
    answer = await bot.slack.answer_to(question)
    await bot.settled()
    assert bot.slack.in_thread("DU2", question.ts) == [answer]
    assert answer.words == "word " * 30
