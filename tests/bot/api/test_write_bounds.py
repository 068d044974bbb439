"""Every route that writes: how often it may be called, and what its texts count towards.

The table names each route that is not only read. A route that is missing in it fails, and so does
one whose bound does not hold in the running service.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.answering.storage_bounds import StorageBounds
from bot.api import rate_bounds
from bot.api.rate_bounds import RateBounds, TooMany
from data import domains
from data.conversations.stored_bytes import stored_bytes
from data.feedback import feedback
from data.privacy import opt_out
from data.store.db import Store, rows
from data.store.errors import Unavailable
from tests.bot.api.test_routes import MEMBERS, OPEN, fill, routes
from tests.bot.conftest import Bot, answering
from tests.bot.console import signed_in
from tests.bot.console.test_permissions import CONSOLE
from tests.data import given
from tests.serving.fake_vllm import FakeVllm, running

TALK = {"conversation": "a1b2c3d4e5f6", "text": "What is a run?"}
ASK = {"model": "helpdesk", "messages": [{"role": "user", "content": "What is a run?"}]}
READING = {"GET", "HEAD", "OPTIONS"}

# what bounds the number of requests, a request, and whether a full store refuses it
Bounded = dict[tuple[str, str], tuple[str, dict[str, Any], bool]]
BROWSERS: Bounded = {
    ("POST", "/web/ask"): ("questions", TALK, True),
    ("POST", "/web/feedback"): ("writes", {"reply_id": "?", "reason": "x"}, True),
    ("PUT", "/web/me/learning"): ("writes", {"learning": False}, False),
    ("DELETE", "/web/me"): ("writes", {}, False),
}
KEYS: Bounded = {
    ("POST", "/v1/chat/completions"): ("admission", ASK, True),
    ("POST", "/v1/chat/answers"): ("admission", ASK, True),
    ("POST", "/v1/completions"): ("admission", {"model": "helpdesk", "prompt": "Why?"}, True),
    ("POST", "/v1/responses"): ("admission", {"model": "helpdesk", "input": "Why?"}, True),
    ("POST", "/v1/feedback"): ("key", {"reply_id": "?", "reason": "x"}, True),
    ("PUT", "/v1/people/me/learning"): ("key", {"learning": False}, False),
    ("DELETE", "/v1/people/me"): ("key", {}, False),
    ("DELETE", "/v1/responses/{response_id}"): ("key", {}, False),
}
ENCODED = {"model": "all-MiniLM-L6-v2-far-wording", "input": ["What is a run?"]}
STORE_NOTHING = {("POST", "/v1/embeddings"): ENCODED}  # the queue of `embeddings.py` bounds it


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Bot]:
    """A bot that allows one question of an address and ten writes of an address or key an hour."""
    with (
        running(FakeVllm()) as vllm,
        answering(tmp_path, vllm, web_questions_per_hour=1, key_writes_per_hour=10) as bot,
    ):
        yield bot


def browser(bot: Bot, address: str = "192.0.2.1") -> httpx.Client:
    """A browser with a session, at an address that a proxy names."""
    client = bot.http()
    client.headers["X-Forwarded-For"] = address
    client.get("/")
    return client


def test_every_route_that_writes_has_a_bound(bot: Bot) -> None:
    writing = {r for r in routes(bot) if r[0] not in READING}
    console = {r for r in writing if r[1].startswith("/console/")}
    anonymous = {r for r in writing - console if not r[1].startswith("/v1/")}
    assert anonymous == set(BROWSERS)
    assert writing & MEMBERS == set(KEYS) | set(STORE_NOTHING)
    assert not any(r in OPEN for r in writing - console)


def test_forms_of_the_console_that_need_no_reviewer_have_a_bound(strict: Bot) -> None:
    """Whether signing in succeeds or not; those of reviewers and admins are trusted with more."""
    needed = {r for r in CONSOLE if r[0] == "POST" and CONSOLE[r] == "member"}
    for number, (method, path) in enumerate([*sorted(needed), ("POST", "/console/sign-in")]):
        statuses = []
        for _ in range(rate_bounds.WRITES_EACH + 1):
            visitor = signed_in.client(strict, "member")
            visitor.headers["X-Forwarded-For"] = f"192.0.2.{number}"
            visitor.follow_redirects = False
            statuses.append(visitor.request(method, fill(path), data={"link": "x"}).status_code)
        assert 429 not in statuses[:-1], path
        assert statuses[-1] == 429, path


def test_reading_and_encoding_store_nothing(bot: Bot) -> None:
    def stored() -> Counter[str]:
        tables = rows(bot.store.db, "SELECT name FROM sqlite_schema WHERE type = 'table'")
        return Counter(
            {
                t["name"]: rows(bot.store.db, f"SELECT count(*) AS n FROM [{t['name']}]")[0]["n"]
                for t in tables
            }
        )

    page, key, before = browser(bot), bot.http("member"), stored()
    for method, path in routes(bot):
        if method == "GET":
            filled = path.replace("{conversation}", "a1b2c3d4e5f6").replace("{name}", "helpdesk")
            (key if path.startswith("/v1/") else page).get(filled)
            bot.http().get(filled)
    for route, body in STORE_NOTHING.items():
        assert key.request(*route, json=body).status_code == 200
    assert stored() == before


@pytest.mark.parametrize("route", BROWSERS, ids=" ".join)
def test_an_address_writes_so_often_whatever_its_sessions(
    strict: Bot, route: tuple[str, str]
) -> None:
    use, body, _ = BROWSERS[route]
    bound = 1 if use == "questions" else rate_bounds.WRITES_EACH
    statuses = []
    for _ in range(bound + 2):
        answer = browser(strict).request(*route, json=body)
        statuses.append(answer.status_code)
    assert 429 not in statuses[:bound]
    assert statuses[bound:] == [429, 429]
    assert 300 < int(answer.headers["retry-after"]) <= 3_600
    assert "came from your network" in answer.json()["error"]["message"]
    other = browser(strict, "192.0.2.7")
    assert other.request(*route, json=body).status_code != 429


@pytest.mark.parametrize("route", [r for r in KEYS if KEYS[r][0] == "key"], ids=" ".join)
def test_a_key_writes_so_often_whatever_its_users(strict: Bot, route: tuple[str, str]) -> None:
    _, body, _ = KEYS[route]
    statuses = []
    for number in range(12):
        user = f"u{number}"
        named = body | {"user": user} if route[1] == "/v1/feedback" else body
        client = strict.http("member", params={"user": user})
        answer = client.request(*route, json=named)
        statuses.append(answer.status_code)
    assert 429 not in statuses[:10]
    assert statuses[10:] == [429, 429]
    assert 300 < int(answer.headers["retry-after"]) <= 3_600
    assert "with this key" in answer.json()["error"]["message"]
    assert strict.http("admin").request(*route, json=body).status_code != 429


def test_a_full_store_refuses_texts_and_lets_people_erase_theirs(tmp_path: Path) -> None:
    with (
        running(FakeVllm()) as vllm,
        answering(tmp_path, vllm, web_storage_mib=1, key_storage_mib=1) as bot,
    ):
        for who in ("web:1", "http:9"):
            reply = bot.write(lambda db, who=who: given.reply(db, bot.domain, who, "Why?", "So."))
            for number in range(140):  # reasons that replace each other, 8,000 bytes each
                text = f"{number} {'w' * 7_990}"
                bot.write(lambda db, r=reply, w=who, t=text: feedback.reason(db, r, w, t))
        page, key = browser(bot), bot.http("member")
        for client, table in ((page, BROWSERS), (key, KEYS)):
            for route, (_, body, refused) in table.items():
                answer = client.request(*route, json=body)
                assert (answer.status_code == 503) == refused, (route, answer.text)
                assert answer.status_code in (200, 404, 503), (route, answer.text)


@pytest.mark.parametrize(("who", "setting"), [("web:1", "web"), ("http:1", "key")])
@pytest.mark.parametrize("what", ["reason", "correction", "thumb"])
async def test_what_was_replaced_counts(store: Store, who: str, setting: str, what: str) -> None:
    with store.write() as db:
        subject = domains.create(db, "helpdesk")
        reply = given.reply(db, subject, who, "Why?", "So.")
        before = stored_bytes(db)[0][who.partition(":")[0]]
        for number in range(600):
            text = f"{number} {'w' * 1_800}"
            if what == "reason":
                feedback.reason(db, reply, who, text)
            elif what == "correction":
                feedback.correction(db, reply, who, text)
            else:
                feedback.thumb(db, reply, who, up=number % 2 == 0)
        added = stored_bytes(db)[0][who.partition(":")[0]] - before
    assert added >= 600 * (100 if what == "thumb" else 1_800)
    bounds = StorageBounds(store, web_mib=1, key_mib=1)
    if what == "thumb":
        await bounds.check(who)
    else:
        with pytest.raises(Unavailable, match=f"{setting}_storage_mib"):
            await bounds.check(who)
    await bounds.check("http:2" if setting == "web" else "web:2")
    await bounds.check("slack:T1/U1")


def test_saying_the_same_again_stores_nothing(store: Store) -> None:
    with store.write() as db:
        subject = domains.create(db, "helpdesk")
        reply = given.reply(db, subject, "web:1", "Why?", "So.")
        for _ in range(20):
            feedback.reason(db, reply, "web:1", "Wrong.")
            feedback.correction(db, reply, "web:1", "Because.")
            feedback.thumb(db, reply, "web:1", up=False)
            opt_out.opt_out(db, "http:1")
        kinds = [r["kind"] for r in rows(db, "SELECT kind FROM feedback ORDER BY id")]
        assert kinds == ["reason", "correction", "thumb"]
        assert stored_bytes(db)[0]["http"] == 200


async def test_a_long_text_counts_as_several_writes(store: Store) -> None:
    bounds = RateBounds(store, questions=1, key_writes=10)
    await bounds.write("192.0.2.1", size=8_000)
    with pytest.raises(TooMany) as refused:
        await bounds.write("192.0.2.1", size=8_000)
    assert 6 * 360 - 5 < refused.value.retry_after <= 6 * 360 + 1
    for _ in range(2):
        await bounds.write("192.0.2.1", size=30)
    with pytest.raises(TooMany):
        await bounds.write("192.0.2.1", size=30)
    await bounds.key_write(1, size=1_000_000), "never more than a full bucket"


def test_an_ordinary_person_is_never_refused(bot: Bot) -> None:
    """They vote, change their minds, and write a reason and a correction, for all 600 questions
    that their address may ask: ten writes each."""
    page, key = browser(bot), bot.http("member")
    for client, path, question in (
        (page, "/web/feedback", "/web/ask"),
        (key, "/v1/feedback", "/v1/chat/completions"),
    ):
        answer = client.post(question, json=TALK if client is page else ASK)
        assert answer.status_code == 200
        reply = bot.wait_closed(1 if client is page else 2)[-1].id
        for number in range(3):
            for said in (
                {"thumb": "down"},
                {"reason": f"Too short {number}."},
                {"correction": f"A run is a tuning job, {number}."},
                {"thumb": "up"},
                {"helped": "no"},
                {"helped": "yes"},
            ):
                assert client.post(path, json={"reply_id": reply} | said).status_code == 201


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "understudy.db") as opened:
        yield opened
