"""`logprobs` and `top_logprobs`: how likely each token of an answer was."""

import math
from typing import Any

import openai
import pytest

from tests.bot.conftest import Bot
from tests.serving.fake_vllm import Event, words

QUESTION: list[Any] = [{"role": "user", "content": "What is a run?"}]


def told(token: str, *others: str) -> dict[str, Any]:
    found = {"token": token, "logprob": -0.5, "bytes": list(token.encode())}
    top = [{"token": t, "logprob": -1.5, "bytes": list(t.encode())} for t in others]
    return found | {"top_logprobs": top}


def with_logprobs(body: dict[str, Any]) -> list[Event]:
    """As vLLM streams them: a token may have no text of its own yet."""
    events = words(body["model"], "One", "", " run.")
    if body.get("logprobs"):
        tokens = ["One", "\u200b", " run."]
        for event, token in zip(events[1:4], tokens, strict=True):
            assert isinstance(event, dict)
            others = ["a", "b"][: body["top_logprobs"]]
            event["choices"][0]["logprobs"] = {"content": [told(token, *others)]}
    return events


@pytest.mark.parametrize("stream", [False, True])
def test_every_token_is_told(bot: Bot, stream: bool) -> None:
    bot.vllm.say = with_logprobs
    ask: Any = {"model": "helpdesk", "messages": QUESTION, "logprobs": True, "top_logprobs": 2}

    answer = bot.openai().chat.completions.create(**ask, stream=stream)

    if stream:
        choices = [c.choices[0] for c in answer if c.choices]
        text = "".join(c.delta.content or "" for c in choices)
        entries = [entry for c in choices if c.logprobs for entry in c.logprobs.content]
    else:
        text = answer.choices[0].message.content
        entries = answer.choices[0].logprobs.content
    assert text == "One run."
    assert [e.token for e in entries] == ["One", "\u200b", " run."]
    assert math.isclose(entries[0].logprob, -0.5)
    assert [t.token for t in entries[0].top_logprobs] == ["a", "b"]
    assert entries[0].bytes == list(b"One")


@pytest.mark.parametrize("stream", [False, True])
def test_every_token_of_a_response_is_told(bot: Bot, stream: bool) -> None:
    bot.vllm.say = with_logprobs
    ask: Any = {"model": "helpdesk", "input": "What is a run?", "top_logprobs": 2}
    ask["include"] = ["reasoning.encrypted_content", "message.output_text.logprobs"]

    if stream:
        with bot.openai().responses.stream(**ask) as events:
            deltas = [e for e in events if e.type == "response.output_text.delta"]
            answer = events.get_final_response()
        streamed = [entry.token for delta in deltas for entry in delta.logprobs]
        assert streamed == ["One", "\u200b", " run."]
    else:
        answer = bot.openai().responses.create(**ask)

    part: Any = answer.output[0]
    (said,) = part.content
    assert said.text == "One run."
    assert [e.token for e in said.logprobs] == ["One", "\u200b", " run."]
    assert [t.token for t in said.logprobs[0].top_logprobs] == ["a", "b"]


@pytest.mark.parametrize("stream", [False, True])
def test_every_token_of_several_answers_is_told(bot: Bot, stream: bool) -> None:
    bot.vllm.say = with_logprobs
    ask: Any = {"model": "helpdesk", "messages": QUESTION, "logprobs": True, "top_logprobs": 1}

    answer: Any = bot.openai().chat.completions.create(**ask, n=2, stream=stream)

    tokens: dict[int, list[str]] = {0: [], 1: []}
    for choice in (c for part in (answer if stream else [answer]) for c in part.choices):
        if choice.logprobs:
            tokens[choice.index] += [entry.token for entry in choice.logprobs.content]
    assert tokens == {0: ["One", "\u200b", " run."], 1: ["One", "\u200b", " run."]}


def test_without_the_wish_nothing_is_told(bot: Bot) -> None:
    bot.vllm.say = lambda body: with_logprobs(body | {"logprobs": True, "top_logprobs": 1})

    answer = bot.openai().chat.completions.create(model="helpdesk", messages=QUESTION)

    assert answer.choices[0].logprobs is None
    assert "logprobs" not in bot.vllm.asked[-1]


def test_an_engine_whose_log_probabilities_are_none_is_not_believed(bot: Bot) -> None:
    def say(body: dict[str, Any]) -> list[Event]:
        events = words(body["model"], "One")
        assert isinstance(events[1], dict)
        events[1]["choices"][0]["logprobs"] = {"content": [{"token": 3}]}
        return events

    bot.vllm.say = say
    with pytest.raises(openai.InternalServerError):
        bot.openai().chat.completions.create(
            model="helpdesk@1", messages=QUESTION, logprobs=True, top_logprobs=1
        )


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": 1}, "logprobs"),
    ],
)
def test_what_makes_no_sense_is_refused(bot: Bot, more: dict[str, Any], named: str) -> None:
    body = {"model": "helpdesk", "messages": QUESTION} | more
    answer = bot.http("member").post("/v1/chat/completions", json=body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, named)


def test_answers_to_choose_from_have_none(bot: Bot) -> None:
    body = {"model": "helpdesk", "messages": QUESTION, "logprobs": True}
    answer = bot.http("member").post("/v1/chat/answers", json=body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "logprobs")
