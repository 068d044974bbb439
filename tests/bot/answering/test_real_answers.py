"""The HTTP service over a real vLLM with the pocket base model and adapters of random weights."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from bot.commands import admin
from data import domains
from data.adapters.registry import Adapter
from data.config.settings import BotSettings, Settings
from data.people import keys
from tests import adapter_maker
from tests.bot.conftest import serving
from tests.conftest import RunningEngine, free_port

pytestmark = pytest.mark.slow

DOMAIN = "http-answers"


class Service:
    """A separate service on the session's engine, with two adapters of one domain."""

    def __init__(self, engine: RunningEngine) -> None:
        bot = BotSettings(port=free_port(), max_tokens=12)
        self.engine = engine
        self.settings: Settings = engine.settings.model_copy(update={"bot": bot})
        self.adapters: list[Adapter] = [
            adapter_maker.register(engine.store, engine.settings, DOMAIN, seed=n) for n in (11, 12)
        ]
        with engine.store.write() as db:
            self.secret = keys.create(db, "tests", "admin", "cli:test")[1]
        for adapter in self.adapters:
            engine.wait_for(adapter)
        self.url = f"http://127.0.0.1:{bot.port}"

    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(api_key=self.secret, base_url=f"{self.url}/v1", max_retries=0)

    def ask(self, model: str, text: str = "What is a run?", **more: object) -> str:
        messages = [{"role": "user", "content": text}]
        answer = self.openai().chat.completions.create(model=model, messages=messages, **more)  # type: ignore[call-overload]
        return str(answer.choices[0].message.content)


@pytest.fixture(scope="module")
def service(engine: RunningEngine) -> Iterator[Service]:
    subject = Service(engine)
    with serving(subject.settings, threading.Event()):
        yield subject


def test_the_base_and_each_adapter_give_different_answers(service: Service) -> None:
    names = [f"{DOMAIN}@base", *(a.name for a in service.adapters)]

    answers = [service.ask(name) for name in names]

    assert len(set(answers)) == 3
    assert answers == [service.ask(name) for name in names]


def test_a_promotion_and_a_roll_back_apply_to_the_next_message(service: Service) -> None:
    first, second = (service.ask(a.name) for a in service.adapters)
    store = service.engine.store
    seen = []
    for adapter in service.adapters:
        with store.write() as db:
            admin.promote(db, domains.get(db, DOMAIN), adapter.name, "cli:test")
        seen.append(service.ask(DOMAIN))
    with store.write() as db:
        admin.roll_back(db, domains.get(db, DOMAIN), "cli:test")
    seen.append(service.ask(DOMAIN))

    assert seen == [first, second, first]


def test_a_stream_has_the_text_of_the_unstreamed_answer(service: Service) -> None:
    name = service.adapters[0].name
    messages = [{"role": "user", "content": "What is a run?"}]

    stream = service.openai().chat.completions.create(model=name, messages=messages, stream=True)  # type: ignore[call-overload]

    text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    assert text == service.ask(name)


def test_a_token_limit_above_the_context_is_lowered_until_it_fits(service: Service) -> None:
    assert service.ask(f"{DOMAIN}@base", max_tokens=100_000, stop=" ") is not None


def test_a_long_conversation_loses_its_oldest_turns(service: Service) -> None:
    earlier = [
        {"role": role, "content": f"{n} " + "and again " * 60}
        for n in range(20)
        for role in ("user", "assistant")
    ]
    question = {"role": "user", "content": "What is a run?"}

    answer = service.openai().chat.completions.create(
        model=f"{DOMAIN}@base",
        messages=[*earlier, question],  # type: ignore[list-item]
    )

    assert answer.usage is not None
    limit = service.settings.serving.max_model_len
    assert limit / 3 < answer.usage.prompt_tokens <= limit - 12


def test_a_question_that_exceeds_the_context_is_refused(service: Service) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        service.ask(f"{DOMAIN}@base", "why " * 1_900)

    assert refused.value.code == "context_length_exceeded"


CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "weather", "parameters": CITY}},
    {"type": "function", "function": {"name": "clock"}},
]
THE_WEATHER = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize("choice", [THE_WEATHER, "required"], ids=["named", "required"])
def test_a_call_that_is_demanded_has_valid_arguments(service: Service, choice: Any) -> None:
    answer = service.openai().chat.completions.create(
        model=service.adapters[0].name,
        messages=[{"role": "user", "content": "How warm is it in Oslo?"}],
        tools=TOOLS,
        tool_choice=choice,
        parallel_tool_calls=False,
        max_tokens=100,
    )

    (call,) = answer.choices[0].message.tool_calls or ()
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.type == "function"
    arguments = json.loads(call.function.arguments)
    if call.function.name == "weather":
        assert arguments["city"] in ("Oslo", "Rome")
    else:
        assert (call.function.name, arguments) == ("clock", {})


def test_a_response_and_a_completion_follow_a_schema(service: Service) -> None:
    name, client = service.adapters[0].name, service.openai()
    form: Any = {"type": "json_schema", "name": "place", "schema": CITY}
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": CITY}}

    response = client.responses.create(model=name, input="Where is it?", text={"format": form})
    completion = client.completions.create(
        model=name, prompt="Where is it?", extra_body={"response_format": wanted}
    )

    for text in (response.output_text, completion.choices[0].text):
        assert json.loads(text)["city"] in ("Oslo", "Rome")


def test_several_answers_differ_by_their_seeds(service: Service) -> None:
    ask: Any = {
        "model": service.adapters[0].name,
        "messages": [{"role": "user", "content": "What is a run?"}],
        "temperature": 1.5,
        "seed": 1,
    }
    client = service.openai()

    first, again = (client.chat.completions.create(**ask, n=3) for _ in range(2))

    texts = [c.message.content for c in first.choices]
    assert len(set(texts)) > 1
    assert texts == [c.message.content for c in again.choices]
    assert first.usage is not None
    assert first.usage.completion_tokens > 3
