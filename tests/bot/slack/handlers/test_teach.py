"""Teaching from any message and from below a liked answer, over both transports."""

from typing import Any

import pytest

from bot.slack.handlers import teach
from bot.slack.inbound import thread
from bot.slack.inbound.thread import Line
from bot.slack.render import form_fields
from data.pairs import pairs, review_status
from data.pairs.pairs import Pair, Turn
from data.privacy import opt_out
from tests.bot.slack.conftest import ADMIN, MEMBER, REVIEWER, Bot
from tests.fake_slack import rules
from tests.fake_slack.workspace import Message

WHO = f"slack:T1/{MEMBER}"
SHORTCUT = "teach_this"


@pytest.fixture
async def answer(bot: Bot) -> Message:
    """An answered question: "Where is it?", "In the cellar."."""
    return await ask(bot, MEMBER, "Where is it?", "In the cellar.")


async def ask(bot: Bot, who: str, question: str, answer: str, thread_ts: str = "") -> Message:
    bot.says(answer)
    before = len(bot.slack.in_thread("C1", thread_ts)) if thread_ts else 0
    said = await bot.slack.say(who, "C1", f"<@UBOT> {question}", thread_ts or None)
    answered = await bot.slack.answer_to(said, before + 1)
    await bot.settled()
    return answered


async def form(bot: Bot, who: str, message: Message) -> dict[str, Any]:
    """What "Teach this" opens."""
    count = len(bot.slack.views)
    await bot.slack.shortcut(who, message, SHORTCUT)
    await bot.slack.until(lambda: len(bot.slack.views) > count, "the form")
    await bot.settled()
    return bot.slack.views[-1]


def filled(view: dict[str, Any]) -> dict[str, str]:
    """What the form begins with."""
    inputs = {b["block_id"]: b["element"] for b in view["blocks"] if b["type"] == "input"}
    return {name: inputs[name].get("initial_value", "") for name in (teach.QUESTION, teach.ANSWER)}


def only_pair(bot: Bot) -> Pair:
    (pair,) = pairs.list_pairs(bot.store.db, bot.domain)
    return pair


# Answers of ours


async def test_an_answer_of_the_bot_is_prefilled_and_taught(bot: Bot, answer: Message) -> None:
    view = await form(bot, REVIEWER, answer)
    assert filled(view) == {"question": "Where is it?", "answer": "In the cellar."}
    sent = await bot.slack.submit(REVIEWER, view, question="Where do I find it?")
    await bot.settled()
    assert (sent.status, sent.payload) == (200, {})
    pair = only_pair(bot)
    assert (pair.prompt, pair.response) == ("Where do I find it?", "In the cellar.")
    assert (pair.status, pair.source, pair.author) == ("pending", "teach", f"slack:T1/{REVIEWER}")
    assert bot.row("SELECT person FROM pair_words")["person"] == WHO
    assert "waiting for review" in bot.slack.told(REVIEWER)


async def test_the_question_leads_to_its_answer_too(bot: Bot) -> None:
    bot.says("In the cellar.")
    question = await bot.slack.say(MEMBER, "C1", "<@UBOT> Where is it?")
    await bot.slack.answer_to(question)
    await bot.settled()
    assert filled(await form(bot, MEMBER, question))["answer"] == "In the cellar."


async def test_earlier_turns_are_included_unless_unticked(bot: Bot, answer: Message) -> None:
    assert answer.thread_ts is not None
    second = await ask(bot, MEMBER, "And the key?", "Below the mat.", answer.thread_ts)
    view = await form(bot, MEMBER, second)
    assert "In the cellar." in str(view["blocks"])
    await bot.slack.submit(MEMBER, view)
    await bot.settled()
    turns = (Turn("user", "Where is it?"), Turn("assistant", "In the cellar."))
    assert only_pair(bot).turns == turns
    await bot.slack.submit(
        MEMBER, await form(bot, MEMBER, second), question="Where is the key?", before=False
    )
    await bot.settled()
    assert [p.turns for p in pairs.list_pairs(bot.store.db, bot.domain)] == [turns, ()]


