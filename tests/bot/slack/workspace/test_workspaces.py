"""Several workspaces in one bot: installation through OAuth, encrypted tokens, and uninstalls."""

import asyncio
import contextlib
import time
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr
from starlette.requests import Request

from bot.answering.chat import Chat
from bot.service import Service
from bot.slack import app as front
from bot.slack.client.token_encryption import TokenEncryption, new_key
from bot.slack.inbound import oauth
from bot.slack.workspace.manifest import INSTALL_PATH, PATH, REDIRECT_PATH, scopes
from data.config.settings import BotSettings, Settings, SlackSettings
from data.domains import Domain
from data.slack import installations
from data.store.db import Store
from data.store.errors import Invalid
from serving.client import EngineClient
from tests.bot.slack.conftest import MEMBER, QUICK, Bot, serving, slack_settings
from tests.conftest import ALONE
from tests.fake_slack import FakeSlack
from tests.fake_slack.transports import SignedHttp
from tests.fake_slack.workspace import CLIENT_ID, CLIENT_SECRET, Message
from tests.serving.fake_vllm import HANG, FakeVllm, words

KEY, OTHER_KEY = new_key(), new_key()


def open_to_all(slack: FakeSlack, **more: Any) -> SlackSettings:
    """Settings of a bot that workspaces can install, without a token of its own."""
    given = {
        "bot_token": SecretStr(""),
        "client_id": CLIENT_ID,
        "client_secret": SecretStr(CLIENT_SECRET),
        "token_key": SecretStr(KEY),
        **more,
    }
    return slack_settings(slack, "http").model_copy(update=given)


def made(
    store: Store, home: Path, slack: SlackSettings, client: EngineClient | None = None
) -> front.Slack:
    settings = Settings(
        home=home, slack=slack, bot=BotSettings(answer_timeout_s=5, engine_wait_s=0), answers=ALONE
    )
    chat = Chat(store, client or EngineClient(), settings)
    return front.create(Service(settings, store, chat), QUICK, follow_s=0.05)


class Browser:
    """The browser of a person who installs the bot."""

    def __init__(self, bot: str) -> None:
        self.bot = bot
        self.cookies: dict[str, str] = {}

    async def get(self, path: str, **query: str) -> tuple[int, str, dict[str, list[str]]]:
        """Status, body, and the query of the redirect URL."""
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(
                self.bot + path, params=query, cookies=self.cookies, allow_redirects=False
            ) as response,
        ):
            for name, cookie in response.cookies.items():
                self.cookies[name] = cookie.value
            sent_to = urllib.parse.urlsplit(response.headers.get("Location", ""))
            return response.status, await response.text(), urllib.parse.parse_qs(sent_to.query)

    async def install(self, slack: FakeSlack, team: str) -> tuple[int, str]:
        """From the install page through Slack's page and back."""
        _, _, asked = await self.get(INSTALL_PATH)
        slack.codes[f"code of {team}"] = team
        status, page, _ = await self.get(
            REDIRECT_PATH, code=f"code of {team}", state=asked["state"][0]
        )
        return status, page


@pytest.fixture
async def open_bot(
    slack: FakeSlack, engine: FakeVllm, store: Store, domain: Domain, tmp_path: Path
) -> AsyncIterator[Bot]:
    """A bot that workspaces can install; none has yet."""
    client = EngineClient()
    joined = made(store, tmp_path, open_to_all(slack), client)
    bot = Bot(slack, engine, store, joined, joined.service.settings, domain, "http")
    bot.beat()
    await joined.start()
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(lambda: bot.front))
        slack.transport = SignedHttp(url + PATH)
        yield bot
        await bot.front.stop()
        await client.close()


@pytest.fixture
def browser(open_bot: Bot) -> Browser:
    assert isinstance(open_bot.slack.transport, SignedHttp)
    return Browser(open_bot.slack.transport.url.removesuffix(PATH))


async def ask(bot: Bot, team: str, text: str = "Where?") -> Message:
    """A direct message in that workspace."""
    slack = bot.slack
    message = slack.add(Message("DU2", slack.next_ts(), MEMBER, text))
    event = {"type": "message", "channel": "DU2", "user": MEMBER, "text": text, "ts": message.ts}
    await slack.event(event, team=team)
    return message


async def leave(bot: Bot, team: str, kind: str, times: int = 1, **more: Any) -> None:
    bot.slack.revoke(team)
    await bot.slack.event({"type": kind, **more}, times, team=team)


def idle(bot: Bot) -> bool:
    running = bot.front.workspaces.shared.tasks.running
    return not running and not bot.rows("SELECT 1 FROM questions WHERE state <> 'done'")


# -- installing ----------------------------------------------------------------------------------


