"""Asking two versions the same question, and chatting as whoever is signed in."""

import html
import json

from aiohttp import web

from bot.console.rendering import KeptForm
from data import domains
from data.adapters import placements
from data.pairs import pairs, review_status
from data.pairs.pairs import Draft
from data.store.db import rows, value
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client
from tests.bot.console.test_sign_in import fields
from tests.serving.fake_vllm import words

PATH = "/console/domains/helpdesk/side-by-side"
TALK = "a1b2c3d4e5f6"


def test_both_versions_answer_with_their_sources(bot: Bot) -> None:
    def teach(db: object) -> None:
        draft = Draft("When do you open?", "At nine.")
        for pair_id in pairs.add(db, bot.domain, [draft], source="teach").ids:  # type: ignore[arg-type]
            review_status.set_status(db, pair_id, "approved", "user:ann")  # type: ignore[arg-type]
        domains.set_answer_mode(db, bot.domain, "grounded")  # type: ignore[arg-type]

    bot.write(teach)
    bot.vllm.say = lambda body: words(body["model"], f"I am {body['model'].partition('-')[0]}.")
    browser = client(bot, "reviewer")
    page = browser.get(f"{PATH}?right=base").text
    assert '<option value="1" selected>helpdesk@1 (live)' in page
    assert '<option value="base" selected>' in page

    asked = browser.post(PATH, data={"question": "When do you open?", "left": "2", "right": "base"})

    found = html.unescape(asked.text)
    assert "I am helpdesk@2." in found
    assert "I am base@0." in found
    assert found.count("approved by ann on") == 1  # the bare base gets no pairs
    said = fields(asked.text)["earlier"]
    assert json.loads(said) == [["When do you open?", "I am helpdesk@2.", "I am base@0."]]
    more = {"question": "And on Sunday?", "left": "2", "right": "base", "earlier": said}
    browser.post(PATH, data=more)
    prompts = [r["messages"] for r in bot.vllm.asked[-2:]]
    answers = {m["content"] for p in prompts for m in p if m["role"] == "assistant"}
    assert answers == {"I am helpdesk@2.", "I am base@0."}


def test_nothing_of_it_is_stored_but_figures(bot: Bot) -> None:
    bot.http("admin").post("/v1/experiments", json={"a": "1", "b": "2"})
    browser = client(bot, "reviewer")

    browser.post(PATH, data={"question": "Secret words?", "left": "1", "right": "2"})

    assert [r.variant_id for r in bot.wait_closed(2)] == [None, None]
    assert value(bot.store.db, "SELECT count(*) FROM assignments") == 0
    texts = [r["text"] for r in rows(bot.store.db, "SELECT text FROM messages")]
    assert not any(texts)


def test_one_version_may_fail_alone(bot: Bot) -> None:
    browser = client(bot, "reviewer")
    form = {"question": "Who are you?", "left": "1", "right": "2"}
    assert browser.post(PATH, data=form | {"right": "9"}).status_code == 400
    assert browser.post(PATH, data=form | {"earlier": "[1]"}).status_code == 400
    bot.write(lambda db: placements.drop(db, "here", 2))
    gone = browser.post(PATH, data=form)
    assert "does not answer here now" in gone.text

    def say(body: dict[str, object]) -> object:
        if str(body["model"]).startswith("helpdesk@1"):
            return words(str(body["model"]), "Well.")
        return web.json_response({"error": {"message": "no"}}, status=400)

    bot.vllm.say = say  # type: ignore[assignment]
    half = browser.post(PATH, data=form | {"right": "base"})
    assert "Well." in half.text
    assert 'class="wrong"' in half.text
    assert fields(half.text)["question"] == "Who are you?"  # to be sent again
    assert fields(half.text)["earlier"] == "[]"


def test_whoever_is_signed_in_chats_as_themselves(bot: Bot) -> None:
    browser = client(bot, "member", "ann")
    browser.get("/")
    question = {"conversation": TALK, "text": "How?"}
    assert browser.post("/web/ask", json=question).status_code == 200
    reply = bot.wait_closed()[0]
    assert reply.person == "user:ann"
    rated = browser.post("/web/feedback", json={"reply_id": reply.id, "thumb": "up"})
    assert rated.status_code == 201
    other = client(bot, "member", "ann")  # another browser of the same person
    chats = other.get("/web/conversations").json()["conversations"]
    assert [c["question"] for c in chats] == ["How?"]
    assert len(other.get(f"/web/conversations/{TALK}").json()["messages"]) == 2

    browser.post("/console/sign-out")

    assert browser.get("/web/conversations").json() == {"conversations": []}
    browser.post("/web/ask", json=question)
    assert bot.wait_closed(2)[1].person.startswith("web:")


def test_an_earlier_conversation_that_no_page_has_made_is_refused(bot: Bot) -> None:
    form = {"question": "Where?", "left": "1", "right": "base"}
    for earlier in ("[" * 90_000, "[[1]]", "{", "7"):
        page = client(bot).post(PATH, data=form | {"earlier": earlier})
        assert page.status_code == 400
        assert "Begin again." in page.text
    assert KeptForm.unpacked("[" * 90_000) is None
