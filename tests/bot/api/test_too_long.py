"""Conversations that are too long, over HTTP: the error, what is shortened, and what is counted."""

from typing import Any

import openai
import pytest

from data.experiments import metric_sums
from data.experiments.experiments import Experiment
from tests.bot.api.test_comparisons_api import start
from tests.bot.conftest import Bot
from tests.serving.fake_vllm import refusal, words

LIMIT = 2_000  # tokens of the engine's context, one for each character


def at_most(bot: Bot, limit: int = LIMIT) -> None:
    """An engine that counts a token for each character, and refuses in vLLM's words."""

    def say(body: dict[str, Any]) -> Any:
        tokens = sum(len(m["content"]) for m in body["messages"])
        if tokens + body["max_tokens"] <= limit:
            return words(body["model"], "It fits.")
        return refusal(
            400,
            f"This model's maximum context length is {limit} tokens. However, you requested "
            f"{body['max_tokens']} output tokens and your prompt contains at least {tokens} input "
            "tokens. Please reduce the length of the input prompt.",
        )

    bot.vllm.say = say


def question(characters: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": "x" * characters}]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("by", ["characters", "tokens", "characters of the system message"])
def test_clients_recognise_a_conversation_that_is_too_long(bot: Bot, by: str, stream: bool) -> None:
    at_most(bot)
    most = bot.settings.bot.max_prompt_chars
    messages: Any = question(LIMIT if by == "tokens" else most + 1)
    if by.endswith("message"):
        messages = [{"role": "system", "content": "x" * (most + 1)}, *question(1)]

    with pytest.raises(openai.BadRequestError) as caught:
        bot.openai().chat.completions.create(
            model="helpdesk",
            messages=messages,
            stream=stream,  # type: ignore[call-overload]
        )

    assert caught.value.code == "context_length_exceeded"
    assert caught.value.param == "messages"
    assert caught.value.type == "invalid_request_error"
    assert "prompt is too long" in str(caught.value), "what LiteLLM looks for"
    assert bot.replies() == []


def test_a_question_that_is_too_long_leaves_a_comparison_unchanged(bot: Bot) -> None:
    experiment = start(bot)
    at_most(bot)
    bot.openai().chat.completions.create(model="helpdesk", messages=question(9), user="ann")  # type: ignore[arg-type]
    before, metrics = sums(bot, experiment), failures(bot)

    for user in ("ann", "bob"):  # one who has been exposed, and one who has not
        with pytest.raises(openai.BadRequestError):
            bot.openai().chat.completions.create(
                model="helpdesk",
                messages=question(LIMIT),  # type: ignore[arg-type]
                user=user,
            )

    assert sums(bot, experiment) == before
    assert sum(v.replies for v in before.variants) == 1
    assert failures(bot) == metrics
    alerts = bot.http("admin").get("/v1/status").json()["alerts"]
    assert [a for a in alerts if a["kind"] in ("failed", "circuit_open")] == []
    exposed = [r["person"] for r in bot.store.db.query("SELECT person FROM assignments")]
    assert exposed == ["http:1/ann"]


def sums(bot: Bot, experiment: Experiment) -> metric_sums.ExperimentSums:
    return metric_sums.collect(bot.store.db, experiment, "anyone")


def failures(bot: Bot) -> list[str]:
    lines = bot.http("admin").get("/metrics").text.splitlines()
    return [line for line in lines if 'status="failed"' in line or "circuit" in line]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_says_how_much_of_the_history_was_left_out(bot: Bot, stream: bool) -> None:
    at_most(bot)
    turns: list[Any] = [{"role": r, "content": "y" * 300} for r in ("user", "assistant")] * 5

    answer = bot.openai().chat.completions.create(
        model="helpdesk", messages=[*turns, *question(9)], stream=stream
    )

    first: Any = next(iter(answer)) if stream else answer
    sent = [m for m in bot.vllm.asked[-1]["messages"] if m["role"] != "system"]
    assert first.model_extra["understudy"]["history_dropped"] == len(turns) + 1 - len(sent) > 0


def test_a_history_beyond_what_is_ever_sent_is_counted_too(bot: Bot) -> None:
    turns: list[Any] = [{"role": r, "content": "y" * 30_000} for r in ("user", "assistant")] * 5

    answer: Any = bot.openai().chat.completions.create(
        model="helpdesk", messages=[*turns, *question(9)]
    )

    sent = [m for m in bot.vllm.asked[-1]["messages"] if m["role"] != "system"]
    assert answer.model_extra["understudy"]["history_dropped"] == len(turns) + 1 - len(sent) > 0
