"""The routes of the web chat: sessions, asking, judging, and who may not."""

import json
from typing import Any

import httpx
import pytest

from data.feedback import feedback
from tests.bot.conftest import Bot
from tests.serving.fake_vllm import CUT, words

TALK = "a1b2c3d4e5f6"


@pytest.fixture
def page(bot: Bot) -> httpx.Client:
    """A browser that has opened the page."""
    client = bot.http()
    client.get("/")
    return client


def ask(page: httpx.Client, text: str = "What is a run?", **more: Any) -> list[dict[str, Any]]:
    answer = page.post("/web/ask", json={"conversation": TALK, "text": text} | more)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_page_starts_a_session_that_scripts_cannot_read(bot: Bot) -> None:
    cookie = bot.http().get("/").headers["set-cookie"]

    assert cookie.startswith("understudy_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    behind_https = bot.http().get("/", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in behind_https.headers["set-cookie"]


def test_a_session_lasts(page: httpx.Client) -> None:
    assert "set-cookie" not in page.get("/").headers


def test_the_page_has_no_inline_script_or_style(bot: Bot) -> None:
    html = bot.http().get("/").text

    assert "<script>" not in html
    assert "style=" not in html
    assert "<style" not in html
    assert " onclick" not in html
    for path in ("/web/chat.js", "/web/chat.css"):
        assert f'"{path.removeprefix("/")}"' in html  # relative, for proxies that strip a path
        assert bot.http().get(path).status_code == 200


def test_the_pages_files_are_cached_by_content(bot: Bot) -> None:
    first = bot.http().get("/web/chat.js")

    again = bot.http().get("/web/chat.js", headers={"If-None-Match": first.headers["etag"]})

    assert again.status_code == 304


def test_an_answer_comes_line_by_line(bot: Bot, page: httpx.Client) -> None:
    events = ask(page)

    (reply,) = bot.replies()
    assert events == [
        {
            "type": "started",
            "reply_id": reply.id,
            "adapter": "helpdesk@1",
            "note": "",
            "outcome": "generated",
            "heading": "",
            "sources": [],
            "suggestions": [],
        },
        {"type": "delta", "text": "Hello"},
        {"type": "delta", "text": " there"},
        {"type": "ended", "finish_reason": "stop"},
    ]
    assert reply.person.startswith("web:")


def test_the_store_does_not_know_the_cookie(bot: Bot, page: httpx.Client) -> None:
    ask(page)

    assert page.cookies["understudy_session"] not in bot.replies()[0].person


def test_a_conversation_continues(bot: Bot, page: httpx.Client) -> None:
    ask(page, "First?")
    ask(page, "Second?")

    sent = [m["content"] for m in bot.vllm.asked[1]["messages"]]
    assert sent == ["Answer briefly.", "First?", "Hello there", "Second?"]


def test_a_conversation_is_shown_again(bot: Bot, page: httpx.Client) -> None:
    reply_id = ask(page)[0]["reply_id"]
    page.post("/web/feedback", json={"reply_id": reply_id, "thumb": "down"})

    said = page.get(f"/web/conversations/{TALK}").json()["messages"]

    assert [(m["role"], m["text"], m["adapter"]) for m in said] == [
        ("user", "What is a run?", "helpdesk@1"),
        ("assistant", "Hello there", "helpdesk@1"),
    ]
    assert said[1]["thumb"] == 0


def test_the_note_of_a_fallback_is_shown_now_and_later(bot: Bot, page: httpx.Client) -> None:
    bot.write(lambda db: db.execute("DELETE FROM placements WHERE adapter_id = 1"))

    started = ask(page)[0]
    said = page.get(f"/web/conversations/{TALK}").json()["messages"]

    assert started["note"] == "helpdesk@1 could not answer; the bare base did."
    assert said[1]["note"] == started["note"]


def test_nobody_sees_another_sessions_conversation(bot: Bot, page: httpx.Client) -> None:
    ask(page)
    other = bot.http()
    other.get("/")

    assert other.get(f"/web/conversations/{TALK}").json() == {"messages": []}


def test_a_broken_answer_ends_in_an_error_line(bot: Bot, page: httpx.Client) -> None:
    bot.vllm.say = lambda body: [*words(body["model"], "One")[:2], CUT]

    events = ask(page)

    assert events[-1] == {
        "type": "error",
        "retry": True,
        "message": "The engine failed in the middle of the answer.",
    }


def test_a_thumb_and_a_correction(bot: Bot, page: httpx.Client) -> None:
    reply_id = ask(page)[0]["reply_id"]

    answer = page.post(
        "/web/feedback", json={"reply_id": reply_id, "thumb": "down", "correction": "A tuning job."}
    )

    assert answer.status_code == 201
    assert feedback.counts(bot.store.db, 1) == {"up": 0, "down": 1, "corrections": 1}


def test_nobody_rates_another_sessions_answer(bot: Bot, page: httpx.Client) -> None:
    reply_id = ask(page)[0]["reply_id"]
    other = bot.http()
    other.get("/")

    answer = other.post("/web/feedback", json={"reply_id": reply_id, "thumb": "down"})

    assert answer.status_code == 403
    assert feedback.counts(bot.store.db, 1)["down"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_cannot_use_a_session(
    bot: Bot, page: httpx.Client, headers: dict[str, str]
) -> None:
    body = {"conversation": TALK, "text": "Hi"}

    assert page.post("/web/ask", json=body, headers=headers).status_code == 403

    own = {"Origin": bot.url, "Sec-Fetch-Site": "same-origin"}
    assert page.post("/web/ask", json=body, headers=own).status_code == 200


def test_without_a_session_the_page_must_be_reloaded(bot: Bot) -> None:
    answer = bot.http().post("/web/ask", json={"conversation": TALK, "text": "Hi"})

    assert answer.status_code == 401
    assert "Reload" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "more",
    [{"text": ""}, {"text": 7}, {"conversation": "../x"}, {"domain": "x" * 99}, {"model": "x"}],
)
def test_a_wrong_question_is_refused(page: httpx.Client, more: dict[str, Any]) -> None:
    answer = page.post("/web/ask", json={"conversation": TALK, "text": "Hi"} | more)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_the_list_of_domains(page: httpx.Client) -> None:
    assert page.get("/web/domains").json() == [
        {"name": "helpdesk", "title": "the help desk", "suggested_prompts": ["Who?"]}
    ]