async def test_the_same_suggestion_twice_is_one_pair(bot: Bot, answer: Message) -> None:
    for _ in range(2):
        await bot.slack.submit(MEMBER, await form(bot, MEMBER, answer))
        await bot.settled()
    assert only_pair(bot).status == "pending"
    bot.write(lambda db: review_status.set_status(db, only_pair(bot).id, "approved", "cli:root"))
    await bot.slack.submit(MEMBER, await form(bot, MEMBER, answer))
    await bot.settled()
    assert "a reviewer approved it" in bot.slack.told(MEMBER)


async def test_a_long_answer_is_kept_where_the_form_cannot_hold_it(bot: Bot) -> None:
    long = "word " * 900
    answer = await ask(bot, MEMBER, "Tell me all.", long)
    view = await form(bot, MEMBER, answer)
    assert filled(view)["answer"] == ""
    await bot.slack.submit(MEMBER, view, question="Everything, please?")
    await bot.settled()
    assert (only_pair(bot).prompt, only_pair(bot).response) == ("Everything, please?", long.strip())


async def test_teach_more_below_an_answer_that_was_liked(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=True)
    await bot.settled()
    value = bot.slack.responses[-1]["blocks"][1]["elements"][0]["value"]
    await bot.slack.click(MEMBER, answer, "teach_more", value)
    view = (await bot.slack.until(lambda: bot.slack.views, "the form"))[-1]
    await bot.slack.submit(MEMBER, view, answer="Two floors below, in the cellar.")
    await bot.settled()
    assert only_pair(bot).response == "Two floors below, in the cellar."


# Threads of people


async def people_talk(bot: Bot) -> list[Message]:
    lines = [
        (MEMBER, "Hello, the printer"),
        (MEMBER, "does not print"),
        (ADMIN, "Is it on?"),
        (MEMBER, "Yes, <@U3> checked"),
        (ADMIN, "Then it needs <https://paper.example|paper>."),
    ]
    first = bot.slack.add(Message("C1", bot.slack.next_ts(), *lines[0]))
    rest = [
        bot.slack.add(Message("C1", bot.slack.next_ts(), who, text, first.ts))
        for who, text in lines[1:]
    ]
    return [first, *rest]


async def test_an_answer_between_people_becomes_a_pair_with_earlier_turns(bot: Bot) -> None:
    last = (await people_talk(bot))[-1]
    view = await form(bot, REVIEWER, last)
    assert filled(view) == {
        "question": "Yes, @Alan checked",
        "answer": "Then it needs paper (https://paper.example).",
    }
    await bot.slack.submit(REVIEWER, view)
    await bot.settled()
    pair = only_pair(bot)
    assert pair.turns == (
        Turn("user", "Hello, the printer\n\ndoes not print"),
        Turn("assistant", "Is it on?"),
    )
    assert pair.source_ref == f"T1/C1/{last.ts}"
    people = {r["person"] for r in bot.rows("SELECT person FROM pair_words")}
    assert people == {WHO, f"slack:T1/{ADMIN}"}


async def test_the_form_shows_the_part_of_a_long_thread_that_it_carries(bot: Bot) -> None:
    first = bot.slack.add(Message("C1", bot.slack.next_ts(), MEMBER, "question 0"))
    for number in range(1, 12):
        who = ADMIN if number % 2 else MEMBER
        text = f"line {number} " + "and so on " * 60
        last = bot.slack.add(Message("C1", bot.slack.next_ts(), who, text, first.ts))
    view = await form(bot, REVIEWER, last)
    await bot.slack.submit(REVIEWER, view)
    await bot.settled()
    turns = only_pair(bot).turns
    assert 2 <= len(turns) < 10
    shown = next(b for b in view["blocks"] if "Earlier in the conversation" in str(b))["text"][
        "text"
    ]
    assert [f"line {n} " in shown for n in range(1, 10)] == [
        any(f"line {n} " in t.content for t in turns) for n in range(1, 10)
    ]


