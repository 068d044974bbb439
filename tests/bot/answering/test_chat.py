"""The flow of a message, without HTTP: history, routing, and the stored records."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.answering.admission import TooBusy
from bot.answering.chat import Chat
from bot.answering.events import Delta, Ended, Event, Started
from bot.answering.plan import NobodyCanAnswer
from bot.answering.prompt import Ask
from bot.answering.writing import REPLAN_AFTER_S
from data import domains
from data.adapters import placements, registry
from data.config.settings import BotSettings, Settings
from data.conversations import conversations
from data.conversations.conversations import Message
from data.domains import Domain
from data.experiments import assignments, experiments
from data.store.db import Store
from data.store.errors import Invalid, Unavailable
from serving.client import EngineClient, PromptTooLong, StreamCut
from tests.bot.conftest import add_adapter, add_replica
from tests.conftest import ALONE
from tests.data import given
from tests.serving.fake_vllm import HANG, FakeVllm, refusal, words


@pytest.fixture
def store(tmp_path: Path, vllm: FakeVllm) -> Iterator[Store]:
    """One domain; `helpdesk@1` is live, `helpdesk@2` a candidate, both held."""
    with Store(tmp_path / "understudy.db") as store:
        with store.write() as db:
            domain = domains.create(db, "helpdesk", system_prompt="Be brief.")
            first, second = add_adapter(db, domain, 1), add_adapter(db, domain, 2)
            registry.promote(db, first, "cli:test")
            add_replica(db, vllm.url, first, second)
        yield store


@pytest.fixture
def domain(store: Store) -> Domain:
    return domains.get(store.db, "helpdesk")


@pytest.fixture
async def chat(store: Store) -> AsyncIterator[Chat]:
    engine = EngineClient()
    yield Chat(
        store, engine, Settings(bot=BotSettings(history_turns=3, engine_wait_s=0), answers=ALONE)
    )
    await engine.close()


async def answer(chat: Chat, ask: Ask) -> list[Event]:
    return [event async for event in chat.answer(ask)]


def ask(domain: Domain, text: str = "Why?", **more: Any) -> Ask:
    return Ask(
        **({"person": "cli:ann", "thread": "cli:ann/1", "text": text, "domain": domain} | more)
    )


async def test_the_events_come_in_order(chat: Chat, domain: Domain) -> None:
    question = ask(domain)

    events = await answer(chat, question)

    assert events == [
        Started(question.reply_id, "helpdesk@1", None),
        Delta("Hello"),
        Delta(" there"),
        Ended("stop", 5, 2),
    ]


async def test_a_thread_sends_its_last_turns(chat: Chat, domain: Domain, vllm: FakeVllm) -> None:
    for number in range(5):
        vllm.say = lambda body, number=number: words(body["model"], f"A{number}")
        await answer(chat, ask(domain, f"Q{number}"))

    sent = [m["content"] for m in vllm.asked[-1]["messages"]]
    assert sent == ["Be brief.", "Q1", "A1", "Q2", "A2", "Q3", "A3", "Q4"]


async def test_threads_are_separate(chat: Chat, domain: Domain, vllm: FakeVllm) -> None:
    await answer(chat, ask(domain, "Q0"))
    await answer(chat, ask(domain, "Q1", thread="cli:ann/2"))

    assert [m["content"] for m in vllm.asked[1]["messages"]] == ["Be brief.", "Q1"]


async def test_concurrent_answers_stay_with_their_questions(
    chat: Chat, domain: Domain, store: Store, vllm: FakeVllm
) -> None:
    vllm.say = lambda body: words(body["model"], body["messages"][-1]["content"].lower())
    first, second = chat.answer(ask(domain, "FIRST")), chat.answer(ask(domain, "SECOND"))
    await anext(first), await anext(second)
    for events in (first, second):
        async for _ in events:
            pass

    said = conversations.history(store.db, 1, 5)
    assert [m.text for m in said] == ["FIRST", "first", "SECOND", "second"]


async def test_a_thread_keeps_its_first_domain(chat: Chat, domain: Domain, store: Store) -> None:
    await answer(chat, ask(domain))
    with store.write() as db:
        other = domains.create(db, "other")

    events = await answer(chat, ask(other))

    assert isinstance(events[0], Started)
    assert events[0].adapter == "helpdesk@1"


def at_most(characters: int, vllm: FakeVllm) -> None:
    """An engine whose context, including the answer, holds `characters` characters."""

    def say(body: dict[str, Any]) -> Any:
        prompt = sum(len(m["content"]) for m in body["messages"])
        if prompt + body["max_tokens"] > characters:
            return refusal(400, f"This model's maximum context length is {characters} tokens.")
        return words(body["model"], "It fits.")

    vllm.say = say


async def test_the_oldest_turns_are_dropped_until_the_prompt_fits(
    chat: Chat, domain: Domain, vllm: FakeVllm
) -> None:
    at_most(256 + 9 + 50, vllm)
    history = tuple(Message(r, f"{n:09}.") for n in range(6) for r in ("user", "assistant"))  # type: ignore[arg-type]

    await answer(chat, ask(domain, "x" * 10, history=history))

    sent = vllm.asked[-1]["messages"]
    assert [m["content"] for m in sent[1:]] == [
        "000000004.",
        "000000004.",
        "000000005.",
        "000000005.",
        "x" * 10,
    ]
    assert sent[1]["role"] == "user"
    assert vllm.asked[-1]["max_tokens"] == 256


async def test_a_raised_answer_limit_is_lowered_before_history_is_dropped(
    chat: Chat, domain: Domain, vllm: FakeVllm
) -> None:
    at_most(256 + 9 + 30, vllm)
    history = (Message("user", "y" * 10), Message("assistant", "z" * 10))

    await answer(chat, ask(domain, "x" * 10, history=history, sampling={"max_tokens": 1000}))

    assert vllm.asked[-1]["max_tokens"] == 256
    assert len(vllm.asked[-1]["messages"]) == 4


async def test_a_long_question_gets_a_short_answer_rather_than_none(
    chat: Chat, domain: Domain, vllm: FakeVllm
) -> None:
    at_most(300, vllm)

    events = await answer(chat, ask(domain, "x" * 200))

    assert isinstance(events[-1], Ended)
    assert vllm.asked[-1]["max_tokens"] == 64


async def test_only_a_question_that_exceeds_the_context_alone_is_too_long(
    chat: Chat, domain: Domain, vllm: FakeVllm, store: Store
) -> None:
    at_most(300, vllm)

    with pytest.raises(PromptTooLong):
        await answer(chat, ask(domain, "x" * 300))

    for table in ("replies", "messages", "conversations"):
        assert list(store.db.query(f"SELECT * FROM {table}")) == [], table


async def test_a_system_prompt_that_leaves_no_room_is_no_error_of_the_caller(
    chat: Chat, domain: Domain, vllm: FakeVllm, store: Store
) -> None:
    long = replace(domain, system_prompt="s" * 280)
    with store.write() as db:
        db.execute("UPDATE domains SET system_prompt = ?", [long.system_prompt])
    at_most(300, vllm)

    with pytest.raises(Unavailable, match="leaves no room for a question"):
        await answer(chat, ask(long, "Why?"))

    (found,) = store.db.query("SELECT status FROM replies")
    assert found["status"] == "failed"


async def test_a_callers_long_history_is_shortened_before_it_is_sent(
    chat: Chat, domain: Domain, vllm: FakeVllm
) -> None:
    history = tuple(
        Message(r, "y" * 1_000)
        for _ in range(100)
        for r in ("user", "assistant")  # type: ignore[arg-type]
    )

    await answer(chat, ask(domain, history=history))

    assert len(vllm.asked) == 1
    assert sum(len(m["content"]) for m in vllm.asked[0]["messages"]) < 33_000


@pytest.mark.parametrize(
    "text",
    ["", " \n", "a\x00", "\ud800", "x" * 8_001],
    ids=["empty", "blank", "nul", "half", "long"],
)
async def test_an_invalid_question_is_refused(
    chat: Chat, domain: Domain, vllm: FakeVllm, store: Store, text: str
) -> None:
    with pytest.raises(Invalid):
        await answer(chat, ask(domain, text))

    assert vllm.asked == []
    assert list(store.db.query("SELECT 1 FROM conversations")) == []


async def test_a_closed_answer_is_kept_as_cancelled(
    chat: Chat, domain: Domain, vllm: FakeVllm, store: Store
) -> None:
    vllm.say = lambda body: [*words(body["model"], "One")[:2], HANG]
    question = ask(domain)

    async with contextlib.aclosing(chat.answer(question)) as events:
        async for event in events:
            if isinstance(event, Delta):
                break

    reply = conversations.reply(store.db, question.reply_id)
    assert reply.status == "cancelled"
    assert conversations.exchange(store.db, question.reply_id) == ("Why?", "One")
    assert chat.in_flight == 0


async def test_a_cancelled_task_leaves_a_cancelled_answer(
    chat: Chat, domain: Domain, vllm: FakeVllm, store: Store
) -> None:
    vllm.say = lambda body: [*words(body["model"], "One")[:2], HANG]
    question = ask(domain)
    task = asyncio.create_task(answer(chat, question))
    while not vllm.asked:
        await asyncio.sleep(0.01)

    for _ in range(3):  # repeated cancellation does not stop the recording
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    await chat.close()

    assert conversations.reply(store.db, question.reply_id).status == "cancelled"


async def test_an_answer_from_the_wrong_model_is_a_failure(
    chat: Chat, domain: Domain, vllm: FakeVllm, store: Store
) -> None:
    vllm.say = lambda body: words("base", "Hello")
    question = ask(domain)

    with pytest.raises(NobodyCanAnswer, match="instead of 'base@0'"):
        await answer(chat, question)

    assert conversations.reply(store.db, question.reply_id).status == "failed"


async def test_an_answer_without_a_finish_reason_counts_as_interrupted(
    chat: Chat, domain: Domain, vllm: FakeVllm
) -> None:
    vllm.say = lambda body: words(body["model"], "Hello", finish=None)

    with pytest.raises(StreamCut):
        await answer(chat, ask(domain))


async def test_answers_left_open_by_a_dead_process_are_closed(
    chat: Chat, domain: Domain, store: Store
) -> None:
    question = ask(domain)
    events = chat.answer(question)
    await anext(events)
    assert await chat.close_abandoned() == 0
    with store.write() as db:
        db.execute("UPDATE replies SET opened_at = opened_at - 1000000000")

    assert await chat.close_abandoned() == 1

    assert conversations.reply(store.db, question.reply_id).status == "failed"
    await events.aclose()


class TestComparison:
    @pytest.fixture(autouse=True)
    def experiment(self, store: Store, domain: Domain) -> experiments.Experiment:
        with store.write() as db:
            a, b = registry.get(db, "helpdesk@1"), registry.get(db, "helpdesk@2")
            return experiments.start(db, domain, a, b, "cli:test")

    async def test_a_person_stays_on_a_variant(self, chat: Chat, domain: Domain) -> None:
        seen: dict[str, set[str]] = {}
        for turn in range(3):
            for n in range(20):
                person = f"cli:p{n}"
                events = await answer(chat, ask(domain, person=person, thread=f"{person}/{turn}"))
                assert isinstance(events[0], Started)
                seen.setdefault(person, set()).add(f"{events[0].variant}={events[0].adapter}")

        assert {len(s) for s in seen.values()} == {1}
        assert set.union(*seen.values()) == {"A=helpdesk@1", "B=helpdesk@2"}

    async def test_answers_are_counted_for_their_variant(
        self, chat: Chat, domain: Domain, store: Store, experiment: experiments.Experiment
    ) -> None:
        for n in range(20):
            await answer(chat, ask(domain, person=f"cli:p{n}", thread=f"cli:p{n}/1"))

        a, b = given.counts(store.db, experiment)
        assert a.people + b.people == a.replies + b.replies == 20
        assert a.people > 0
        assert b.people > 0

    async def test_a_pinned_adapter_is_in_no_comparison(
        self, chat: Chat, domain: Domain, store: Store, experiment: experiments.Experiment
    ) -> None:
        events = await answer(chat, ask(domain, pinned="helpdesk@2"))

        assert isinstance(events[0], Started)
        assert (events[0].adapter, events[0].variant) == ("helpdesk@2", None)
        assert [c.people + c.replies for c in given.counts(store.db, experiment)] == [0, 0]

    async def test_nobody_new_is_assigned_while_one_variant_is_not_loaded(
        self, chat: Chat, domain: Domain, store: Store, experiment: experiments.Experiment
    ) -> None:
        """Otherwise only the people of the other variant would be counted."""
        people = [f"cli:p{n}" for n in range(20)]
        assigned = {p: assignments.variant_for(experiment, p) for p in people}
        before = next(p for p in people if assigned[p].label == "A")
        await answer(chat, ask(domain, person=before, thread=before))
        with store.write() as db:
            db.execute("DELETE FROM placements WHERE adapter_id = 2")

        for person in people:
            events = await answer(chat, ask(domain, person=person, thread=f"{person}/1"))
            assert isinstance(events[0], Started)
            assert events[0].adapter == "helpdesk@1"
            assert events[0].variant == ("A" if person == before else None)

        a, b = given.counts(store.db, experiment)
        assert (a.people, a.replies, b.people, b.replies) == (1, 2, 0, 0)

    async def test_a_variants_own_prompt_and_sampling_are_used(
        self, chat: Chat, domain: Domain, store: Store, vllm: FakeVllm
    ) -> None:
        with store.write() as db:
            db.execute(
                "UPDATE variants SET system_prompt = 'Rhyme.', sampling = '{\"top_p\": 0.5}'"
            )

        await answer(chat, ask(domain))
        await answer(chat, ask(domain, system="Mine.", sampling={"top_p": 0.7}))

        first, second = vllm.asked
        assert (first["messages"][0]["content"], first["top_p"]) == ("Rhyme.", 0.5)
        assert (second["messages"][0]["content"], second["top_p"]) == ("Mine.", 0.7)


async def test_without_the_live_adapter_the_bare_base_answers(
    chat: Chat, domain: Domain, store: Store, vllm: FakeVllm
) -> None:
    with store.write() as db:
        db.execute("DELETE FROM placements")

    events = await answer(chat, ask(domain))

    assert isinstance(events[0], Started)
    assert events[0].adapter == "base"
    assert vllm.asked[0]["model"] == "base@0"


async def test_until_a_promoted_adapter_is_loaded_its_predecessor_answers(
    chat: Chat, domain: Domain, store: Store
) -> None:
    with store.write() as db:
        third = add_adapter(db, domain, 3)
        registry.promote(db, third, "cli:test")
    before = await answer(chat, ask(domain))
    with store.write() as db:
        placements.record_loaded(db, "here", third.id, 1.0)
    after = await answer(chat, ask(domain))

    assert [e.adapter for e in (before[0], after[0]) if isinstance(e, Started)] == [
        "helpdesk@1",
        "helpdesk@3",
    ]


async def test_a_rolled_back_adapter_is_no_fallback(
    chat: Chat, domain: Domain, store: Store
) -> None:
    with store.write() as db:
        registry.promote(db, registry.get(db, "helpdesk@2"), "cli:test")
        registry.roll_back(db, domain, "cli:test")
        db.execute("DELETE FROM placements WHERE adapter_id = 1")

    events = await answer(chat, ask(domain))

    assert isinstance(events[0], Started)
    assert events[0].adapter == "base"


class TestSlots:
    @pytest.fixture
    async def chat(self, store: Store) -> AsyncIterator[Chat]:
        """One answer at a time, one waiting question, a time limit of six seconds."""
        engine = EngineClient()
        bot = BotSettings(max_in_flight=1, max_waiting=1, answer_timeout_s=6)
        yield Chat(store, engine, Settings(bot=bot, answers=ALONE))
        await engine.close()

    async def test_a_question_waits_for_its_turn(
        self, chat: Chat, domain: Domain, vllm: FakeVllm
    ) -> None:
        first = chat.answer(ask(domain))
        await anext(first)
        second = asyncio.create_task(answer(chat, ask(domain, person="cli:bob")))
        while not chat.admission.waiting:
            await asyncio.sleep(0.01)
        assert len(vllm.asked) == 1

        await first.aclose()

        assert isinstance((await second)[-1], Ended)
        assert (chat.admission.running, chat.admission.waiting) == (0, 0)

    async def test_a_refused_question_is_not_recorded(
        self, chat: Chat, domain: Domain, store: Store
    ) -> None:
        first = chat.answer(ask(domain))
        await anext(first)
        second = asyncio.create_task(answer(chat, ask(domain)))
        while not chat.admission.waiting:
            await asyncio.sleep(0.01)

        with pytest.raises(TooBusy):
            await answer(chat, ask(domain))

        second.cancel()
        await asyncio.wait({second})
        await first.aclose()
        assert [r["status"] for r in store.db.query("SELECT status FROM replies")] == ["cancelled"]
        assert (chat.admission.running, chat.admission.waiting) == (0, 0)

    async def test_a_promotion_during_a_long_wait_applies_to_the_waiting_question(
        self, chat: Chat, domain: Domain, store: Store
    ) -> None:
        first = chat.answer(ask(domain))
        await anext(first)
        second = asyncio.create_task(answer(chat, ask(domain, person="cli:bob")))
        await asyncio.sleep(REPLAN_AFTER_S + 0.1)
        with store.write() as db:
            registry.promote(db, registry.get(db, "helpdesk@2"), "cli:test")

        await first.aclose()

        started = (await second)[0]
        assert isinstance(started, Started)
        assert (started.adapter, started.instead_of) == ("helpdesk@2", None)

    async def test_a_wait_that_is_too_long_ends_with_the_time_to_retry(
        self, chat: Chat, domain: Domain
    ) -> None:
        first = chat.answer(ask(domain))
        await anext(first)

        with pytest.raises(TooBusy, match="30 seconds"):
            await answer(chat, ask(domain, person="cli:bob"))

        await first.aclose()
        assert (chat.admission.running, chat.admission.waiting) == (0, 0)

    async def test_an_answer_that_fails_over_frees_its_slot_first(
        self, chat: Chat, domain: Domain, vllm: FakeVllm
    ) -> None:
        """With one slot at each replica, an answer that fails over must not wait for itself."""
        vllm.say = lambda body: (
            words(body["model"], "Hello") if body["model"] == "base@0" else refusal(500, "no")
        )

        async with asyncio.timeout(5):
            events = await answer(chat, ask(domain))

        assert isinstance(events[0], Started)
        assert events[0].instead_of == "helpdesk@1"
        assert chat.admission.running == 0
