"""Function tools on `/v1/responses`: calls, their events, and what the functions returned."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.config.settings import AnswersSettings, ServingSettings
from tests.bot.api.test_stored_responses import at_rest
from tests.bot.api.test_tools import PARAMETERS
from tests.bot.conftest import Bot, answering
from tests.serving.fake_vllm import Event, FakeVllm, calls, words

ROUTE = "/v1/responses"
QUESTION = "How warm is it in Oslo?"
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "Tells it.",
    "parameters": PARAMETERS,
    "strict": True,
}
CLOCK: Any = {"type": "function", "name": "clock", "parameters": None, "strict": None}
THE_WEATHER: Any = {"type": "function", "name": "weather"}
ASK: dict[str, Any] = {"model": "helpdesk", "input": QUESTION, "tools": [WEATHER, CLOCK]}
OF_A_CALL = [
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
]


@pytest.fixture
def parsing(tmp_path: Path, vllm: FakeVllm) -> Iterator[Bot]:
    """A bot that declines what no pair answers, over an engine with a parser for calls."""
    engines = ServingSettings(tool_call_parser="hermes")
    with answering(tmp_path, vllm, AnswersSettings(), engines) as subject:
        yield subject


def ask(bot: Bot, stream: bool = False, **more: Any) -> Any:
    """The response, also as the client puts it together from the events."""
    request = ASK | more
    if not stream:
        return bot.openai().responses.create(**request)
    with bot.openai().responses.stream(**request) as events:
        return events.get_final_response()


def functions(response: Any) -> list[tuple[str, Any]]:
    called = [item for item in response.output if item.type == "function_call"]
    return [(item.name, json.loads(item.arguments)) for item in called]


def calls_the_weather(bot: Bot) -> None:
    bot.vllm.say = lambda body: calls(body["model"], ("weather", '{"city": ', '"Oslo"}'))


def says(bot: Bot, *texts: str) -> None:
    bot.vllm.say = lambda body: words(body["model"], *texts)


def result(call: Any, output: str = "17 degrees") -> dict[str, str]:
    return {"type": "function_call_output", "call_id": call.call_id, "output": output}


def asked(bot: Bot) -> list[tuple[str, str]]:
    """The messages of the latest request to the engine, without the system prompt."""
    sent = bot.vllm.asked[-1]["messages"]
    return [(m["role"], m["content"]) for m in sent if m["role"] != "system"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_function_that_is_named_is_called(bot: Bot, stream: bool) -> None:
    bot.vllm.say = lambda body: words(body["model"], '{"city":', '"Oslo"}')

    response = ask(bot, stream, tool_choice=THE_WEATHER, parallel_tool_calls=False)

    assert functions(response) == [("weather", {"city": "Oslo"})]
    assert (response.status, response.output_text) == ("completed", "")
    (sent,) = bot.vllm.asked
    function = {"name": "weather", "description": "Tells it.", "parameters": PARAMETERS}
    assert sent["tools"][0] == {"type": "function", "function": function | {"strict": True}}
    assert sent["tools"][1] == {"type": "function", "function": {"name": "clock"}}
    assert sent["response_format"]["json_schema"]["schema"] == PARAMETERS
    assert response.tool_choice.model_dump() == THE_WEATHER
    assert [tool.name for tool in response.tools] == ["weather", "clock"]
    assert response.parallel_tool_calls is False


@pytest.mark.parametrize("stream", [False, True])
def test_some_functions_are_called(bot: Bot, stream: bool) -> None:
    said = [
        {"name": "weather", "parameters": {"city": "Oslo"}},
        {"name": "clock", "parameters": {}},
    ]
    says(bot, json.dumps(said))

    response = ask(bot, stream, tool_choice="required")

    assert functions(response) == [("weather", {"city": "Oslo"}), ("clock", {})]
    assert len({item.id for item in response.output}) == 2
    assert len({item.call_id for item in response.output}) == 2


def test_the_events_come_in_openais_order(parsing: Bot) -> None:
    def both(body: dict[str, Any]) -> list[Event]:
        spoken = words(body["model"], "Let me", " look.", finish=None)[:-2]
        return [*spoken, *calls(body["model"], ("weather", '{"city":"Oslo"}'))]

    parsing.vllm.say = both
    request = ASK | {"understudy": {"references": False}}
    with parsing.http("member").stream("POST", ROUTE, json=request | {"stream": True}) as answer:
        events = [json.loads(x[6:]) for x in answer.iter_lines() if x.startswith("data: ")]

    assert [e["type"] for e in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        *OF_A_CALL,
        "response.completed",
    ]
    added, delta, done, ended = events[9:13]
    whole = '{"city":"Oslo"}'
    assert (added["item"]["arguments"], added["item"]["status"]) == ("", "in_progress")
    assert (delta["delta"], done["arguments"], done["name"]) == (whole, whole, "weather")
    assert ended["item"]["arguments"] == whole
    assert {e["output_index"] for e in events[9:13]} == {1}
    assert {delta["item_id"], done["item_id"]} == {added["item"]["id"]} == {ended["item"]["id"]}
    assert events[-1]["response"]["output"][1] == ended["item"]


@pytest.mark.parametrize("stream", [False, True])
def test_with_a_parser_the_model_decides(parsing: Bot, stream: bool) -> None:
    calls_the_weather(parsing)

    response = ask(parsing, stream)

    assert functions(response) == [("weather", {"city": "Oslo"})]
    assert [item.type for item in response.output] == ["function_call"]
    assert response.tool_choice == "auto"
    again: Any = parsing.openai().responses.retrieve(response.id)
    (call,) = response.output
    assert [item.model_dump() for item in again.output] == [
        call.model_dump(exclude={"parsed_arguments"})  # the client's own
    ]
    assert [r.finish_reason for r in parsing.wait_closed()] == ["tool_calls"]


def test_a_demanded_call_comes_back_as_it_was(bot: Bot) -> None:
    says(bot, '{"city":"[{\\"name\\":1}]"}')
    response = ask(bot, tool_choice=THE_WEATHER)

    again: Any = bot.openai().responses.retrieve(response.id)

    assert functions(again) == functions(response) == [("weather", {"city": '[{"name":1}]'})]
    assert again.output == response.output
    bot.openai().responses.delete(response.id)
    assert not at_rest(bot, "weather")


@pytest.mark.parametrize("by", ["output", "reference", "previous_response_id"])
def test_what_a_function_returned_is_answered(parsing: Bot, by: str) -> None:
    """By the output of the first response as OpenAI's SDK gives it back, as Vercel's names it, and
    by the id of the response."""
    calls_the_weather(parsing)
    first = ask(parsing)
    says(parsing, "17", " degrees.")
    (call,) = first.output
    named = {"type": "item_reference", "id": call.id}
    own = {"role": "user", "content": QUESTION}
    more: dict[str, Any] = {
        "output": {"input": [own, call.model_dump(), result(call)]},
        "reference": {"input": [own, named, result(call)]},
        "previous_response_id": {"input": [result(call)], "previous_response_id": first.id},
    }[by]

    second = ask(parsing, **more)

    assert second.output_text == "17 degrees."
    _, question, called, returned = parsing.vllm.asked[-1]["messages"]
    assert question == {"role": "user", "content": QUESTION}
    (sent,) = called["tool_calls"]
    assert (sent["id"], sent["function"]["name"]) == (call.call_id, "weather")
    assert json.loads(sent["function"]["arguments"]) == {"city": "Oslo"}
    assert returned == {"role": "tool", "content": "17 degrees", "tool_call_id": call.call_id}
    says(parsing, "Cold.")
    ask(
        parsing,
        input="And at night?",
        tools=None,
        previous_response_id=second.id,
        extra_body={"understudy": {"references": False}},
    )
    assert asked(parsing) == [
        ("user", QUESTION),
        ("assistant", "17 degrees."),
        ("user", "And at night?"),
    ]


def test_several_calls_and_the_words_before_them_are_one_answer(parsing: Bot) -> None:
    called = [
        {"type": "function_call", "call_id": c, "name": "weather", "arguments": "{}"} for c in "ab"
    ]
    returned = [
        {"type": "function_call_output", "call_id": "a", "output": "17"},
        {
            "type": "function_call_output",
            "call_id": "b",
            "output": [{"type": "input_text", "text": "18"}],
        },
    ]
    said = [
        {"role": "user", "content": QUESTION},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
        *called,
        *returned,
    ]

    ask(parsing, input=said)

    assert asked(parsing) == [
        ("user", QUESTION),
        ("assistant", "Let me look."),
        ("tool", "17"),
        ("tool", "18"),
    ]
    sent = parsing.vllm.asked[-1]["messages"][2]["tool_calls"]
    assert [c["id"] for c in sent] == ["a", "b"]


def test_a_chain_of_calls_needs_the_whole_conversation(parsing: Bot) -> None:
    calls_the_weather(parsing)
    first = ask(parsing)
    second = ask(parsing, input=[result(first.output[0])], previous_response_id=first.id)
    says(parsing, "17 degrees.")
    body = {
        "model": "helpdesk",
        "input": [result(second.output[0])],
        "previous_response_id": second.id,
    }

    answer = parsing.http("member").post(ROUTE, json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "previous_response_id"
    assert "whole conversation" in answer.json()["error"]["message"]
    question = {"role": "user", "content": QUESTION}
    said = [question, first.output[0], result(first.output[0]), second.output[0]]
    final = ask(parsing, input=[*said, result(second.output[0])])
    assert final.output_text == "17 degrees."
    assert [role for role, _ in asked(parsing)] == ["user", *["assistant", "tool"] * 2]


def test_a_base_without_a_place_for_results_says_so(bot: Bot) -> None:
    call = {"type": "function_call", "call_id": "a", "name": "weather", "arguments": "{}"}
    returned = {"type": "function_call_output", "call_id": "a", "output": "17"}
    said = [{"role": "user", "content": QUESTION}, call, returned]
    client = bot.http("member")

    last = client.post(ROUTE, json={"model": "helpdesk", "input": said})
    more = [*said, {"role": "user", "content": "And now?"}]
    earlier = client.post(ROUTE, json={"model": "helpdesk", "input": more})

    assert (last.status_code, last.json()["error"]["param"]) == (400, "input")
    assert "chat template" in last.json()["error"]["message"]
    assert earlier.status_code == 200
    assert earlier.headers["x-understudy-ignored"] == "input.function_call"
    assert asked(bot) == [("user", QUESTION), ("user", "And now?")]


def test_nobody_names_another_persons_call(parsing: Bot) -> None:
    calls_the_weather(parsing)
    (call,) = ask(parsing, user="ann").output
    for named in (call.id, "fc_0_7", call.id[:-1] + "9"):
        said = [{"role": "user", "content": "?"}, {"type": "item_reference", "id": named}]
        body = {"model": "helpdesk", "input": [*said, result(call)], "user": "bob"}

        answer = parsing.http("member").post(ROUTE, json=body)

        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_kept_of_calls_that_are_not_to_be_stored(parsing: Bot, stream: bool) -> None:
    """So what a function returned for one comes with the whole conversation."""
    said = '{"city":"zebracity"}'
    parsing.vllm.say = lambda body: words(body["model"], said)
    demanded = ask(parsing, stream, tool_choice=THE_WEATHER, store=False)
    parsing.vllm.say = lambda body: calls(body["model"], ("weather", said))
    decided = ask(parsing, stream, store=False)

    assert functions(demanded) == functions(decided) == [("weather", {"city": "zebracity"})]
    parsing.wait_closed(2)
    assert not at_rest(parsing, "zebracity")
    returned = {"input": [result(decided.output[0])], "previous_response_id": decided.id}
    answer = parsing.http("member").post(ROUTE, json={"model": "helpdesk"} | returned)
    assert answer.json()["error"]["code"] == "previous_response_not_found"


def test_without_a_parser_the_model_cannot_decide(bot: Bot) -> None:
    answer = bot.http("member").post(ROUTE, json=ASK)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "tool_choice"
    assert "`[serving] tool_call_parser`" in answer.json()["error"]["message"]


def test_tools_and_a_form_exclude_each_other(bot: Bot) -> None:
    more = {"tool_choice": "required", "text": {"format": {"type": "json_object"}}}

    answer = bot.http("member").post(ROUTE, json=ASK | more)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "text.format")


def test_tools_that_may_not_be_called_are_left_out(bot: Bot) -> None:
    answer = bot.http("member").post(ROUTE, json=ASK | {"tool_choice": "none"})

    assert answer.status_code == 200
    assert "tools" not in bot.vllm.asked[-1]
    assert answer.json()["output"][0]["content"][0]["text"] == "Hello there"


def test_calls_that_were_cut_are_left_out(bot: Bot) -> None:
    said = '[{"name":"clock","parameters":{}},{"name":"weather","parameters":{"city":"Os'
    bot.vllm.say = lambda body: words(body["model"], said, finish="length")

    response = ask(bot, tool_choice="required")

    assert functions(response) == [("clock", {})]
    assert response.status == "incomplete"
