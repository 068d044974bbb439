"""Sessions are issued here, and anonymous people cannot lock out the others."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bot.answering import storage_bounds
from bot.answering.admission import Admission, TooBusy
from bot.answering.storage_bounds import StorageBounds
from bot.api import auth
from bot.api.rate_bounds import RateBounds, TooMany
from data import domains
from data.conversations import web_allowances
from data.feedback import feedback
from data.people.keys import create
from data.store.db import Store, rows
from data.store.errors import Conflict, Unavailable
from tests.bot.conftest import Bot, answering
from tests.data import given
from tests.serving.fake_vllm import FakeVllm, running, words

QUESTION = {"conversation": "a1b2c3d4e5f6", "text": "What is a run?"}
ASK = {"model": "helpdesk", "messages": [{"role": "user", "content": "What is a run?"}]}


@pytest.fixture
def bot_settings() -> dict[str, Any]:
    return {"max_in_flight": 8, "max_waiting": 32, "answer_timeout_s": 60}


# Sessions


@pytest.mark.parametrize("invented", ["A" * 43, "A" * 43 + "." + "0" * 32, "", "x"])
def test_an_invented_session_is_none(bot: Bot, invented: str) -> None:
    for name in (auth.COOKIE, f"__Host-{auth.COOKIE}"):
        browser = bot.http(cookies={name: invented})
        assert browser.post("/web/ask", json=QUESTION).status_code == 401
        assert "set-cookie" in browser.get("/").headers
    assert bot.replies() == []


def test_over_https_no_other_host_can_set_the_cookie(bot: Bot) -> None:
    answer = bot.http().get("/", headers={"X-Forwarded-Proto": "https"})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"__Host-{auth.COOKIE}=")
    assert "Path=/;" in cookie
    assert "Secure" in cookie
    assert "Domain" not in cookie


@pytest.mark.parametrize("bot_settings", [{"trusted_proxies": []}])
def test_only_a_trusted_proxy_says_that_it_is_https(bot: Bot) -> None:
    answer = bot.http().get("/", headers={"X-Forwarded-Proto": "https"})
    assert answer.headers["set-cookie"].startswith(f"{auth.COOKIE}=")
    assert "Secure" not in answer.headers["set-cookie"]


def test_over_https_a_planted_cookie_is_no_session(bot: Bot) -> None:
    """A sibling host can set a cookie for the whole domain, but none that begins with `__Host-`."""
    https = {"X-Forwarded-Proto": "https"}
    planted = bot.http().get("/").headers["set-cookie"].split(";")[0].partition("=")[2]
    visitor = bot.http(cookies={auth.COOKIE: planted})
    assert f"__Host-{auth.COOKIE}" in visitor.get("/", headers=https).headers["set-cookie"]
    visitor = bot.http(cookies={auth.COOKIE: planted})
    assert visitor.post("/web/ask", json=QUESTION, headers=https).status_code == 401
    assert visitor.post("/web/ask", json=QUESTION).status_code == 200


def test_a_session_from_before_signatures_works_on_if_something_was_asked(bot: Bot) -> None:
    old = "B" * 43
    browser = bot.http(cookies={auth.COOKIE: old})
    assert browser.post("/web/ask", json=QUESTION).status_code == 401
    person = f"web:{auth.hashlib.sha256(old.encode()).hexdigest()[:24]}"
    bot.write(lambda db: given.reply(db, domains.get(db, "helpdesk"), person, "Why?", "So."))
    assert browser.post("/web/ask", json=QUESTION).status_code == 200


# The attack: 400 questions at once, under invented cookies and under issued ones


async def _flood(bot: Bot, sessions: list[str]) -> tuple[list[int], list[int]]:
    """The statuses of the attackers and of the honest key, who asks meanwhile."""
    headers = {"Authorization": f"Bearer {bot.secrets['member']}"}
    limits = httpx.Limits(max_connections=500)
    async with httpx.AsyncClient(
        base_url=bot.url, timeout=60, limits=limits, verify=False
    ) as client:

        async def attack(number: int, session: str) -> int:
            named = {"X-Forwarded-For": f"192.0.2.{number % 8}"}
            cookie = {"Cookie": f"{auth.COOKIE}={session}"}
            answer = await client.post("/web/ask", json=QUESTION, headers=cookie | named)
            return answer.status_code

        flood = [asyncio.create_task(attack(n, s)) for n, s in enumerate(sessions)]
        await asyncio.sleep(0.5)
        honest = []
        for _ in range(6):
            asked = [
                client.post("/v1/chat/completions", json=ASK, headers=headers) for _ in range(4)
            ]
            honest += [answer.status_code for answer in await asyncio.gather(*asked)]
        return list(await asyncio.gather(*flood)), honest


def test_invented_cookies_lock_out_nobody(bot: Bot) -> None:
    bot.vllm.pause_s = 0.02
    attackers, honest = asyncio.run(_flood(bot, [f"{n:043d}" for n in range(100)]))
    assert honest == [200] * 24
    assert set(attackers) <= {401, 429}


def test_issued_sessions_lock_out_nobody(bot: Bot) -> None:
    bot.vllm.pause_s = 0.02
    bot.vllm.say = lambda body: words(body["model"], *["word "] * 20)
    with bot.http() as browser:
        sessions = []
        for _ in range(400):
            browser.cookies.clear()
            sessions.append(browser.get("/").cookies[auth.COOKIE])
    attackers, honest = asyncio.run(_flood(bot, sessions))
    assert honest == [200] * 24
    assert set(attackers) == {200, 429}, "some are answered, and some are told to come back"


def test_another_key_with_invented_users_locks_out_nobody(bot: Bot) -> None:
    bot.vllm.pause_s = 0.02
    bot.vllm.say = lambda body: words(body["model"], *["word "] * 20)
    hostile = bot.write(lambda db: create(db, "hostile", "member", "test"))[1]
    honest_key = bot.secrets["member"]

    async def both() -> list[int]:
        limits = httpx.Limits(max_connections=500)
        async with httpx.AsyncClient(
            base_url=bot.url, timeout=60, limits=limits, verify=False
        ) as client:

            async def ask(key: str, user: str) -> int:
                headers = {"Authorization": f"Bearer {key}"}
                body = ASK | {"user": user}
                return (
                    await client.post("/v1/chat/completions", json=body, headers=headers)
                ).status_code

            flood = [asyncio.create_task(ask(hostile, f"u{n}")) for n in range(80)]
            await asyncio.sleep(0.5)
            honest = [await ask(honest_key, "ann") for _ in range(10)]
            await asyncio.gather(*flood)
            return honest

    assert asyncio.run(both()) == [200] * 10


# Admission by class


async def test_each_class_has_reserved_slots_and_room() -> None:
    admission = Admission(8, 8, ("member", "key", "web"))
    tasks = [
        asyncio.ensure_future(admission.enter(f"web:{n}", ["a"], address=f"192.0.2.{n}"))
        for n in range(40)
    ]
    await asyncio.sleep(0)
    assert (admission.running, admission.waiting) == (6, 4)  # the rest was refused
    assert await admission.enter("http:1", ["a"]) == "a"
    assert await admission.enter("slack:T1/U1", ["a"]) == "a"
    waiting = [asyncio.ensure_future(admission.enter(f"http:1/{n}", ["a"])) for n in range(2)]
    waiting += [asyncio.ensure_future(admission.enter(f"user:{n}", ["a"])) for n in range(2)]
    await asyncio.sleep(0)
    assert admission.waiting == 8
    for task in (*tasks, *waiting):
        task.cancel()
    refused = [
        r for r in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(r, TooBusy)
    ]
    assert len(refused) == 30
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_classes_then_keys_and_addresses_take_turns() -> None:
    admission = Admission(1, 100)
    await admission.enter("slack:T1/U0", ["a"])
    order: list[str] = []

    async def one(person: str, address: str = "") -> None:
        await admission.enter(person, ["a"], address=address)
        order.append(person)
        admission.leave(person, "a")

    tasks = [asyncio.ensure_future(one(f"web:{n}", "192.0.2.1")) for n in range(4)]
    tasks += [asyncio.ensure_future(one("web:z", "192.0.2.2"))]
    tasks += [asyncio.ensure_future(one(f"http:1/{n}")) for n in range(3)]
    tasks += [asyncio.ensure_future(one("http:2"))]
    await asyncio.sleep(0)
    admission.leave("slack:T1/U0", "a")
    await asyncio.gather(*tasks)
    assert order[:4] == ["web:0", "http:1/0", "web:z", "http:2"]


# What an address may ask, and what is stored


async def test_an_address_may_ask_so_much_in_an_hour(store: Store) -> None:
    bounds = RateBounds(store, questions=3, key_writes=3)
    for _ in range(3):
        await bounds.question("192.0.2.1")
    for _ in range(2):
        with pytest.raises(TooMany) as refused:
            await bounds.question("192.0.2.1")
        assert 1_100 < refused.value.retry_after <= 1_201
    await bounds.question("192.0.2.2")


async def test_an_hour_is_that_of_all_bot_processes_and_outlives_them(store: Store) -> None:
    for _ in range(3):  # each with the counts of a process that has just started
        await RateBounds(store, questions=3, key_writes=3).question("2001:db8:1:2::1")
    with pytest.raises(TooMany):
        await RateBounds(store, questions=3, key_writes=3).question("2001:db8:1:2::9")
    kept = rows(store.db, "SELECT address FROM web_allowances")
    assert len(kept) == 1
    assert "2001" not in kept[0]["address"], "a digest"


def test_an_allowance_grows_with_time_and_is_forgotten_when_it_is_full(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 10 * web_allowances.HOUR_US
    monkeypatch.setattr(web_allowances, "now_us", lambda: now)
    monkeypatch.setattr(web_allowances, "MAX_ADDRESSES", 2)
    with store.write() as db:
        assert [web_allowances.take(db, "questions", "a", 2) for _ in range(2)] == [0, 0]
        half = web_allowances.HOUR_US // 2
        assert web_allowances.take(db, "questions", "a", 2) == half + 1
        now += half + 1
        assert web_allowances.take(db, "questions", "a", 2) == 0
        assert web_allowances.take(db, "questions", "a", 2) > half - 10
        now -= web_allowances.HOUR_US  # the clock was set back
        assert web_allowances.take(db, "questions", "a", 2) > half - 10
        now += 3 * web_allowances.HOUR_US
        assert web_allowances.take(db, "questions", "192.0.2.1", 2) == 0
        assert len(rows(db, "SELECT 1 FROM web_allowances")) == 1
        for n in range(2, 5):
            now += 1
            web_allowances.take(db, "questions", f"192.0.2.{n}", 2)
        assert len(rows(db, "SELECT 1 FROM web_allowances")) == 2


@pytest.mark.parametrize(
    ("kind", "setting"), [("web:", "web_storage_mib"), ("http:1/", "key_storage_mib")]
)
async def test_each_class_stores_so_many_bytes(store: Store, kind: str, setting: str) -> None:
    with store.write() as db:
        subject = domains.create(db, "helpdesk")
        given.reply(db, subject, f"{kind}1", "\u00e9" * 300_000, "a" * 500_000)
    bounds = StorageBounds(store, web_mib=1, key_mib=1)
    with pytest.raises(Unavailable, match=setting):
        await bounds.check(f"{kind}2")
    for other in {"web:3", "http:2", "slack:T1/U1"} - {f"{kind.rstrip('1/')}3", f"{kind[:4]}:2"}:
        await bounds.check(other)


async def test_whoever_asks_during_the_first_count_waits_for_it(store: Store) -> None:
    with store.write() as db:
        given.reply(db, domains.create(db, "helpdesk"), "web:1", "w" * 1_100_000, "No.")
    bounds = StorageBounds(store, web_mib=1, key_mib=1)

    checks = await asyncio.gather(
        *(bounds.check(f"web:{number}") for number in range(3)), return_exceptions=True
    )

    assert [type(error) for error in checks] == [Unavailable] * 3


async def test_what_is_new_is_added_and_what_was_erased_makes_room(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = StorageBounds(store, web_mib=1, key_mib=1)
    with store.write() as db:
        subject = domains.create(db, "helpdesk")
        given.reply(db, subject, "web:1", "w" * 600_000, "No.")
    await bounds.check("web:1")
    with store.write() as db:
        given.reply(db, subject, "web:1", "w" * 600_000, "No.")
    await bounds.check("web:1")  # not looked up again at once
    monkeypatch.setattr(storage_bounds, "LOOK_EVERY_S", 0.0)
    with pytest.raises(Unavailable):
        await bounds.check("web:1")
    with store.write() as db:
        db.execute("DELETE FROM messages")
    with pytest.raises(Unavailable):
        await bounds.check("web:1")
    monkeypatch.setattr(storage_bounds, "RECOUNT_EVERY_S", 0.0)
    await bounds.check("web:1")


def test_a_full_store_refuses_keys_and_browsers(tmp_path: Any) -> None:
    with (
        running(FakeVllm()) as vllm,
        answering(tmp_path, vllm, web_storage_mib=1, key_storage_mib=1) as bot,
    ):
        bot.write(lambda db: given.reply(db, bot.domain, "web:1", "w" * 1_100_000, "No."))
        bot.write(lambda db: given.reply(db, bot.domain, "http:1", "w" * 1_100_000, "No."))
        stored = len(bot.replies())
        browser = bot.http()
        browser.get("/")
        asked = [
            browser.post("/web/ask", json=QUESTION),
            bot.http("member").post("/v1/chat/completions", json=ASK),
            bot.http("member").post("/v1/chat/answers", json=ASK),
        ]
        assert [answer.status_code for answer in asked] == [503] * 3
        assert "stored as many" in asked[0].text
        assert len(bot.replies()) == stored


@pytest.fixture
def store(tmp_path: Any) -> Any:
    with Store(tmp_path / "understudy.db") as opened:
        yield opened


def test_invented_people_cannot_bury_the_corrections_of_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(feedback.MAX_PENDING, "web", 2)
    with store.write() as db:
        subject = domains.create(db, "helpdesk")
        replies = [given.reply(db, subject, f"web:{n}", f"Q{n}?", "A.") for n in range(3)]
        for number in range(2):
            feedback.correction(db, replies[number], f"web:{number}", f"Better {number}.")
        with pytest.raises(Conflict, match="waiting for review"):
            feedback.correction(db, replies[2], "web:2", "Better 2.")
        other = given.reply(db, subject, "slack:T1/U1", "Q?", "A.")
        assert feedback.correction(db, other, "slack:T1/U1", "Better.").pair_id


# Host names


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost:8080", True),
        ("chat.localhost", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("192.168.1.20", True),
        ("bot.example.com", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("[", False),
        ("", False),
    ],
)
def test_the_web_chat_is_served_under_known_names(named: Bot, host: str, served: bool) -> None:
    browser = named.http()
    browser.get("/")
    for path in ("/", "/web/domains", "/web/me", "/web/chat.js"):
        answer = browser.get(path, headers={"Host": host})
        assert (answer.status_code < 400) == served, path
    assert named.http("member").get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    """A bot with a public name."""
    home = tmp_path_factory.mktemp("named")
    with (
        running(FakeVllm()) as vllm,
        answering(home, vllm, allowed_hosts=("Bot.example.com",)) as bot,
    ):
        yield bot