async def test_the_install_page_asks_slack_for_the_scopes_of_the_manifest(
    open_bot: Bot, browser: Browser
) -> None:
    status, _, asked = await browser.get(INSTALL_PATH)
    assert status == 302
    assert asked["client_id"] == [CLIENT_ID]
    assert asked["scope"] == [",".join(scopes())]


async def test_each_workspace_is_answered_with_its_own_token(
    open_bot: Bot, browser: Browser
) -> None:
    slack = open_bot.slack
    for team in ("T1", "T2"):
        status, page = await browser.install(slack, team)
        assert (status, page) == (
            200,
            f"Understudy is installed in Workspace {team}. Send it a message in Slack.",
        )
    slack.calls.clear()
    for team in ("T2", "T1"):
        slack.calls.clear()
        answer = await slack.answer_to(await ask(open_bot, team))
        await slack.until(lambda: idle(open_bot), "the end")
        assert answer.user == slack.bot_of(team)
        assert {call.team for call in slack.calls} == {team}
    people = [r["person"] for r in open_bot.rows("SELECT person FROM replies ORDER BY created_at")]
    assert people == [f"slack:T2/{MEMBER}", f"slack:T1/{MEMBER}"]


async def test_the_tokens_survive_a_restart(open_bot: Bot, browser: Browser) -> None:
    await browser.install(open_bot.slack, "T2")
    await open_bot.front.stop()
    open_bot.front = front.create(open_bot.front.service, QUICK, follow_s=0.05)
    await open_bot.front.start()
    await open_bot.slack.answer_to(await ask(open_bot, "T2"))


async def test_no_token_is_stored_in_plain_text(
    open_bot: Bot, browser: Browser, tmp_path: Path
) -> None:
    await browser.install(open_bot.slack, "T2")
    (token,) = (t for t, team in open_bot.slack.tokens.items() if team == "T2")
    open_bot.store.db.execute("PRAGMA wal_checkpoint")
    files = b"".join(p.read_bytes() for p in tmp_path.glob("understudy.db*"))
    assert b"Workspace T2" in files
    assert token.encode() not in files
    sealed = open_bot.row("SELECT token FROM slack_installations")["token"]
    assert TokenEncryption(KEY).open(sealed, "T2") == token


@pytest.mark.parametrize(
    "forged", ["", "no state", "kein Wört", "cookie", "other cookie", "other key"]
)
async def test_an_installation_from_another_browser_is_refused(
    open_bot: Bot, browser: Browser, forged: str
) -> None:
    _, _, asked = await browser.get(INSTALL_PATH)
    state = asked["state"][0]
    if forged == "cookie":
        browser.cookies.clear()
    elif forged == "other cookie":
        browser.cookies[oauth.COOKIE] = "another word"
    elif forged == "other key":
        state = TokenEncryption(OTHER_KEY).seal(browser.cookies[oauth.COOKIE])
    else:
        state = forged
    open_bot.slack.codes["code"] = "T2"
    status, page, _ = await browser.get(REDIRECT_PATH, code="code", state=state)
    assert (status, page) == (400, oauth.EXPIRED)
    assert open_bot.slack.codes == {"code": "T2"}
    assert installations.list_installations(open_bot.store.db) == []


@pytest.mark.parametrize("prefix", ["", "/bot"])
def test_the_cookie_comes_back_behind_a_proxy_that_strips_a_path(prefix: str) -> None:
    request = Request({"type": "http", "state": {"prefix": prefix}})

    assert oauth._cookie_path(request) == f"{prefix}/slack"


async def test_an_expired_installation_is_refused(open_bot: Bot, browser: Browser) -> None:
    encryption = open_bot.front.workspaces.encryption
    await browser.get(INSTALL_PATH)
    long_ago = int(time.time()) - oauth.EXPIRES_S - 1
    word = browser.cookies[oauth.COOKIE].encode()
    state = encryption._fernet.encrypt_at_time(word, long_ago).decode()
    status, page, _ = await browser.get(REDIRECT_PATH, code="code", state=state)
    assert (status, page) == (400, oauth.EXPIRED)


async def test_a_cancelled_installation_installs_nothing(open_bot: Bot, browser: Browser) -> None:
    _, _, asked = await browser.get(INSTALL_PATH)
    status, page, _ = await browser.get(
        REDIRECT_PATH, error="access_denied", state=asked["state"][0]
    )
    assert (status, page) == (200, "Nothing was installed.")


async def test_an_invalid_code_is_explained(open_bot: Bot, browser: Browser) -> None:
    _, _, asked = await browser.get(INSTALL_PATH)
    status, page, _ = await browser.get(REDIRECT_PATH, code="used", state=asked["state"][0])
    assert (status, page) == (502, "Slack did not accept the installation (invalid_code).")
    assert installations.list_installations(open_bot.store.db) == []


