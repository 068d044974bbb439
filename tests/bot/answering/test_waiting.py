"""A question waits for an engine that restarts, and so does an answer that it interrupted; but
neither waits for an engine that was stopped, nor without a limit."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.answering.chat import Chat
from bot.answering.events import Delta, Ended, Event, Started
from bot.answering.prompt import Ask
from bot.answering.routing import NoEngine
from bot.answering.writing import REPLAN_AFTER_S
from data import domains
from data.adapters import placements, registry
from data.config.settings import BotSettings, Settings
from data.conversations import conversations
from data.domains import Domain
from data.store.db import Store
from serving.client import EngineClient, EngineDown, StreamCut
from tests.bot.conftest import add_adapter, add_replica
from tests.conftest import ALONE
from tests.serving.fake_vllm import CUT, FakeVllm, running, words

DELAY_S = 0.6


@pytest.fixture
def vllm() -> Iterator[FakeVllm]:
    with running(FakeVllm()) as fake:
        yield fake


@pytest.fixture
def store(tmp_path: Path, vllm: FakeVllm) -> Iterator[Store]:
    with Store(tmp_path / "understudy.db") as store:
        with store.write() as db:
            domain = domains.create(db, "helpdesk")
            live = add_adapter(db, domain, 1)
            registry.promote(db, live, "cli:test")
            add_replica(db, vllm.url, live)
        yield store


@pytest.fixture
def domain(store: Store) -> Domain:
    return domains.get(store.db, "helpdesk")


@pytest.fixture
async def chat(store: Store) -> AsyncIterator[Chat]:
    engine = EngineClient()
    bot = BotSettings(answer_timeout_s=20, engine_wait_s=5, max_in_flight=1, max_waiting=1)
    yield Chat(store, engine, Settings(bot=bot, answers=ALONE))
    await engine.close()


def ask(domain: Domain, **more: Any) -> Ask:
    return Ask(person="cli:ann", thread=f"cli:{more}", text="Why?", domain=domain, **more)


def state(store: Store, now: str, detail: str = "", url: str | None = None) -> None:
    """Report a state of the replica."""
    known = placements.replicas(store.db)[0]
    with store.write() as db:
        placements.record_heartbeat(db, known.name, url or known.url, "pocket", now, detail)


async def answered(chat: Chat, question: Ask) -> list[Event]:
    return [event async for event in chat.answer(question)]


def text(events: list[Event]) -> str:
    return "".join(e.text for e in events if isinstance(e, Delta))


async def later(store: Store, now: str) -> None:
    await asyncio.sleep(DELAY_S)
    await asyncio.to_thread(state, store, now)


async def until_waiting(chat: Chat, count: int) -> None:
    """Return when `count` questions wait for an engine."""
    async with asyncio.timeout(10):
        while chat.admission.waiting_for_engine < count:
            await asyncio.sleep(0.01)


async def test_a_question_waits_for_an_engine_that_starts(
    chat: Chat, domain: Domain, store: Store
) -> None:
    state(store, "starting")
    asking = asyncio.create_task(answered(chat, ask(domain)))
    await until_waiting(chat, 1)
    await asyncio.to_thread(state, store, "ready")

    events = await asking

    assert isinstance(events[0], Started)
    assert (events[0].adapter, text(events)) == ("helpdesk@1", "Hello there")
    assert chat.admission.waiting_for_engine == 0


async def test_a_question_waits_for_an_engine_that_has_just_crashed(
    chat: Chat, domain: Domain, store: Store, vllm: FakeVllm
) -> None:
    """The store still calls it ready, nothing listens at its address, and then it returns."""
    url = vllm.url
    await asyncio.to_thread(state, store, "ready", "", "http://127.0.0.1:9")

    async def comes_back() -> None:
        await asyncio.sleep(DELAY_S)
        await asyncio.to_thread(state, store, "starting", "", url)
        await asyncio.sleep(DELAY_S)
        await asyncio.to_thread(state, store, "ready")

    comes = asyncio.create_task(comes_back())
    events = await answered(chat, ask(domain))

    await comes
    assert text(events) == "Hello there"


async def test_an_interrupted_answer_continues_when_the_engine_is_back(
    chat: Chat, domain: Domain, store: Store, vllm: FakeVllm
) -> None:
    def cut_then_rest(body: dict[str, Any]) -> Any:
        if body["messages"][-1]["role"] == "assistant":
            return words(body["model"], " there")
        return [*words(body["model"], "Hello", " there")[:2], CUT]

    vllm.say = cut_then_rest
    events: list[Event] = []
    comes: asyncio.Task[None] | None = None
    async for event in chat.answer(ask(domain)):
        events.append(event)
        if isinstance(event, Delta) and comes is None:
            await asyncio.to_thread(state, store, "starting")
            comes = asyncio.create_task(later(store, "ready"))

    assert comes is not None
    await comes
    assert text(events) == "Hello there"
    assert isinstance(events[-1], Ended)


async def test_a_question_that_waits_for_an_engine_holds_no_slot(
    domain: Domain, store: Store, vllm: FakeVllm
) -> None:
    """It queued for the only slot; when the slot became free, the engine was restarting."""
    vllm.pause_s = 0.4
    vllm.say = lambda body: words(body["model"], "Hello", " there")
    engine = EngineClient()
    bot = BotSettings(answer_timeout_s=20, engine_wait_s=5, max_in_flight=1)
    chat = Chat(store, engine, Settings(bot=bot, answers=ALONE))
    first = asyncio.create_task(answered(chat, ask(domain, external_id="1")))
    while chat.in_flight == 0:
        await asyncio.sleep(0.01)
    second = asyncio.create_task(answered(chat, ask(domain, external_id="2")))
    while chat.admission.waiting == 0:
        await asyncio.sleep(0.01)
    await asyncio.sleep(REPLAN_AFTER_S + 0.1)
    await asyncio.to_thread(state, store, "starting")
    assert text(await first) == "Hello there"
    await later(store, "ready")

    assert text(await second) == "Hello there"
    assert chat.admission.running == 0
    await engine.close()


@pytest.mark.parametrize(
    ("now", "detail", "words"),
    [
        ("down", placements.STOPPED, "No engine is running"),
        ("asleep", "tuning", "The bot is learning"),
    ],
)
async def test_no_question_waits_for_an_engine_that_stays_away(
    chat: Chat, domain: Domain, store: Store, now: str, detail: str, words: str
) -> None:
    state(store, now, detail)
    async with asyncio.timeout(2):
        with pytest.raises(NoEngine, match=words):
            await answered(chat, ask(domain))


async def test_no_question_waits_for_an_engine_without_a_heartbeat(
    chat: Chat, domain: Domain, store: Store
) -> None:
    with store.write() as db:
        db.execute("UPDATE replicas SET heartbeat_at = 0")
    async with asyncio.timeout(2):
        with pytest.raises(NoEngine, match="no heartbeat for a while"):
            await answered(chat, ask(domain))


async def test_the_wait_has_a_time_limit(domain: Domain, store: Store) -> None:
    state(store, "starting")
    engine = EngineClient()
    impatient = Chat(store, engine, Settings(bot=BotSettings(engine_wait_s=1), answers=ALONE))
    with pytest.raises(NoEngine, match="The engine is starting"):
        await answered(impatient, ask(domain))
    await engine.close()


async def slow_start(store: Store, vllm: FakeVllm, pause_s: float) -> list[str]:
    """What two questions get that wait for an engine for more than half of their time, and of
    which the second waits for the first at the only slot. `pause_s` is between two words."""
    vllm.pause_s = pause_s
    vllm.say = lambda body: words(body["model"], "Hello", " there")
    state(store, "starting")
    engine = EngineClient()
    bot = BotSettings(answer_timeout_s=4, engine_wait_s=60, max_in_flight=1)
    chat = Chat(store, engine, Settings(bot=bot, answers=ALONE))
    helpdesk = domains.get(store.db, "helpdesk")
    asked = [
        asyncio.create_task(answered(chat, ask(helpdesk, external_id=str(number))))
        for number in range(2)
    ]
    await until_waiting(chat, 2)
    await asyncio.sleep(2.2)
    await asyncio.to_thread(state, store, "ready")
    ends = await asyncio.gather(*asked, return_exceptions=True)
    await engine.close()
    return sorted(str(end) if isinstance(end, BaseException) else text(end) for end in ends)


async def test_the_time_for_the_queue_begins_when_the_engine_is_ready(
    domain: Domain, store: Store, vllm: FakeVllm
) -> None:
    assert await slow_start(store, vllm, 0.1) == ["Hello there", "Hello there"]


async def test_who_waited_for_the_engine_in_vain_reads_the_true_reason(
    domain: Domain, store: Store, vllm: FakeVllm
) -> None:
    """Two questions are not too many."""
    told = await slow_start(store, vllm, 5)

    assert (
        "The engine has just started and answers earlier questions first. Try again in about 30 "
        "seconds." in told
    )


async def test_the_number_of_waiting_questions_is_limited(
    chat: Chat, domain: Domain, store: Store
) -> None:
    state(store, "starting")
    waiting = [
        asyncio.create_task(answered(chat, ask(domain, external_id=str(i)))) for i in range(2)
    ]
    await until_waiting(chat, 2)
    with pytest.raises(NoEngine):
        await answered(chat, ask(domain))
    state(store, "ready")
    assert [text(events) for events in await asyncio.gather(*waiting)] == ["Hello there"] * 2


async def test_a_question_that_engines_keep_failing_on_is_given_up(
    chat: Chat, domain: Domain, store: Store, vllm: FakeVllm
) -> None:
    vllm.say = lambda body: [CUT]
    async with asyncio.timeout(10):
        with pytest.raises(EngineDown):
            await answered(chat, ask(domain))
    assert len(vllm.asked) <= 4  # the adapter and the base; the wait adds no further requests
    (reply,) = [
        conversations.reply(store.db, r["id"]) for r in store.db.query("SELECT id FROM replies")
    ]
    assert reply.status == "failed"


async def test_an_answer_that_engines_keep_failing_on_is_given_up(
    chat: Chat, domain: Domain, store: Store, vllm: FakeVllm
) -> None:
    vllm.say = lambda body: [*words(body["model"], "a")[:2], CUT]
    async with asyncio.timeout(10):
        with pytest.raises(StreamCut):
            await answered(chat, ask(domain))
    assert len(vllm.asked) <= 3