async def test_the_first_message_of_a_thread_is_a_question(bot: Bot) -> None:
    first = (await people_talk(bot))[0]
    view = await form(bot, MEMBER, first)
    assert filled(view) == {"question": "Hello, the printer", "answer": ""}
    await bot.slack.submit(MEMBER, view, answer="Switch it on.")
    await bot.settled()
    assert only_pair(bot).response == "Switch it on."


async def test_words_of_a_person_who_opted_out_are_left_out(bot: Bot) -> None:
    last = (await people_talk(bot))[-1]
    bot.write(lambda db: opt_out.opt_out(db, WHO))
    view = await form(bot, REVIEWER, last)
    assert filled(view)["answer"].startswith("Then it needs")
    assert "printer" not in str(view)
    assert "opted out of learning" in str(view)


async def test_the_answer_to_a_person_who_opted_out_is_left_out(bot: Bot, answer: Message) -> None:
    bot.write(lambda db: opt_out.opt_out(db, WHO))
    view = await form(bot, REVIEWER, answer)
    assert filled(view) == {"question": "", "answer": ""}
    sent = await bot.slack.submit(REVIEWER, view, question="Where?", answer="There.")
    assert sent.payload == {}
    await bot.settled()
    assert only_pair(bot).prompt == "Where?"


async def test_a_person_who_opted_out_is_told_that_they_cannot_teach(
    bot: Bot, answer: Message
) -> None:
    view = await form(bot, MEMBER, answer)
    bot.write(lambda db: opt_out.opt_out(db, WHO))
    sent = await bot.slack.submit(MEMBER, view)
    assert sent.payload["response_action"] == "errors"
    assert "opted out" in sent.payload["errors"]["answer"]


async def test_without_access_to_the_thread_only_the_message_is_prefilled(bot: Bot) -> None:
    last = (await people_talk(bot))[-1]
    bot.slack.faults["conversations.replies"] = ["limited"]
    view = await form(bot, MEMBER, last)
    assert filled(view)["question"].startswith("Then it needs")


async def test_a_form_that_cannot_be_opened_is_explained(bot: Bot, answer: Message) -> None:
    bot.slack.trigger_lifetime_s = -1
    await bot.slack.shortcut(MEMBER, answer, SHORTCUT)
    await bot.settled()
    assert "could not open the form" in bot.slack.told(MEMBER)


async def test_a_message_without_text_is_explained(bot: Bot) -> None:
    picture = bot.slack.add(Message("C1", bot.slack.next_ts(), ADMIN, ""))
    await bot.slack.shortcut(MEMBER, picture, SHORTCUT)
    await bot.settled()
    assert "no text" in bot.slack.told(MEMBER)


# Reading a thread


def test_a_thread_of_several_answers() -> None:
    lines = [Line("A", "1"), Line("B", "2"), Line("A", "3"), Line("C", "4"), Line("B", "5")]
    question, answer, turns = thread.read(lines, "BOT")
    assert (question, answer) == ("4", "5")
    assert turns == (Turn("user", "1"), Turn("assistant", "2"))


def test_the_bot_always_counts_as_answering() -> None:
    lines = [Line("A", "1"), Line("BOT", "2"), Line("A", "3"), Line("B", "4")]
    _, _, turns = thread.read(lines, "BOT")
    assert turns == (Turn("user", "1"), Turn("assistant", "2"))


@pytest.mark.parametrize("length", [1, 150, 3_000, 30_000])
@pytest.mark.parametrize("turns", [0, 1, 12])
def test_every_form_is_a_valid_view(length: int, turns: int) -> None:
    text = ("& <é> " * length)[:length]
    said = tuple(Turn("user" if n % 2 == 0 else "assistant", text) for n in range(turns))
    begun = teach.FormState(
        "C1", "1.0", "1.0", "d" * 32, "chatcmpl-1", turns=tuple((t.role, t.content) for t in said)
    ).fitting()
    assert len(begun.turns) % 2 == 0 or turns == 1
    view = teach.form(begun, teach.Prefilled(text, text, said, teach.LEFT_OUT))
    assert rules.view(view) == []
    assert len(text) <= form_fields.MAX_LENGTH or filled(view) == {"question": "", "answer": ""}