async def test_a_workspace_that_is_not_allowed_gets_no_installation(
    open_bot: Bot, browser: Browser
) -> None:
    service = open_bot.front.service
    limited = service.settings.slack.model_copy(update={"workspaces": ("T1",)})
    settings = service.settings.model_copy(update={"slack": limited})
    await open_bot.front.stop()
    open_bot.front = front.create(Service(settings, service.store, service.chat), QUICK)
    await open_bot.front.start()
    assert await browser.install(open_bot.slack, "T2") == (
        403,
        "The workspace Workspace T2 is not allowed to install this bot.",
    )
    assert "T2" not in open_bot.slack.tokens.values()
    assert (await browser.install(open_bot.slack, "T1"))[0] == 200


@pytest.mark.parametrize(
    ("granted", "sentence"),
    [
        ({"is_enterprise_install": True, "team": None}, "a single workspace"),
        ({"refresh_token": "xoxe-1"}, "token rotation"),
    ],
)
async def test_an_unusable_token_is_revoked(
    open_bot: Bot, browser: Browser, granted: dict[str, Any], sentence: str
) -> None:
    open_bot.slack.granted = granted
    status, page = await browser.install(open_bot.slack, "T2")
    assert status == 502
    assert sentence in page
    assert "T2" not in open_bot.slack.tokens.values()
    assert installations.list_installations(open_bot.store.db) == []


@pytest.mark.parametrize("bot", ["http"], indirect=True)
async def test_without_a_client_id_there_are_no_install_routes(bot: Bot) -> None:
    assert isinstance(bot.slack.transport, SignedHttp)
    browser = Browser(bot.slack.transport.url.removesuffix(PATH))
    for path in (INSTALL_PATH, REDIRECT_PATH):
        assert (await browser.get(path))[0] == 404


# -- uninstalling --------------------------------------------------------------------------------


LEAVING: list[tuple[str, dict[str, Any]]] = [
    ("app_uninstalled", {}),
    ("tokens_revoked", {"tokens": {"oauth": [], "bot": ["UBOTT2"]}}),
]


@pytest.mark.parametrize(("kind", "more"), LEAVING)
async def test_after_an_uninstall_nobody_is_answered_and_the_token_is_deleted(
    open_bot: Bot, browser: Browser, kind: str, more: dict[str, Any]
) -> None:
    for team in ("T1", "T2"):
        await browser.install(open_bot.slack, team)
    await leave(open_bot, "T2", kind, times=2, **more)
    assert [found.team for found in installations.list_installations(open_bot.store.db)] == ["T1"]
    await ask(open_bot, "T2")
    await open_bot.slack.answer_to(await ask(open_bot, "T1"))
    assert len(open_bot.engine.asked) == 1


async def test_an_uninstall_stops_an_answer_in_progress(open_bot: Bot, browser: Browser) -> None:
    await browser.install(open_bot.slack, "T2")
    open_bot.engine.say = lambda body: [*words(body["model"], "Half ", "an ", "answer ")[:3], HANG]
    await ask(open_bot, "T2")
    await open_bot.slack.until(lambda: open_bot.slack.called("chat.startStream"), "the stream")
    await ask(open_bot, "T2", "And then?")
    await leave(open_bot, "T2", "app_uninstalled")
    await open_bot.slack.until(lambda: idle(open_bot), "the end")
    await open_bot.slack.until(lambda: open_bot.engine.broken_off, "the engine to be stopped")
    assert open_bot.rows("SELECT 1 FROM questions WHERE text <> ''") == []
    assert open_bot.rows("SELECT 1 FROM replies WHERE status = 'streaming'") == []
    assert len(open_bot.engine.asked) == 1


async def test_a_revoked_user_token_is_ignored(open_bot: Bot, browser: Browser) -> None:
    await browser.install(open_bot.slack, "T2")
    revoked = {"type": "tokens_revoked", "tokens": {"oauth": ["U9"], "bot": []}}
    await open_bot.slack.event(revoked, team="T2")
    await open_bot.slack.answer_to(await ask(open_bot, "T2"))


async def test_a_late_uninstall_event_does_not_undo_a_newer_installation(
    open_bot: Bot, browser: Browser
) -> None:
    await browser.install(open_bot.slack, "T2")
    body = {
        "type": "event_callback",
        "team_id": "T2",
        "event_id": "EvLate",
        "event_time": int(time.time()) - 30,
        "event": {"type": "app_uninstalled"},
    }
    await open_bot.slack.transport.send("events_api", body, 1, "timeout")
    await open_bot.slack.answer_to(await ask(open_bot, "T2"))


