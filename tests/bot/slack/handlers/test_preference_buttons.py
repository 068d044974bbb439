"""Two blinded answers in Slack, over both transports: shown whole and once, chosen by who asked."""

import pytest
from aiohttp import web
from markdown_it import MarkdownIt

from bot.answering import side_by_side
from bot.commands import admin
from bot.slack.handlers.preference_buttons import THANKS, ButtonPair
from bot.slack.render import blocks
from data.adapters import registry
from data.adapters.registry import Adapter
from data.experiments import assignments, experiments
from tests.bot.conftest import add_adapter
from tests.bot.slack.conftest import MEMBER, Bot
from tests.data import given
from tests.fake_slack import rules
from tests.fake_slack.workspace import Message
from tests.serving.fake_vllm import words

WHO = f"slack:T1/{MEMBER}"
TEXTS = {"helpdesk@1": "In the cellar.", "helpdesk@2": "In the attic."}


@pytest.fixture
def compared(bot: Bot) -> Bot:
    """Two adapters, and a comparison that asks for a choice at each question."""
    both = [bot.write(lambda db, v=v: add_adapter(db, bot.domain, v)) for v in (1, 2)]
    bot.hold(*both)
    by_served = {a.served_name: TEXTS[a.name] for a in both}
    bot.engine.say = lambda body: words(body["model"], by_served.get(body["model"], "The base."))
    bot.write(lambda db: admin.start_comparison(db, bot.domain, "1", "2", "cli:test", pairwise=1.0))
    return bot


async def ask(bot: Bot, where: str = "C1") -> Message:
    """The message that shows what came of a question."""
    to_us = "" if where.startswith("D") else "<@UBOT> "
    question = await bot.slack.say(MEMBER, where, f"{to_us}Where is it?")
    await bot.settled()
    (answer,) = bot.slack.in_thread(where, question.ts)
    return answer


def chosen(bot: Bot) -> list[float]:
    sql = "SELECT value FROM feedback WHERE kind = 'pairwise' AND live = 1"
    return [r["value"] for r in bot.rows(sql)]


async def test_both_answers_are_shown_without_their_adapters(compared: Bot) -> None:
    answer = await ask(compared)
    pairing = compared.row("SELECT * FROM pairings")
    texts = [
        compared.row(
            "SELECT text FROM messages WHERE reply_id = ? AND role = 'assistant'", pairing[name]
        )["text"]
        for name in ("first_reply", "second_reply")
    ]
    assert sorted(texts) == sorted(TEXTS.values())
    assert answer.words == f"**Answer 1**\n\n{texts[0]}\n\n---\n\n**Answer 2**\n\n{texts[1]}"
    assert "helpdesk" not in str(answer.blocks)
    assert answer.elements("feedback") == []


async def test_the_order_of_the_answers_is_random(compared: Bot) -> None:
    running = experiments.running(compared.store.db, compared.domain.id)
    assert running is not None
    firsts = set()
    for _ in range(40):
        own, other = (
            compared.write(
                lambda db, v=v: given.reply(db, compared.domain, WHO, answer=v.label, variant=v)
            )
            for v in running.variants
        )
        made = compared.write(lambda db, own=own, other=other: side_by_side.pair(db, own, other))
        firsts.add(made.first_reply == own)
    assert firsts == {True, False}


@pytest.mark.parametrize(("which", "value"), [("first", 1.0), ("second", 0.0), ("tie", 0.5)])
async def test_the_person_who_asked_can_choose(compared: Bot, which: str, value: float) -> None:
    answer = await ask(compared)
    await compared.slack.press(MEMBER, answer, f"prefer:{which}", times=2)
    await compared.settled()
    assert chosen(compared) == [value]
    assert THANKS[which] in compared.slack.told(MEMBER)


async def test_the_last_choice_counts(compared: Bot) -> None:
    answer = await ask(compared)
    for which in ("first", "tie", "second"):
        await compared.slack.press(MEMBER, answer, f"prefer:{which}")
        await compared.settled()
    assert chosen(compared) == [0.0]


async def test_nobody_else_can_choose(compared: Bot) -> None:
    answer = await ask(compared)
    await compared.slack.press("U3", answer, "prefer:first")
    await compared.settled()
    assert chosen(compared) == []
    assert "Only the person who asked can choose" in compared.slack.told("U3")


async def test_an_emoji_does_not_rate_one_of_two_answers(compared: Bot) -> None:
    answer = await ask(compared)
    await compared.slack.react(MEMBER, answer, "+1")
    await compared.settled()
    assert compared.rows("SELECT * FROM feedback") == []


