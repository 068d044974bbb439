"""Another replica continues an interrupted answer, without a visible seam in the text."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.answering.chat import Chat
from bot.answering.events import Delta, Ended, Event
from bot.answering.prompt import Ask
from data import domains
from data.adapters import registry
from data.config.settings import BotSettings, Settings
from data.conversations import conversations
from data.store.db import Store
from serving.client import EngineClient, StreamCut, WrongAdapter
from tests.bot.conftest import add_adapter, add_replica
from tests.conftest import ALONE
from tests.serving.fake_vllm import CUT, DONE, FakeVllm, refusal, running, words

BREAKS = ["connection", "silence", "abort", "no reason", "error"]


@dataclass
class Speaker:
    """Engines that all write the same text, and stop where `breaks` says."""

    text: str = "One two three."
    size: int = 3  # characters in a piece
    breaks: list[tuple[int, str]] = field(default_factory=list)  # number of pieces, kind of failure
    prefixes: list[str] = field(default_factory=list)  # the text each request asked to continue

    def say(self, body: dict[str, Any]) -> list[Any]:
        prefix = ""
        if body.get("continue_final_message"):
            assert body["add_generation_prompt"] is False
            assert body["messages"][-1]["role"] == "assistant"
            prefix = body["messages"][-1]["content"]
        assert self.text.startswith(prefix)
        self.prefixes.append(prefix)
        rest = self.text[len(prefix) :]
        pieces = [rest[n : n + self.size] for n in range(0, len(rest), self.size)]
        prompt_tokens = 1000 if prefix else 5  # the prefix is part of the prompt
        if not self.breaks:
            return words(body["model"], *pieces, usage=(prompt_tokens, len(pieces)))
        after, how = self.breaks.pop(0)
        started = words(body["model"], *pieces[:after])[: 1 + len(pieces[:after])]
        for tokens, event in enumerate(started):
            event["usage"] = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens}  # type: ignore[index]
        return (
            started
            + {
                "connection": [CUT],
                "silence": [],
                "abort": words(body["model"], finish="abort", usage=(0, 0))[1:],
                "no reason": [DONE],
                "error": [{"error": {"message": "EngineCore died", "code": 500}}, DONE],
            }[how]
        )


@pytest.fixture(scope="module")
def engines() -> Iterator[list[FakeVllm]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running(FakeVllm())) for _ in range(3)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, engines: list[FakeVllm]) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("continuation") / "understudy.db") as store:
        with store.write() as db:
            domain = domains.create(db, "helpdesk")
            adapter = add_adapter(db, domain, 1)
            registry.promote(db, adapter, "cli:test")
            for number, fake in enumerate(engines):
                add_replica(db, fake.url, adapter, name=f"r{number}")
        yield store


@pytest.fixture(autouse=True)
def fresh_replicas(store: Store) -> None:
    """All replicas are ready, hold the adapter, and have the same precision."""
    with store.write() as db:
        db.execute("UPDATE replicas SET precision = 'nf4', heartbeat_at = heartbeat_at + 600000000")


def talk(store: Store, engines: list[FakeVllm], say: Any, **more: Any) -> tuple[list[Event], Any]:
    """Ask one question; returns the events, and the error that ended them, if any."""
    for fake in engines:
        fake.say = say
        fake.asked.clear()

    async def scenario() -> tuple[list[Event], Any]:
        client = EngineClient()
        chat = Chat(
            store,
            client,
            Settings(bot=BotSettings(answer_timeout_s=20, engine_wait_s=0), answers=ALONE),
        )
        question = Ask(
            "cli:ann", "cli:1", "Why?", domains.get(store.db, "helpdesk"), history=(), **more
        )
        events: list[Event] = []
        failure = None
        try:
            async for event in chat.answer(question):
                events.append(event)
        except Exception as error:
            failure = error
        await client.close()
        return events, failure

    return asyncio.run(scenario())


def shown(events: list[Event]) -> str:
    return "".join(e.text for e in events if isinstance(e, Delta))


def last_reply(store: Store) -> conversations.Reply:
    (found,) = store.db.query("SELECT id FROM replies ORDER BY created_at DESC LIMIT 1")
    return conversations.reply(store.db, found["id"])


texts = st.text(alphabet="ab .\n\té😀", min_size=1, max_size=30)
cuts = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(BREAKS)), max_size=2)


@settings(max_examples=150, deadline=None)
@given(text=texts, size=st.integers(1, 4), breaks=cuts)
def test_no_text_is_lost_or_doubled_wherever_the_answer_is_interrupted(
    store: Store, engines: list[FakeVllm], text: str, size: int, breaks: list[tuple[int, str]]
) -> None:
    speaker = Speaker(text, size, list(breaks))

    events, failure = talk(store, engines, speaker.say)

    assert failure is None
    assert shown(events) == text
    reply = last_reply(store)
    assert conversations.exchange(store.db, reply.id)[1] == text
    assert (reply.status, reply.adapter_id, reply.instead_of) == ("done", 1, None)
    assert events[-1] == Ended("stop", 5, reply.completion_tokens)


def test_the_next_replica_gets_the_text_so_far(store: Store, engines: list[FakeVllm]) -> None:
    speaker = Speaker("One two three.", 4, [(2, "connection")])

    events, _ = talk(store, engines, speaker.say, sampling={"max_tokens": 100})

    assert speaker.prefixes == ["", "One two"]
    assert shown(events) == "One two three."
    first, second = sorted(
        (b for fake in engines for b in fake.asked), key=lambda b: "continue_final_message" in b
    )
    assert (first["max_tokens"], second["max_tokens"]) == (100, 98)
    assert events[-1] == Ended("stop", 5, 2 + 2)
    ids = [i for fake in engines for i in fake.request_ids[-1:]]
    assert last_reply(store).id in ids
    assert f"{last_reply(store).id}-1" in ids


def test_the_reply_names_the_replica_that_finished_it(
    store: Store, engines: list[FakeVllm]
) -> None:
    talk(store, engines, Speaker(breaks=[(1, "connection")]).say)

    asked = {f"r{n}": fake.asked for n, fake in enumerate(engines) if fake.asked}
    (ended,) = (name for name, (body,) in asked.items() if "continue_final_message" in body)
    assert last_reply(store).replica == ended
    assert len(asked) == 2


def test_an_answer_interrupted_after_its_last_permitted_token_is_complete(
    store: Store, engines: list[FakeVllm]
) -> None:
    speaker = Speaker("One two three.", 4, [(2, "connection")])

    events, failure = talk(store, engines, speaker.say, sampling={"max_tokens": 2})

    assert failure is None
    assert shown(events) == "One two "
    assert events[-1] == Ended("length", 5, 2)
    assert len(speaker.prefixes) == 1


def test_the_third_interruption_ends_the_answer(store: Store, engines: list[FakeVllm]) -> None:
    speaker = Speaker("One two three four.", 3, [(1, "connection")] * 3)

    events, failure = talk(store, engines, speaker.say)

    assert isinstance(failure, StreamCut)
    assert shown(events) == "One two t"
    assert last_reply(store).status == "partial"
    assert len(speaker.prefixes) == 3


def test_a_replica_with_another_precision_does_not_continue(
    store: Store, engines: list[FakeVllm]
) -> None:
    with store.write() as db:
        db.execute("UPDATE replicas SET precision = name")
    speaker = Speaker(breaks=[(1, "connection")])

    events, failure = talk(store, engines, speaker.say)

    assert isinstance(failure, StreamCut)
    assert shown(events) == "One"
    assert len(speaker.prefixes) == 1


def test_another_adapter_does_not_continue(store: Store, engines: list[FakeVllm]) -> None:
    """The bare base may be a fallback before the first word, not after it."""
    speaker = Speaker(breaks=[(1, "connection")])
    with store.write() as db:
        db.execute("UPDATE placements SET state = 'draining' WHERE replica != 'r0'")
    try:
        events, failure = talk(store, engines, speaker.say)
    finally:
        with store.write() as db:
            db.execute("UPDATE placements SET state = 'loaded'")

    assert isinstance(failure, StreamCut)
    assert shown(events) == "One"
    assert len(speaker.prefixes) == 1


def test_a_wrong_adapter_in_the_middle_ends_the_answer(
    store: Store, engines: list[FakeVllm]
) -> None:
    def say(body: dict[str, Any]) -> list[Any]:
        return [*words(body["model"], "One")[:2], *words("helpdesk@9-ffff", " two")[1:]]

    events, failure = talk(store, engines, say)

    assert isinstance(failure, WrongAdapter)
    assert shown(events) == "One"
    assert sum(len(fake.asked) for fake in engines) == 1


def test_a_wrong_adapter_never_continues(store: Store, engines: list[FakeVllm]) -> None:
    speaker = Speaker(breaks=[(1, "connection")])

    def say(body: dict[str, Any]) -> list[Any]:
        wrong = "continue_final_message" in body
        return words("helpdesk@9-ffff", " two") if wrong else speaker.say(body)

    events, failure = talk(store, engines, say)

    assert isinstance(failure, WrongAdapter)
    assert shown(events) == "One"


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_engine_that_refuses_to_continue_leaves_the_answer_incomplete(
    store: Store, engines: list[FakeVllm], status: int
) -> None:
    speaker = Speaker(breaks=[(1, "connection")])

    def say(body: dict[str, Any]) -> Any:
        if "continue_final_message" in body:
            return refusal(status, "continue_final_message is set but ...")
        return speaker.say(body)

    events, failure = talk(store, engines, say)

    assert isinstance(failure, StreamCut)
    assert str(failure) == "The engine failed in the middle of the answer."
    assert shown(events) == "One"
    assert last_reply(store).status == "partial"
