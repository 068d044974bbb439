"""Answers that rest on approved pairs: with an engine, without one, and without any pair."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from bot.answering import side_by_side
from bot.answering.chat import Chat
from bot.answering.events import Delta, Ended, Event, Started
from bot.answering.prompt import Ask
from bot.answering.recording import Closed
from bot.experiments import comparisons
from data import domains
from data.adapters import registry
from data.config.settings import BotSettings, SearchSettings, Settings
from data.conversations import conversations
from data.domains import Domain
from data.experiments import assignments, experiments
from data.experiments.variants import VariantSpec
from data.feedback import feedback
from data.pairs import datasets, pairs, reply_sources, review_status
from data.pairs.pairs import Draft
from data.privacy import erasure
from data.store.db import Store, row, value
from data.store.errors import Invalid, Unavailable
from serving.client import EngineClient
from tests.bot.conftest import add_adapter, add_replica
from tests.serving.fake_vllm import CUT, FakeVllm, refusal, words

OPENING = ("When do you open?", "We open at nine on weekdays.", "hours")
PRINTER = ("How do I clean the printer?", "Press the green button for ten seconds.", "printer")


def add_pair(db: Database, prompt: str, response: str, fact: str = "") -> int:
    domain = domains.get(db, "helpdesk")
    drafts = [Draft(prompt, response, fact=fact)]
    (pair_id,) = pairs.add(db, domain, drafts, source="teach", author="slack:T1/U7").ids
    review_status.set_status(db, pair_id, "approved", "slack:T1/U9")
    return pair_id


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A domain with two approved pairs, no adapter and no engine."""
    with Store(tmp_path / "understudy.db") as store:
        with store.write() as db:
            domains.create(db, "helpdesk", "the help desk", "Be brief.", ("Who are you?",))
            add_pair(db, *OPENING)
            add_pair(db, *PRINTER)
        yield store


@pytest.fixture
def closed() -> list[Closed]:
    return []


@pytest.fixture
async def chat(store: Store, closed: list[Closed]) -> AsyncIterator[Chat]:
    engine = EngineClient()
    settings = Settings(
        bot=BotSettings(answer_timeout_s=2, engine_wait_s=60),
        search=SearchSettings(encoder="words"),
    )
    yield Chat(store, engine, settings, closed.append)
    await engine.close()


def live(store: Store, vllm: FakeVllm, **more: Any) -> None:
    """`helpdesk@1` is live, `helpdesk@2` a candidate; an engine holds both."""
    with store.write() as db:
        domain = domains.get(db, "helpdesk")
        first, second = add_adapter(db, domain, 1), add_adapter(db, domain, 2)
        registry.promote(db, first, "cli:test")
        add_replica(db, vllm.url, first, second)
        for column, stored in more.items():
            db.execute(f"UPDATE adapters SET {column} = ?", [stored])


def ask(store: Store, text: str, **more: Any) -> Ask:
    domain = domains.get(store.db, "helpdesk")
    given = {"person": "cli:ann", "thread": "cli:ann/1", "text": text, "domain": domain}
    return Ask(**(given | more))


async def answer(chat: Chat, question: Ask) -> tuple[Started, str, Ended]:
    return await chat.complete(question)


def prompts(started: Started) -> list[str]:
    return [s.prompt for s in started.sources]


def reply(store: Store) -> conversations.Reply:
    """The newest one."""
    newest = row(store.db, "SELECT id FROM replies ORDER BY created_at DESC, id DESC")
    assert newest is not None
    return conversations.reply(store.db, newest["id"])


async def test_without_an_engine_the_best_pair_is_quoted(
    chat: Chat, store: Store, closed: list[Closed]
) -> None:
    started, text, ended = await answer(chat, ask(store, "When do you open today?"))

    assert text == "We open at nine on weekdays."
    assert (started.outcome, started.adapter, started.instead_of) == ("quoted", "", None)
    (source,) = started.sources
    assert (source.prompt, source.approved_by) == ("When do you open?", "slack:T1/U9")
    assert ended == Ended("stop", 0, 0)
    kept = reply(store)
    assert (kept.status, kept.outcome, kept.adapter_id, kept.finish_reason) == (
        "done",
        "quoted",
        None,
        "stop",
    )
    assert kept.similarity == source.similarity > 0.4
    assert reply_sources.of_reply(store.db, kept.id) == started.sources
    assert [(c.outcome, c.adapter) for c in closed] == [("quoted", "")]


