"""Which fallback answers when the intended adapter cannot, and how the answer is marked.

Two replicas hold `helpdesk@1` (previously live) and `helpdesk@2` (live).
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.answering import recording
from bot.answering.chat import Chat
from bot.answering.events import Event, Started, fallback_note
from bot.answering.plan import NobodyCanAnswer
from bot.answering.prompt import Ask
from bot.answering.recording import Closed
from bot.answering.routing import Route, Target
from data import domains
from data.adapters import placements, registry
from data.config.settings import BotSettings, Settings
from data.conversations import conversations
from data.conversations.conversations import Reply
from data.domains import Domain
from data.experiments import experiments, metric_sums
from data.experiments.metric_sums import equal_weight_sums
from data.feedback import feedback
from data.store.db import Store
from data.store.errors import Invalid
from serving.client import EngineClient, EngineDown
from tests.bot.conftest import add_adapter, add_replica
from tests.conftest import ALONE
from tests.data import given
from tests.serving.fake_vllm import CUT, HANG, FakeVllm, refusal, running, words

Say = Callable[[dict[str, Any]], Any]

FAILURES: dict[str, Say] = {
    "500": lambda body: refusal(500, "out of memory"),
    "not held": lambda body: refusal(404, "no such model"),
    "interrupted": lambda body: [*words(body["model"])[:1], CUT],
    "aborted": lambda body: words(body["model"], finish="abort"),
    "another model": lambda body: words("helpdesk@9-ffff", "Hello"),
    "silent": lambda body: [HANG],
}


def failing(say: Say, *names: str) -> Say:
    """An engine where the named adapters fail like `say`, and the others answer with their name."""

    def answer(body: dict[str, Any]) -> Any:
        name = body["model"].split("-")[0]
        return say(body) if name in names else words(body["model"], name)

    return answer


@pytest.fixture
def one() -> Iterator[FakeVllm]:
    with running(FakeVllm(say=failing(FAILURES["500"]))) as fake:
        yield fake


@pytest.fixture
def two() -> Iterator[FakeVllm]:
    with running(FakeVllm(say=failing(FAILURES["500"]))) as fake:
        yield fake


@pytest.fixture
def store(tmp_path: Path, one: FakeVllm, two: FakeVllm) -> Iterator[Store]:
    with Store(tmp_path / "understudy.db") as store:
        with store.write() as db:
            domain = domains.create(db, "helpdesk")
            first, second = add_adapter(db, domain, 1), add_adapter(db, domain, 2)
            registry.promote(db, first, "cli:test")
            registry.promote(db, second, "cli:test")
            add_replica(db, one.url, first, second, name="one")
            add_replica(db, two.url, first, second, name="two")
            db.execute("UPDATE replicas SET precision = 'bfloat16'")
        yield store


@pytest.fixture
def domain(store: Store) -> Domain:
    return domains.get(store.db, "helpdesk")


@pytest.fixture
def closed() -> list[Closed]:
    return []


@pytest.fixture
async def chat(store: Store, closed: list[Closed]) -> AsyncIterator[Chat]:
    engine = EngineClient()
    yield Chat(
        store,
        engine,
        Settings(bot=BotSettings(answer_timeout_s=2, engine_wait_s=0), answers=ALONE),
        closed.append,
    )
    await engine.close()


def ask(domain: Domain, **more: Any) -> Ask:
    return Ask(
        **({"person": "cli:ann", "thread": "cli:1", "text": "Why?", "domain": domain} | more)
    )


async def started(chat: Chat, question: Ask) -> Started:
    events: list[Event] = [event async for event in chat.answer(question)]
    assert isinstance(events[0], Started)
    return events[0]


def replies(store: Store) -> list[Reply]:
    found = store.db.query("SELECT id FROM replies ORDER BY created_at")
    return [conversations.reply(store.db, r["id"]) for r in found]


@pytest.mark.parametrize("how", FAILURES)
async def test_the_same_adapter_on_another_replica_is_tried_first(
    chat: Chat, domain: Domain, store: Store, one: FakeVllm, two: FakeVllm, how: str
) -> None:
    one.say = failing(FAILURES[how], "helpdesk@2")

    seen = [await started(chat, ask(domain)) for _ in range(2)]

    assert [(s.adapter, s.instead_of, s.precision) for s in seen] == [
        ("helpdesk@2", None, "bfloat16")
    ] * 2
    assert {
        (r.replica, r.precision, r.adapter_id, r.instead_of, r.status) for r in replies(store)
    } == {("two", "bfloat16", 2, None, "done")}


@pytest.mark.parametrize("how", FAILURES)
async def test_then_the_previously_live_adapter_answers_marked_as_a_fallback(
    chat: Chat,
    domain: Domain,
    store: Store,
    one: FakeVllm,
    two: FakeVllm,
    closed: list[Closed],
    how: str,
) -> None:
    one.say = two.say = failing(FAILURES[how], "helpdesk@2")

    first = await started(chat, ask(domain))

    assert (first.adapter, first.instead_of) == ("helpdesk@1", "helpdesk@2")
    (reply,) = replies(store)
    assert (reply.adapter_id, reply.instead_of, reply.status) == (1, 2, "done")
    assert reply.replica in ("one", "two")
    assert [(c.adapter, c.instead_of, c.status) for c in closed] == [
        ("helpdesk@1", "helpdesk@2", "done")
    ]


async def test_then_the_bare_base_answers(
    chat: Chat, domain: Domain, store: Store, one: FakeVllm, two: FakeVllm
) -> None:
    one.say = two.say = failing(FAILURES["500"], "helpdesk@1", "helpdesk@2")

    first = await started(chat, ask(domain))

    assert (first.adapter, first.instead_of) == ("base", "helpdesk@2")
    assert [m["model"].split("-")[0] for m in (*one.asked, *two.asked)].count("base@0") == 1
    assert (replies(store)[0].adapter_id, replies(store)[0].instead_of) == (None, 2)


async def test_an_adapter_that_no_replica_holds_gets_a_marked_fallback(
    chat: Chat, domain: Domain, store: Store
) -> None:
    with store.write() as db:
        db.execute("DELETE FROM placements WHERE adapter_id = 2")

    first = await started(chat, ask(domain))

    assert (first.adapter, first.instead_of) == ("helpdesk@1", "helpdesk@2")


async def test_a_pinned_adapter_has_no_fallback(
    chat: Chat, domain: Domain, store: Store, one: FakeVllm, two: FakeVllm
) -> None:
    one.say = two.say = failing(FAILURES["500"], "helpdesk@2")

    with pytest.raises(
        NobodyCanAnswer, match=r"helpdesk@2 cannot answer right now: .*out of memory"
    ):
        await started(chat, ask(domain, pinned="helpdesk@2"))

    assert {b["model"].split("-")[0] for b in (*one.asked, *two.asked)} == {"helpdesk@2"}
    assert [r.status for r in replies(store)] == ["failed"]


async def test_when_no_fallback_is_left_the_error_names_the_cause_and_the_time_to_retry(
    chat: Chat, domain: Domain, store: Store, one: FakeVllm, two: FakeVllm
) -> None:
    one.say = two.say = FAILURES["500"]

    with pytest.raises(NobodyCanAnswer) as first:
        await started(chat, ask(domain))
    for _ in range(3):
        with pytest.raises(NobodyCanAnswer) as last:
            await started(chat, ask(domain))

    assert isinstance(first.value, EngineDown)
    assert str(first.value) == (
        "Neither helpdesk@2 nor a fallback can answer right now: The engine answered 500: out of "
        "memory. Try again in a second."
    )
    assert last.value.retry_after >= 1
    assert "out of memory" in str(last.value)


async def test_a_replica_that_answered_wrongly_is_not_asked_again(
    chat: Chat, domain: Domain, one: FakeVllm, two: FakeVllm
) -> None:
    """An answer from the wrong adapter opens the circuit at once."""
    one.say = failing(FAILURES["another model"], "helpdesk@2")

    for _ in range(5):
        await started(chat, ask(domain))

    assert len(one.asked) <= 1
    (circuit,) = chat.breaker.open()
    assert (circuit.replica, circuit.adapter) == ("one", "helpdesk@2")
    assert "helpdesk@9-ffff" in circuit.reason


async def test_a_failing_adapter_is_used_again_once_it_answers(
    chat: Chat, domain: Domain, one: FakeVllm, two: FakeVllm
) -> None:
    well = one.say
    one.say = two.say = failing(FAILURES["not held"], "helpdesk@2")
    assert (await started(chat, ask(domain))).adapter == "helpdesk@1"
    one.say = two.say = well

    async with asyncio.timeout(10):
        while (await started(chat, ask(domain))).adapter != "helpdesk@2":
            await asyncio.sleep(0.1)


async def test_a_fallback_for_a_variant_counts_its_people_but_not_their_ratings(
    chat: Chat, domain: Domain, store: Store, one: FakeVllm, two: FakeVllm
) -> None:
    """Otherwise a failing variant would lose people: a broken split instead of a guardrail."""
    with store.write() as db:
        third = add_adapter(db, domain, 3)
        placements.record_loaded(db, "one", third.id, 1.0)
        live = registry.get(db, "helpdesk@2")
        experiment = experiments.start(db, domain, live, third, "cli:test")
    one.say = two.say = failing(FAILURES["500"], "helpdesk@3")

    seen = [
        await started(chat, ask(domain, person=f"cli:{n}", thread=f"cli:{n}")) for n in range(12)
    ]

    marked = [s for s in seen if s.instead_of == "helpdesk@3"]
    assert 0 < len(marked) < 12
    assert {(s.adapter, s.variant) for s in marked} == {("helpdesk@2", None)}
    with store.write() as db:
        for s in marked:
            rater = conversations.reply(db, s.reply_id).person
            feedback.thumb(db, s.reply_id, rater, up=False)
    a, b = given.counts(store.db, experiment)
    assert (b.people, b.replies, b.ratings) == (len(marked), 0, ())
    assert a.people == a.replies == 12 - len(marked)
    ((control, candidate),) = [s.cells for s in metric_sums.collect(store.db, experiment).stages]
    assert candidate.sums == {"failed": equal_weight_sums(len(marked), len(marked), len(marked))}
    assert control.of("failed") == equal_weight_sums(a.people, 0, 0)


async def test_an_adapter_drained_between_planning_and_opening_is_planned_again(
    chat: Chat, domain: Domain, store: Store, one: FakeVllm, two: FakeVllm
) -> None:
    """The store's writer is busy with the drain while the question is planned."""
    go_on = threading.Event()

    def drain(db: Any) -> None:
        go_on.wait(5)
        db.execute("UPDATE placements SET state = 'draining' WHERE adapter_id = 2")

    drained = store.submit_soon(drain)
    answer = asyncio.create_task(started(chat, ask(domain)))
    while not store.waiting:
        await asyncio.sleep(0.005)
    go_on.set()

    first = await answer

    drained.result()
    assert (first.adapter, first.instead_of) == ("helpdesk@1", "helpdesk@2")
    assert all(b["model"].startswith("helpdesk@1") for b in (*one.asked, *two.asked))
    assert len(replies(store)) == 1