async def test_later_questions_continue_the_persons_own_variant(compared: Bot) -> None:
    first = await ask(compared)
    compared.write(lambda db: db.execute("UPDATE experiments SET pairwise = 0"))
    await compared.slack.say(MEMBER, "C1", "And the key?", first.thread_ts)
    await compared.settled()
    own = compared.row(
        "SELECT m.text FROM messages m JOIN conversations c ON c.id = m.conversation_id "
        "WHERE c.thread NOT LIKE '%/beside/%' AND m.role = 'assistant' ORDER BY m.id"
    )["text"]
    history = compared.engine.asked[-1]["messages"]
    assert [m["content"] for m in history if m["role"] == "assistant"] == [own]


async def test_if_the_other_variant_fails_the_own_answer_is_shown_alone(compared: Bot) -> None:
    say, own = compared.engine.say, _own(compared)
    compared.engine.say = lambda body: (
        say(body) if body["model"] == own.served_name else web.Response(status=500)
    )
    answer = await ask(compared)
    assert answer.words == TEXTS[own.name]
    assert answer.elements("feedback")


async def test_if_the_own_variant_fails_a_fallback_answers(compared: Bot) -> None:
    say, own = compared.engine.say, _own(compared)
    compared.engine.say = lambda body: (
        web.Response(status=500) if body["model"] == own.served_name else say(body)
    )
    answer = await ask(compared)
    assert answer.words == "The base."
    assert "could not answer" in answer.notes


async def test_stopping_ends_both_answers(compared: Bot) -> None:
    compared.engine.pause_s = 0.05
    compared.engine.say = lambda body: words(body["model"], *["word "] * 200)
    question = await compared.slack.say(MEMBER, "C1", "<@UBOT> Where is it?")
    await compared.slack.until(lambda: len(compared.engine.asked) == 2, "both to be asked")
    event = {"type": "agent_session_stopped", "channel": "C1", "user": MEMBER}
    await compared.slack.event({**event, "thread_ts": question.ts, "event_ts": "1.0"})
    await compared.settled()
    states = {r["status"] for r in compared.rows("SELECT status FROM replies")}
    assert states == {"cancelled"}
    assert compared.slack.in_thread("C1", question.ts) == []


async def test_after_a_crash_both_are_shown_again(compared: Bot) -> None:
    """The engine's answers are there, only their showing was lost."""
    before = await ask(compared)
    compared.slack.messages.pop((before.channel, before.ts))
    sql = "UPDATE questions SET state = 'waiting', text = 'Where is it?', begun = 0, shown_ts = ''"
    compared.write(lambda db: db.execute(sql))
    compared.front.workspace.queue.wake()
    await compared.settled()
    assert before.thread_ts is not None
    (after,) = compared.slack.in_thread("C1", before.thread_ts)
    assert (after.words, after.blocks) == (before.words, before.blocks)
    assert len(compared.rows("SELECT * FROM replies")) == 2


async def test_a_private_question_gets_one_answer(compared: Bot) -> None:
    await compared.slack.command(MEMBER, "C1", "ask Where is it?")
    await compared.settled()
    assert compared.rows("SELECT * FROM pairings") == []


async def test_the_home_tab_lists_the_question_once(compared: Bot) -> None:
    await ask(compared)
    await compared.slack.open_home(MEMBER)
    await compared.settled()
    assert compared.slack.home_text(MEMBER).count("Where is it?") == 1
    assert "Did it help?" not in compared.slack.home_text(MEMBER), "which of the two would it be?"


def _own(bot: Bot) -> Adapter:
    """The adapter of the variant that the member is on."""
    running = experiments.running(bot.store.db, bot.domain.id)
    assert running is not None
    place = assignments.current_assignment(bot.store.db, running, WHO)
    assert place is not None
    return registry.get(bot.store.db, place.variant.adapter, bot.domain)


# However long they are


@pytest.mark.parametrize("first", ["short", "```python\nopen", "~~~~\nopen", "| a |\n| - |\n| 1 |"])
def test_an_open_code_fence_does_not_swallow_the_second_answer(first: str) -> None:
    parsed = MarkdownIt("commonmark").parse(ButtonPair("chatcmpl-1", first, "second", (1, 2)).text)
    inline = [t.content for t in parsed if t.type == "inline"]
    assert inline[-2:] == ["**Answer 2**", "second"]


def test_the_blocks_below_are_valid() -> None:
    pair = ButtonPair("chatcmpl-" + "0" * 30, "word " * 5_000, "word " * 5_000, (1, 2))
    for message in blocks.answers(pair.text, pair.below):
        assert rules.blocks(message) == []