async def test_what_no_pair_answers_is_declined_and_listed(chat: Chat, store: Store) -> None:
    started, text, _ = await answer(chat, ask(store, "Who painted the Mona Lisa?"))

    assert text == (
        "I don't have an approved answer to that. I answer questions about the help desk."
    )
    assert (started.outcome, started.suggestions) == ("declined", ("Who are you?",))
    assert reply(store).outcome == "declined"
    (listed,) = store.db.query("SELECT reply_id, state FROM unanswered")
    assert listed == {"reply_id": started.reply_id, "state": "open"}


async def test_the_engine_is_not_asked_what_no_pair_answers(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    live(store, vllm)

    started, _, _ = await answer(chat, ask(store, "Who painted the Mona Lisa?"))

    assert (started.outcome, vllm.asked) == ("declined", [])


async def test_an_empty_domain_declines(chat: Chat, store: Store) -> None:
    with store.write() as db:
        empty = domains.create(db, "empty")

    started, _, _ = await answer(chat, ask(store, "When do you open?", domain=empty))

    assert (started.outcome, started.suggestions) == ("declined", ())


async def test_an_adapter_that_reads_gets_the_references(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    live(store, vllm, recipe='{"layout": 1, "references": 4}')

    started, text, _ = await answer(chat, ask(store, "When do you open today?"))

    assert vllm.asked[-1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": "Q: When do you open?\nA: We open at nine on weekdays.\n\n"
            "Question: When do you open today?",
        },
    ]
    assert (started.outcome, started.adapter, started.layout) == ("generated", "helpdesk@1", 1)
    assert prompts(started) == ["When do you open?"]
    assert (text, reply(store).layout) == ("Hello there", 1)
    assert reply_sources.of_reply(store.db, started.reply_id) == started.sources


async def test_an_adapter_gets_as_many_references_as_in_its_training(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    with store.write() as db:
        helpdesk = domains.get(db, "helpdesk")
        more = Draft("When do you open on Sunday?", "We do not open on Sunday.")
        pairs.add(db, helpdesk, [more], source="test", status="approved")
    live(store, vllm, recipe='{"layout": 1, "references": 1}')

    started, _, _ = await answer(chat, ask(store, "When do you open?"))

    assert vllm.asked[-1]["messages"][-1]["content"].count("Q: ") == 1
    assert len(started.sources) == 1


async def test_a_control_token_in_a_question_begins_no_turn(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    live(store, vllm, recipe='{"layout": 1, "references": 4}')

    await answer(chat, ask(store, "When do you open?<|im_end|>"))

    asked = vllm.asked[-1]["messages"][-1]["content"]
    assert "<|im_" not in asked
    assert asked.endswith("Question: When do you open?< |im_end|>")


@pytest.mark.parametrize(
    "pieces", [("I don't know.",), ("I", " don't", " know", ".\n"), (" I don't know. ",)]
)
async def test_an_adapter_that_finds_no_answer_in_its_references_declines(
    chat: Chat, store: Store, vllm: FakeVllm, closed: list[Closed], pieces: tuple[str, ...]
) -> None:
    live(store, vllm, recipe='{"layout": 1, "references": 4}')
    with store.write() as db:
        domains.set_refusal(db, domains.get(db, "helpdesk"), "No idea, sorry.")
    vllm.say = lambda body: words(body["model"], *pieces)

    started, text, ended = await answer(chat, ask(store, "When do you open on Mars?"))

    assert (text, started.outcome, started.adapter) == ("No idea, sorry.", "declined", "helpdesk@1")
    assert (started.suggestions, ended.completion_tokens) == (("When do you open?",), 2)
    kept = reply(store)
    assert (kept.outcome, kept.status, kept.adapter_id is not None) == ("declined", "done", True)
    assert conversations.exchange(store.db, kept.id)[1] == text
    assert value(store.db, "SELECT count(*) FROM unanswered") == 1
    assert [c.outcome for c in closed] == ["declined"]


async def test_what_was_held_back_when_an_answer_broke_off_is_not_stored(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    """It might have become a refusal, so nobody saw it; the store keeps what was shown."""
    live(store, vllm, recipe='{"layout": 1, "references": 4}')

    def say(body: dict[str, Any]) -> Any:
        first = len(vllm.asked) == 1
        return [*words(body["model"], "I", " don't")[:3], CUT] if first else refusal(500, "boom")

    vllm.say = say
    with pytest.raises(Unavailable):
        await answer(chat, ask(store, "When do you open?", pinned="helpdesk@1"))

    kept = reply(store)
    assert (kept.status, kept.outcome) == ("failed", "generated")
    assert conversations.exchange(store.db, kept.id)[1] == ""


@pytest.mark.parametrize(
    "pieces",
    [("I", " don't", " mind."), ("I don't",), ("I don't know.", " Ask Ann."), ("At", " nine")],
)
async def test_an_answer_that_only_begins_like_a_refusal_is_whole(
    chat: Chat, store: Store, vllm: FakeVllm, pieces: tuple[str, ...]
) -> None:
    live(store, vllm, recipe='{"layout": 1, "references": 4}')
    vllm.say = lambda body: words(body["model"], *pieces)

    started, text, _ = await answer(chat, ask(store, "When do you open today?"))

    assert (started.outcome, text) == ("generated", "".join(pieces))


async def test_an_adapter_without_a_layout_may_say_that_it_does_not_know(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    live(store, vllm)
    vllm.say = lambda body: words(body["model"], "I don't know.")

    started, text, _ = await answer(chat, ask(store, "When do you open today?"))

    assert (started.outcome, text) == ("generated", "I don't know.")


async def test_an_adapter_without_a_layout_answers_alone(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    live(store, vllm)

    started, _, _ = await answer(chat, ask(store, "When do you open today?"))

    assert vllm.asked[-1]["messages"][-1]["content"] == "When do you open today?"
    assert (started.outcome, started.layout) == ("generated", 0)
    assert prompts(started) == ["When do you open?"]
    assert reply(store).layout == 0


async def test_references_that_do_not_fit_are_no_sources(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    live(store, vllm, recipe='{"layout": 1, "references": 4}')
    with store.write() as db:
        add_pair(db, "When do you open the doors?", "At eight.", "doors")

    def say(body: dict[str, Any]) -> Any:
        if "at nine" in body["messages"][-1]["content"]:
            return refusal(400, "This model's maximum context length is 9 tokens.")
        return words(body["model"], "At eight.")

    vllm.say = say
    started, _, _ = await answer(chat, ask(store, "When do you open?"))

    assert (started.layout, prompts(started)) == (1, ["When do you open the doors?"])
    assert reply_sources.of_reply(store.db, started.reply_id) == started.sources


@pytest.mark.parametrize("fails", ["refuses", "cuts", "is away"])
async def test_an_engine_that_fails_before_its_first_word_makes_way_for_a_pair(
    chat: Chat, store: Store, vllm: FakeVllm, closed: list[Closed], fails: str
) -> None:
    live(store, vllm)
    if fails == "refuses":
        vllm.say = lambda _: refusal(500, "boom")
    elif fails == "cuts":
        vllm.say = lambda _: [CUT]
    else:
        with store.write() as db:
            db.execute("UPDATE replicas SET state = 'down'")

    started, text, _ = await answer(chat, ask(store, "When do you open today?"))

    assert (started.outcome, text) == ("quoted", "We open at nine on weekdays.")
    assert started.instead_of == "helpdesk@1"
    kept = reply(store)
    assert (kept.status, kept.outcome, kept.adapter_id, kept.error) == ("done", "quoted", None, "")
    assert value(store.db, "SELECT count(*) FROM replies") == 1
    assert conversations.exchange(store.db, kept.id)[1] == text
    assert [(c.outcome, c.status) for c in closed] == [("quoted", "done")]


async def test_after_the_first_word_an_answer_is_not_replaced(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    live(store, vllm)
    vllm.say = lambda body: [*words(body["model"], "We open")[:2], CUT]
    events: list[Event] = []

    async def read() -> None:
        async for event in chat.answer(ask(store, "When do you open today?")):
            events.append(event)

    with pytest.raises(Unavailable):
        await read()

    assert set(events[1:]) == {Delta("We open")}
    assert (reply(store).status, reply(store).outcome) == ("partial", "generated")


async def test_the_base_never_takes_the_place_of_an_adapter(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    with store.write() as db:
        add_replica(db, vllm.url)

    started, _, _ = await answer(chat, ask(store, "When do you open today?"))

    assert (started.outcome, vllm.asked) == ("quoted", [])


async def test_a_pinned_base_answers_everything(chat: Chat, store: Store, vllm: FakeVllm) -> None:
    live(store, vllm)

    question = ask(store, "Who painted the Mona Lisa?", pinned="helpdesk@base")
    started, text, _ = await answer(chat, question)

    assert (started.adapter, started.outcome, started.sources) == ("base", "generated", ())
    assert (text, reply(store).similarity) == ("Hello there", None)


async def test_a_pinned_adapter_is_never_replaced_by_a_pair(chat: Chat, store: Store) -> None:
    with store.write() as db:
        add_adapter(db, domains.get(db, "helpdesk"), 1)

    with pytest.raises(Unavailable):
        await answer(chat, ask(store, "When do you open?", pinned="helpdesk@1"))


async def test_a_caller_may_do_without_references(chat: Chat, store: Store, vllm: FakeVllm) -> None:
    live(store, vllm)

    question = ask(store, "Who painted the Mona Lisa?", references=False)
    started, _, _ = await answer(chat, question)

    assert (started.adapter, started.sources) == ("helpdesk@1", ())


async def test_a_domain_may_do_without_references(chat: Chat, store: Store, vllm: FakeVllm) -> None:
    live(store, vllm)
    with store.write() as db:
        domains.set_answer_mode(db, domains.get(db, "helpdesk"), "adapter")

    started, _, _ = await answer(chat, ask(store, "Who painted the Mona Lisa?"))

    assert started.outcome == "generated"


async def test_in_quote_mode_approved_answers_are_given_word_for_word(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    live(store, vllm)
    with store.write() as db:
        domains.set_answer_mode(db, domains.get(db, "helpdesk"), "quote")

    quoted, text, _ = await answer(chat, ask(store, "When do you open today?"))
    declined, _, _ = await answer(chat, ask(store, "Who painted the Mona Lisa?"))
    pinned, _, _ = await answer(chat, ask(store, "When do you open?", pinned="helpdesk@1"))

    assert (quoted.outcome, text) == ("quoted", "We open at nine on weekdays.")
    assert (quoted.instead_of, declined.outcome) == (None, "declined")
    assert (pinned.outcome, pinned.adapter) == ("generated", "helpdesk@1")
    assert len(vllm.asked) == 1  # the pinned adapter


async def test_a_domain_declines_below_its_own_similarity(chat: Chat, store: Store) -> None:
    with store.write() as db:
        domains.set_decline_below(db, domains.get(db, "helpdesk"), 1.0)

    started, _, _ = await answer(chat, ask(store, "When do you open exactly?"))

    assert (started.outcome, started.suggestions) == ("declined", ("When do you open?",))
    (kept,) = reply_sources.of_reply(store.db, started.reply_id)
    assert kept.prompt == "When do you open?"


async def test_small_talk_is_no_question(chat: Chat, store: Store, vllm: FakeVllm) -> None:
    live(store, vllm)
    await answer(chat, ask(store, "When do you open today?"))

    started, text, _ = await answer(chat, ask(store, "Thanks!"))

    assert (started.outcome, started.sources) == ("small_talk", ())
    assert text == "You're welcome. Ask me anything else about the help desk."
    assert value(store.db, "SELECT count(*) FROM unanswered") == 0
    assert len(vllm.asked) == 1


async def test_a_pair_for_small_talk_comes_first(chat: Chat, store: Store) -> None:
    with store.write() as db:
        add_pair(db, "Hello", "Welcome to the desk!")

    assert (await answer(chat, ask(store, "hello")))[1] == "Welcome to the desk!"


async def test_a_pair_counts_at_once_and_no_longer_than_it_is_approved(
    chat: Chat, store: Store
) -> None:
    question = "Where is the car park?"
    first, _, _ = await answer(chat, ask(store, question))
    with store.write() as db:
        pair_id = add_pair(db, "Where is the car park?", "Behind the house.")
    second, text, _ = await answer(chat, ask(store, question, thread="cli:ann/2"))
    with store.write() as db:
        review_status.set_status(db, pair_id, "rejected", "cli:ann")
    third, _, _ = await answer(chat, ask(store, question, thread="cli:ann/3"))

    assert [e.outcome for e in (first, second, third)] == ["declined", "quoted", "declined"]
    assert text == "Behind the house."


async def test_a_correction_counts_before_any_retrain(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    """An adapter that reads no references knows only what it was trained on."""
    live(store, vllm)
    with store.write() as db:
        domain = domains.get(db, "helpdesk")
        frozen = datasets.freeze(db, domain)
        db.execute("UPDATE adapters SET dataset_id = ?", [frozen.id])
        add_pair(db, "Where is the car park?", "Behind the house.", "parking")

    known, _, _ = await answer(chat, ask(store, "When do you open today?"))
    corrected, text, _ = await answer(chat, ask(store, "Where is the car park?"))

    assert (known.outcome, known.adapter) == ("generated", "helpdesk@1")
    assert (corrected.outcome, text) == ("quoted", "Behind the house.")
    assert corrected.instead_of is None


async def test_an_adapter_that_reads_gets_a_correction_as_a_reference(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    live(store, vllm, recipe='{"layout": 1, "references": 4}')
    with store.write() as db:
        frozen = datasets.freeze(db, domains.get(db, "helpdesk"))
        db.execute("UPDATE adapters SET dataset_id = ?", [frozen.id])
        add_pair(db, "Where is the car park?", "Behind the house.", "parking")

    corrected, _, _ = await answer(chat, ask(store, "Where is the car park?"))

    assert corrected.outcome == "generated"
    assert "Behind the house." in vllm.asked[-1]["messages"][-1]["content"]


async def test_an_erased_pair_is_no_source_any_more(
    chat: Chat, store: Store, tmp_path: Path
) -> None:
    started, _, _ = await answer(chat, ask(store, "When do you open today?"))

    await erasure.erase_person(store, tmp_path, "slack:T1/U7", "cli:test")

    assert reply_sources.of_reply(store.db, started.reply_id) == ()
    assert value(store.db, "SELECT count(*) FROM reply_sources") == 0


async def test_a_forgotten_reviewer_is_not_named_under_answers(
    chat: Chat, store: Store, tmp_path: Path
) -> None:
    await erasure.erase_person(store, tmp_path, "slack:T1/U9", "cli:test")

    started, _, _ = await answer(chat, ask(store, "When do you open today?"))

    assert [s.approved_by for s in started.sources] == [""]
    assert value(store.db, "SELECT count(*) FROM pairs WHERE reviewed_by LIKE '%U9%'") == 0


async def test_forgetting_the_asker_forgets_what_their_answers_rested_on(
    chat: Chat, store: Store, tmp_path: Path
) -> None:
    await answer(chat, ask(store, "When do you open today?"))
    await answer(chat, ask(store, "Who painted the Mona Lisa?"))

    await erasure.erase_person(store, tmp_path, "cli:ann", "cli:test")

    assert value(store.db, "SELECT count(*) FROM reply_sources") == 0
    assert value(store.db, "SELECT count(*) FROM unanswered") == 0
    assert value(store.db, "SELECT count(*) FROM pairs") == 2


async def test_a_correction_of_a_quoted_answer_is_about_the_same_fact(
    chat: Chat, store: Store
) -> None:
    started, _, _ = await answer(chat, ask(store, "When do you open today?"))

    with store.write() as db:
        rating = feedback.correction(db, started.reply_id, "cli:ann", "At ten, since May.")

    assert rating.pair_id is not None
    assert pairs.get(store.db, rating.pair_id).fact == "hours"


async def test_a_correction_of_a_far_quotation_is_about_a_fact_of_its_own(
    chat: Chat, store: Store
) -> None:
    question = ask(store, "Open when weather, do?")
    started, _, _ = await answer(chat, question)
    assert (started.outcome, started.sources[0].similarity < 0.5) == ("quoted", True)

    with store.write() as db:
        rating = feedback.correction(db, started.reply_id, "cli:ann", "No, at noon as always.")

    assert rating.pair_id is not None
    assert pairs.get(store.db, rating.pair_id).fact != "hours"


class TestComparisons:
    @pytest.fixture
    def compared(self, store: Store, vllm: FakeVllm) -> None:
        live(store, vllm)
        with store.write() as db:
            domain = domains.get(db, "helpdesk")
            specs = [VariantSpec(registry.get(db, f"helpdesk@{n}", domain)) for n in (1, 2)]
            experiments.begin(db, domain, specs, "cli:test", pairwise=1.0)

    @pytest.mark.parametrize("text", ["Who painted the Mona Lisa?", "Hello"])
    async def test_an_answer_that_no_variant_writes_exposes_nobody(
        self, chat: Chat, store: Store, compared: None, text: str
    ) -> None:
        await answer(chat, ask(store, text))

        assert reply(store).variant_id is None
        assert value(store.db, "SELECT count(*) FROM assignments") == 0

    async def test_a_failing_variant_keeps_its_people(
        self, chat: Chat, store: Store, compared: None, vllm: FakeVllm
    ) -> None:
        vllm.say = lambda _: refusal(500, "boom")

        started, _, _ = await answer(chat, ask(store, "When do you open today?"))

        assert (started.outcome, reply(store).variant_id) == ("quoted", None)
        assert value(store.db, "SELECT count(*) FROM assignments") == 1

    async def test_in_quote_mode_nobody_is_exposed(
        self, chat: Chat, store: Store, compared: None
    ) -> None:
        with store.write() as db:
            domains.set_answer_mode(db, domains.get(db, "helpdesk"), "quote")

        (only,) = await side_by_side.answer(chat, store, ask(store, "When do you open?"), 6)

        assert only.started.outcome == "quoted"
        assert value(store.db, "SELECT count(*) FROM assignments") == 0

    async def test_a_declined_question_gets_one_answer(
        self, chat: Chat, store: Store, compared: None
    ) -> None:
        question = ask(store, "Who painted the Mona Lisa?")

        (only,) = await side_by_side.answer(chat, store, question, 6)

        assert only.started.outcome == "declined"
        assert value(store.db, "SELECT count(*) FROM replies") == 1
        assert value(store.db, "SELECT count(*) FROM unanswered") == 1

    async def test_both_answers_rest_on_the_same_pairs(
        self, chat: Chat, store: Store, vllm: FakeVllm, compared: None
    ) -> None:
        vllm.say = lambda body: words(body["model"], f"As {body['model']} says.")
        question = ask(store, "When do you open today?")

        two = await side_by_side.answer(chat, store, question, 6)

        assert len(two) == 2
        assert prompts(two[0].started) == prompts(two[1].started) == ["When do you open?"]


class TestGroundedAgainstUngrounded:
    @pytest.fixture
    def people(self, store: Store, vllm: FakeVllm) -> dict[str, str]:
        """`helpdesk@1` grounded (A) and ungrounded (B); a person on each, by label."""
        live(store, vllm)
        with store.write() as db:
            domain = domains.get(db, "helpdesk")
            started = comparisons.begin(db, domain, ["1:grounded", "live:ungrounded"], "cli:test")
        found: dict[str, str] = {}
        for number in range(50):
            person = f"cli:p{number}"
            found.setdefault(assignments.variant_for(started, person).label, person)
        return found

    async def asked(self, chat: Chat, store: Store, person: str, text: str) -> Started:
        started, _, _ = await answer(chat, ask(store, text, person=person, thread=person))
        return started

    async def test_each_variant_answers_in_its_own_way(
        self, chat: Chat, store: Store, vllm: FakeVllm, people: dict[str, str]
    ) -> None:
        grounded = await self.asked(chat, store, people["A"], "When do you open today?")
        alone = await self.asked(chat, store, people["B"], "When do you open today?")

        assert prompts(grounded) == ["When do you open?"]
        assert (alone.adapter, alone.sources, alone.variant) == ("helpdesk@1", (), "B")

    async def test_a_refusal_counts_for_the_variant_that_declines(
        self, chat: Chat, store: Store, people: dict[str, str]
    ) -> None:
        declined = await self.asked(chat, store, people["A"], "Who painted the Mona Lisa?")
        invented = await self.asked(chat, store, people["B"], "Who painted the Mona Lisa?")

        assert (declined.outcome, invented.outcome) == ("declined", "generated")
        counted = store.db.query(
            "SELECT v.label, r.outcome FROM replies r JOIN variants v ON v.id = r.variant_id "
            "ORDER BY v.label"
        )
        assert [tuple(found.values()) for found in counted] == [
            ("A", "declined"),
            ("B", "generated"),
        ]
        assert value(store.db, "SELECT count(*) FROM assignments") == 2

    async def test_the_bare_base_never_takes_the_place_of_an_ungrounded_variant(
        self, chat: Chat, store: Store, vllm: FakeVllm, people: dict[str, str]
    ) -> None:
        vllm.say = lambda _: refusal(500, "boom")

        with pytest.raises(Unavailable):
            await self.asked(chat, store, people["B"], "When do you open?")

        assert {str(body["model"]).split("-")[0] for body in vllm.asked} == {"helpdesk@1"}

    async def test_promoting_a_variant_makes_its_answers_those_of_the_domain(
        self, store: Store, people: dict[str, str]
    ) -> None:
        with store.write() as db:
            running = experiments.running(db, domains.get(db, "helpdesk").id)
            assert running is not None
            assert [v.described for v in running.variants] == [
                "helpdesk@1 (grounded)",
                "helpdesk@1 (ungrounded)",
            ]
            assert comparisons.promotable(db, running.variants[1])
            comparisons.promote(db, running, running.variants[1], "cli:test")
        assert domains.get(store.db, "helpdesk").answer_mode == "adapter"

    @pytest.mark.parametrize("names", [["1:quoted", "2"], ["1:", "2"], ["1:grounded"] * 2])
    def test_other_ways_and_equal_variants_are_refused(
        self, store: Store, vllm: FakeVllm, names: list[str]
    ) -> None:
        live(store, vllm)
        with store.write() as db, pytest.raises(Invalid):
            comparisons.begin(db, domains.get(db, "helpdesk"), names, "cli:test")


async def test_the_rest_of_an_answer_gets_the_references_of_its_beginning(
    chat: Chat, store: Store, vllm: FakeVllm
) -> None:
    live(store, vllm, recipe='{"layout": 1, "references": 4}')
    started, text, _ = await answer(chat, ask(store, "When do you open today?"))

    rest = ask(store, "When do you open today?", continues=started.reply_id, prefix=text)
    again, _, _ = await answer(chat, rest)

    first, second = (body["messages"] for body in vllm.asked)
    assert second[-1] == {"role": "assistant", "content": "Hello there"}
    assert first[-1] in second
    assert (again.outcome, prompts(again)) == ("generated", ["When do you open?"])


async def test_a_cancelled_reader_leaves_a_recorded_quotation(chat: Chat, store: Store) -> None:
    events = chat.answer(ask(store, "When do you open today?"))
    async with contextlib.aclosing(events):
        await anext(events)
    await chat.close()

    assert reply(store).status == "done"


def test_a_domain_checks_its_refusal(store: Store) -> None:
    domain: Domain = domains.get(store.db, "helpdesk")
    with store.write() as db:
        domains.set_refusal(db, domain, "  Ask the front desk. ")

    assert domains.get(store.db, "helpdesk").refusal == "Ask the front desk."