async def test_no_answer_moves_to_a_draining_adapter(
    chat: Chat, domain: Domain, store: Store, one: FakeVllm, two: FakeVllm
) -> None:
    def drain_then_fail(body: dict[str, Any]) -> Any:
        with store.write() as db:
            db.execute("UPDATE placements SET state = 'draining' WHERE adapter_id = 2")
        return refusal(500, "out of memory")

    one.say = two.say = failing(drain_then_fail, "helpdesk@2")

    first = await started(chat, ask(domain))

    assert first.adapter == "helpdesk@1"
    assert [b["model"].split("-")[0] for b in (*one.asked, *two.asked)].count("helpdesk@2") == 1


def test_a_reply_is_not_opened_where_its_adapter_is_not_held(store: Store, domain: Domain) -> None:
    adapter = registry.get(store.db, "helpdesk@2")
    (replica,) = (r for r in placements.ready(store.db) if r.name == "one")
    with store.write() as db:
        placements.drop(db, "one", adapter.id)
        opened = recording.open_reply(
            db, ask(domain), domain, Route(Target(adapter, (replica,)), replica)
        )

    assert not opened
    assert replies(store) == []
    assert list(store.db.query("SELECT 1 FROM conversations")) == []


async def test_an_unreachable_replica_is_tried_once(
    chat: Chat, domain: Domain, store: Store, two: FakeVllm
) -> None:
    with store.write() as db:
        db.execute("UPDATE replicas SET url = 'http://127.0.0.1:9' WHERE name = 'one'")

    for _ in range(4):
        assert (await started(chat, ask(domain))).adapter == "helpdesk@2"

    assert [(o.replica, o.adapter) for o in chat.breaker.open()] == [("one", None)]


