"""The HTTP service over a real vLLM with the pocket base model and adapters of random weights."""

import threading
from collections.abc import Iterator

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
