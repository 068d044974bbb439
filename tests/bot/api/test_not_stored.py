"""`store: false`: figures are kept, words are not."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data.config.settings import AnswersSettings
from data.conversations import conversations
from tests.bot.api.test_comparisons_api import start
from tests.bot.conftest import Bot, answering
from tests.serving.fake_vllm import CUT, FakeVllm, refusal, words

WORDS = ("zebraquestion", "zebraanswer", "zebrahistory", "zebrasystem")
CHAT, ANSWERS = "/v1/chat/completions", "/v1/chat/answers"


@pytest.fixture
def grounded(tmp_path: Path, vllm: FakeVllm) -> Iterator[Bot]:
    """A bot that declines what no pair answers."""
    with answering(tmp_path, vllm, AnswersSettings()) as subject:
        yield subject


def post(bot: Bot, path: str = CHAT, **more: Any) -> Any:
    messages = [
        {"role": "system", "content": "zebrasystem"},
        {"role": "user", "content": "zebrahistory one"},
        {"role": "assistant", "content": "zebrahistory two"},
        {"role": "user", "content": "What is zebraquestion?"},
    ]
    body = {"model": "helpdesk", "messages": messages, "store": False, "user": "ann"}
    return bot.http("member").post(path, json=body | more)


def respond(bot: Bot, **more: Any) -> Any:
    """The same question to `/v1/responses`."""
    said = [
        {"role": "user", "content": "zebrahistory one"},
        {"role": "assistant", "content": "zebrahistory two"},
        {"role": "user", "content": "What is zebraquestion?"},
    ]
    body = {"model": "helpdesk", "input": said, "instructions": "zebrasystem", "user": "ann"}
    return bot.http("member").post("/v1/responses", json=body | {"store": False} | more)


def complete(bot: Bot, **more: Any) -> Any:
    """The question alone to `/v1/completions`."""
    body = {"model": "helpdesk", "prompt": "What is zebraquestion?", "user": "ann"}
    return bot.http("member").post("/v1/completions", json=body | {"store": False} | more)


def at_rest(bot: Bot) -> list[str]:
    """Where the words are, in any file of the home folder: the store, its WAL, logs."""
    files = [f for f in bot.settings.home.rglob("*") if f.is_file()]
    assert bot.settings.store_path in files
    return [f"{w} in {f.name}" for f in files for w in WORDS if w.encode() in f.read_bytes()]


@pytest.mark.parametrize("path", [CHAT, ANSWERS])
def test_the_words_are_nowhere(bot: Bot, path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bot.vllm.say = lambda body: words(body["model"], "zebra", "answer", " it is.", usage=(11, 4))

    answer = post(bot, path)

    assert answer.status_code == 200, answer.text
    assert "zebraanswer" in answer.text
    (reply,) = bot.wait_closed()
    assert (reply.status, reply.adapter_id, reply.person) == ("done", 1, "http:1/ann")
    assert (reply.prompt_tokens, reply.completion_tokens) == (11, 4)
    assert reply.latency_us is not None
    assert at_rest(bot) == []
    assert not any(word in caplog.text for word in WORDS)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ask", [respond, complete])
def test_the_words_of_the_other_forms_are_nowhere(
    bot: Bot, ask: Callable[..., Any], stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bot.vllm.say = lambda body: words(body["model"], "zebraanswer", " it is.", usage=(11, 4))

    answer = ask(bot, stream=stream)

    assert answer.status_code == 200, answer.text
    assert "zebraanswer" in answer.text
    (reply,) = bot.wait_closed()
    assert (reply.status, reply.person, reply.completion_tokens) == ("done", "http:1/ann", 4)
    assert at_rest(bot) == []
    assert not any(word in caplog.text for word in WORDS)


@pytest.mark.parametrize("ask", [respond, complete])
def test_by_default_the_other_forms_are_stored(bot: Bot, ask: Callable[..., Any]) -> None:
    ask(bot, store=True)

    assert any("zebraquestion" in found for found in at_rest(bot))


def test_by_default_they_are_stored(bot: Bot) -> None:
    post(bot, store=True)

    assert any("zebraquestion" in found for found in at_rest(bot))


@pytest.mark.parametrize("fault", ["cut", "refused", "too long"])
def test_the_words_of_an_answer_that_fails_are_nowhere(bot: Bot, fault: str) -> None:
    replies: dict[str, Any] = {
        "cut": lambda body: [*words(body["model"], "zebraanswer")[:2], CUT],
        "refused": lambda _: refusal(400, "bad request: What is zebraquestion?"),
        "too long": lambda _: refusal(400, "This model's maximum context length is 9 tokens."),
    }
    bot.vllm.say = replies[fault]

    assert post(bot).status_code in (400, 503)

    assert at_rest(bot) == []


def test_a_declined_question_is_not_listed(grounded: Bot) -> None:
    answer = post(grounded)

    assert answer.json()["understudy"]["outcome"] == "declined"
    assert grounded.http("reviewer").get("/v1/unanswered").json()["data"] == []
    assert at_rest(grounded) == []
    (reply,) = grounded.wait_closed()
    assert reply.outcome == "declined"


def test_an_answer_that_is_not_stored_is_rated_but_makes_no_pair(bot: Bot) -> None:
    answer = post(bot).json()
    http = bot.http("member")

    rated = http.post("/v1/feedback", json={"id": answer["id"], "thumb": "up"})
    corrected = http.post("/v1/feedback", json={"id": answer["id"], "correction": "Better."})

    assert rated.json()["thumb"] == "up"
    assert corrected.status_code == 409
    assert "was not stored" in corrected.json()["error"]["message"]
    assert conversations.exchange(bot.store.db, answer["id"]) == ("", "")


def test_nobody_chooses_between_answers_that_are_not_stored(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], body["model"].split("-")[0])
    start(bot, pairwise=1.0)

    assert len(post(bot, ANSWERS).json()["data"]) == 1
    assert len(post(bot, ANSWERS, store=True).json()["data"]) == 2