async def restarted(bot: Bot) -> list[str]:
    """Restart the bot; returns the workspaces whose tokens are still stored."""
    await bot.front.stop()
    bot.front = front.create(bot.front.service, QUICK, follow_s=0.05)
    await bot.front.start()
    await bot.slack.until(lambda: idle(bot), "the tokens to be tried")
    return [found.team for found in installations.list_installations(bot.store.db)]


async def test_a_token_revoked_while_the_bot_was_stopped_is_deleted(
    open_bot: Bot, browser: Browser
) -> None:
    for team in ("T1", "T2"):
        await browser.install(open_bot.slack, team)
    open_bot.slack.revoke("T2")  # without an event
    open_bot.slack.faults["auth.test"] += ["500", "500"]  # which says nothing about a token
    assert await restarted(open_bot) == ["T1", "T2"]
    assert await restarted(open_bot) == ["T1"]
    assert open_bot.front.workspaces.of_team("T2") is None
    await open_bot.slack.answer_to(await ask(open_bot, "T1"))


async def test_after_a_reinstall_people_are_answered_again(open_bot: Bot, browser: Browser) -> None:
    await browser.install(open_bot.slack, "T2")
    await leave(open_bot, "T2", "app_uninstalled")
    await asyncio.sleep(0)
    await browser.install(open_bot.slack, "T2")
    await open_bot.slack.answer_to(await ask(open_bot, "T2"))


async def test_the_workspace_in_the_settings_can_uninstall_too(bot: Bot) -> None:
    await bot.slack.event({"type": "app_uninstalled"})
    await ask(bot, "T1")
    assert bot.rows("SELECT 1 FROM questions") == []
    assert bot.slack.from_bot() == []


async def test_an_uninstall_of_another_workspace_is_no_problem(
    open_bot: Bot, browser: Browser
) -> None:
    await browser.install(open_bot.slack, "T2")
    revoked = {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": ["UBOTT2"]}}
    await open_bot.slack.event(revoked, team="T2")
    await leave(open_bot, "T2", "app_uninstalled")
    assert open_bot.rows("SELECT * FROM slack_problems") == []


async def test_requests_from_an_unknown_workspace_are_ignored(open_bot: Bot) -> None:
    await ask(open_bot, "T9")
    assert (await open_bot.slack.command(MEMBER, "C1", "status")).status == 200
    assert {ack.status for ack in open_bot.slack.acks} == {200}
    assert open_bot.rows("SELECT 1 FROM questions") == []
    assert open_bot.slack.calls == []


# -- settings and keys ---------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["signing_secret", "client_secret", "token_key"])
def test_a_missing_secret_is_named(
    slack: FakeSlack, store: Store, tmp_path: Path, missing: str
) -> None:
    with pytest.raises(Invalid, match=f"UNDERSTUDY_SLACK_{missing.upper()}"):
        made(store, tmp_path, open_to_all(slack, **{missing: SecretStr("")}))


def test_nobody_can_install_the_bot_over_socket_mode(
    slack: FakeSlack, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match="only with mode"):
        made(store, tmp_path, open_to_all(slack, mode="socket"))


def test_an_invalid_key_is_explained(slack: FakeSlack, store: Store, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="understudy slack key"):
        made(store, tmp_path, open_to_all(slack, token_key=SecretStr("secret")))


def test_a_new_key_encrypts_while_the_old_one_still_decrypts() -> None:
    sealed = TokenEncryption(KEY).seal("xoxb-1")
    assert TokenEncryption(f"{OTHER_KEY}, {KEY}").open(sealed, "T1") == "xoxb-1"
    with pytest.raises(Invalid, match="workspace T1 was encrypted with another"):
        TokenEncryption(OTHER_KEY).open(sealed, "T1")


async def test_a_start_with_a_new_key_reencrypts_the_tokens(
    open_bot: Bot, browser: Browser, tmp_path: Path
) -> None:
    await browser.install(open_bot.slack, "T2")
    for keys in (f"{OTHER_KEY},{KEY}", OTHER_KEY):
        settings = open_to_all(open_bot.slack, token_key=SecretStr(keys))
        again = made(open_bot.store, tmp_path, settings)
        await again.start()
        assert again.workspaces.of_team("T2") is not None
        await again.stop()


async def test_with_a_wrong_key_the_bot_names_the_workspace(
    open_bot: Bot, browser: Browser, tmp_path: Path
) -> None:
    await browser.install(open_bot.slack, "T2")
    again = made(
        open_bot.store, tmp_path, open_to_all(open_bot.slack, token_key=SecretStr(OTHER_KEY))
    )
    with pytest.raises(Invalid, match="T2"):
        await again.start()
