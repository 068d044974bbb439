"""Fields of other APIs: what changes nothing is accepted, what would change the answer is not."""

from typing import Any

import pytest

from bot.api import inert_fields
from bot.api.answer_request import AnswerRequest
from bot.api.completion_request import ChatMessage, ChatRequest
from bot.api.response_request import ResponseRequest
from bot.api.text_completions import TextCompletionRequest
from tests.bot.conftest import Bot

CHAT = "/v1/chat/completions"
ASK = {"model": "helpdesk", "messages": [{"role": "user", "content": "What is a run?"}]}

SENT_BY_CLIENTS: list[dict[str, Any]] = [
    {"store": True},
    {"tools": []},
    {"tool_choice": "none"},
    {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"},
    {"parallel_tool_calls": True},
    {"logprobs": False},
    {"top_logprobs": 0},
    {"logit_bias": {}},
    {"service_tier": "auto"},
    {"modalities": ["text"]},
    {"safety_identifier": "u1"},
    {"prompt_cache_key": "k"},
    {"min_p": 0},
    {"min_p": 0.0},
    {"keep_alive": "5m"},
    {"cache_prompt": True},
    {"max_tokens": -1},
    {"session_id": "s"},
]


@pytest.mark.parametrize("more", SENT_BY_CLIENTS, ids=str)
def test_what_changes_nothing_is_accepted(more: dict[str, Any]) -> None:
    """In each form of a request for an answer."""
    forms: tuple[tuple[type[AnswerRequest], dict[str, Any]], ...] = (
        (ChatRequest, {"messages": ASK["messages"]}),
        (ResponseRequest, {"input": "What is a run?"}),
        (TextCompletionRequest, {"prompt": "What is a run?"}),
    )
    for form, asked in forms:
        given = inert_fields.remove({"model": "helpdesk"} | asked | more)

        form.model_validate(given.fields)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"top_logprobs": False}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"min_tokens": 5}, "min_tokens"),
        ({"verbosity": "low"}, "verbosity"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"stop_token_ids": [3]}, "stop_token_ids"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"anything": 1}, "anything"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(
    bot: Bot, more: dict[str, Any], named: str
) -> None:
    answer = bot.http("member").post(CHAT, json=ASK | more)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == named
    assert named in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", [CHAT, "/v1/chat/answers"])
def test_a_header_says_what_was_ignored(bot: Bot, path: str) -> None:
    more = {"session_id": "s", "service_tier": "flex", "logprobs": False, "store": False}

    answer = bot.http("member").post(path, json=ASK | more)

    assert answer.status_code == 200
    assert answer.headers["x-understudy-ignored"] == "service_tier, session_id"
    assert "x-understudy-ignored" not in bot.http("member").post(path, json=ASK).headers


def test_the_header_of_a_stream_says_it_too(bot: Bot) -> None:
    answer = bot.http("member").post(CHAT, json=ASK | {"stream": True, "session_id": "s"})

    assert answer.headers["x-understudy-ignored"] == "session_id"


def test_a_chat_begun_elsewhere_goes_on(bot: Bot) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "S", "cache_control": {}}]},
        {"role": "user", "content": "One", "id": "m1", "cache_control": {"type": "ephemeral"}},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "Hm."},
        {"role": "tool", "content": "17", "tool_call_id": "c1"},
        {"role": "assistant", "content": "It is 17.", "annotations": [], "audio": None},
        {"role": "user", "content": "Two"},
        {"role": "assistant", "content": None, "refusal": "I will not."},
        {"role": "user", "content": "Three"},
    ]

    answer = bot.http("member").post(CHAT, json={"model": "helpdesk", "messages": messages})

    assert answer.status_code == 200, answer.text
    assert bot.vllm.asked[-1]["messages"] == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "It is 17."},
        {"role": "user", "content": "Two"},
        {"role": "assistant", "content": "I will not."},
        {"role": "user", "content": "Three"},
    ]
    ignored = answer.headers["x-understudy-ignored"].split(", ")
    assert {"messages.tool", "messages.tool_calls", "messages.reasoning_content"} < set(ignored)


def test_a_fault_in_a_message_names_its_place(bot: Bot) -> None:
    messages = [
        {"role": "user", "content": "One"},
        {"role": "tool", "content": "17", "tool_call_id": "c1"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
    ]

    answer = bot.http("member").post(CHAT, json={"model": "helpdesk", "messages": messages})

    assert answer.json()["error"]["param"] == "messages.2.content"


def test_a_field_is_either_inert_or_used() -> None:
    """A field in both tables would be dropped for some of its values without anybody noticing."""
    partly = {
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "max_tokens",
        "max_completion_tokens",
        "min_p",
        "top_k",
        "chat_template_kwargs",
        "tools",
        "tool_choice",
    }

    assert set(inert_fields.INERT) & set(ChatRequest.model_fields) == partly
    of_tools = set(inert_fields.READ)  # inert only for a base that cannot read them
    assert set(inert_fields.IN_MESSAGES) & set(ChatMessage.model_fields) == of_tools
