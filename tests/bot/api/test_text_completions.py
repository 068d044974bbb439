"""`/v1/completions`, OpenAI's older API: the prompt is the question."""

from typing import Any

import openai
import pytest

from tests.bot.conftest import Bot
from tests.serving.fake_vllm import CUT, words


def test_an_answer(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], "One", " job.", usage=(11, 4))

    answer = bot.openai().completions.create(
        model="helpdesk", prompt="What is a run?", max_tokens=9, stop="\n", user="alice"
    )

    assert answer.object == "text_completion"
    assert answer.choices[0].text == "One job."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 15
    (sent,) = bot.vllm.asked
    assert sent["messages"][-1] == {"role": "user", "content": "What is a run?"}
    assert (sent["max_tokens"], sent["stop"]) == (9, ["\n"])
    (reply,) = bot.replies()
    assert (reply.id, reply.person) == (answer.id, "http:1/alice")
    assert answer.model_extra is not None
    assert answer.model_extra["understudy"]["adapter"] == "helpdesk@1"


def test_a_streamed_answer(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], "One", " job.", usage=(11, 4))

    chunks = list(
        bot.openai().completions.create(
            model="helpdesk",
            prompt=["What is a run?"],
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    assert "".join(c.choices[0].text for c in chunks if c.choices) == "One job."
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 15


def test_an_interrupted_stream_raises_in_the_client(bot: Bot) -> None:
    bot.vllm.say = lambda body: [*words(body["model"], "One")[:2], CUT]

    stream = bot.openai().completions.create(model="helpdesk", prompt="Who?", stream=True)

    with pytest.raises(openai.APIError, match="middle of the answer"):
        list(stream)


def test_nothing_is_kept_of_an_answer_that_is_not_to_be_stored(bot: Bot) -> None:
    body = {"model": "helpdesk", "prompt": "My secret?", "store": False, "echo": False}

    answer = bot.http("member").post("/v1/completions", json=body | {"priority": 3})

    assert answer.json()["choices"][0]["text"] == "Hello there"
    assert answer.headers["x-understudy-ignored"] == "priority"
    assert list(bot.store.db.query("SELECT text FROM messages")) == []


REFUSED: list[tuple[str, Any]] = [
    ("prompt", ["One?", "Two?"]),
    ("prompt", [1, 2, 3]),
    ("n", 9),
    ("best_of", 3),
    ("echo", True),
    ("suffix", "."),
    ("logprobs", 2),
    ("messages", []),
]


def test_what_would_change_the_answer_is_refused_by_name(bot: Bot) -> None:
    client = bot.http("member")
    for field, value in REFUSED:
        body = {"model": "helpdesk", "prompt": "Who?", field: value}

        answer = client.post("/v1/completions", json=body)

        assert answer.status_code == 400, field
        assert answer.json()["error"]["param"] == field