async def test_a_refused_question_opens_no_circuit(
    chat: Chat, domain: Domain, one: FakeVllm, two: FakeVllm
) -> None:
    one.say = two.say = lambda body: refusal(400, "temperature must be non-negative")

    for _ in range(6):
        with pytest.raises(Invalid, match="temperature"):
            await started(chat, ask(domain))

    assert chat.breaker.open() == []


def test_the_note_below_a_fallbacks_answer_is_one_sentence() -> None:
    assert fallback_note("helpdesk@2", None) == ""
    assert (
        fallback_note("helpdesk@2", "helpdesk@3") == "helpdesk@3 could not answer; helpdesk@2 did."
    )
    assert fallback_note("base", "helpdesk@3") == "helpdesk@3 could not answer; the bare base did."


async def test_concurrent_questions_get_the_working_fallback_and_only_one_probes_a_failed_adapter(
    chat: Chat, domain: Domain, one: FakeVllm, two: FakeVllm
) -> None:
    """Two adapters that fail for many people at once block neither the base nor the engine."""
    one.say = two.say = failing(FAILURES["500"], "helpdesk@1", "helpdesk@2")

    async def crowd() -> list[str]:
        people = [ask(domain, person=f"cli:{n}", thread=f"cli:{n}") for n in range(30)]
        return [s.adapter for s in await asyncio.gather(*(started(chat, p) for p in people))]

    assert await crowd() == ["base"] * 30
    assert [o.adapter for o in chat.breaker.open()] == ["helpdesk@1", "helpdesk@2"] * 2

    while any(chat.breaker.wait_s(o.replica, o.adapter or "") for o in chat.breaker.open()):
        await asyncio.sleep(0.05)
    for vllm in (one, two):
        vllm.asked.clear()
    assert await crowd() == ["base"] * 30
    for vllm in (one, two):
        asked = [body["model"].split("-")[0] for body in vllm.asked]
        assert asked.count("helpdesk@2") == 1
        assert asked.count("helpdesk@1") == 1
