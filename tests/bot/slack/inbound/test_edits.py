"""What becomes of a question after it was asked: edits, previews and deletions, over both
transports."""

from collections.abc import Callable

import pytest

from bot.slack.handlers import edited_question
from tests.bot.slack.conftest import MEMBER, Bot
from tests.fake_slack.workspace import BOT_USER, Message
from tests.serving.fake_vllm import HANG, words

MENTION = f"<@{BOT_USER}>"


@pytest.fixture
async def asked(bot: Bot) -> Message:
    """A question whose answer has begun to show, and will not end by itself."""
    bot.engine.say = lambda body: [*words(body["model"], "Half ", "an ", "answer ")[:3], HANG]
    question = await bot.slack.say(MEMBER, "C1", f"{MENTION} where is the printer?")
    await bot.slack.until(shown(bot), "the first words, and their ts in the store")
    return question


def shown(bot: Bot) -> Callable[[], object]:
    return lambda: bot.rows("SELECT 1 FROM questions WHERE shown_ts <> ''")


def asked_for(bot: Bot) -> list[str]:
    return [request["messages"][-1]["content"] for request in bot.engine.asked]


async def test_an_edited_question_is_answered_again_in_the_same_message(
    bot: Bot, asked: Message
) -> None:
    bot.says("On the second floor.")
    await bot.slack.edit(asked, f"{MENTION} where is the scanner?", times=3)
    answer = await bot.slack.answer_to(asked)
    await bot.settled()
    assert bot.slack.in_thread("C1", asked.ts) == [answer]
    assert answer.words == "On the second floor."
    assert asked_for(bot) == ["where is the printer?", "where is the scanner?"]
    last = [m["content"] for m in bot.engine.asked[-1]["messages"]]
    assert last == ["Answer.", "where is the scanner?"]


async def test_an_unfurl_or_an_unchanged_text_does_not_touch_the_answer(
    bot: Bot, asked: Message
) -> None:
    await bot.slack.unfurl(asked)
    await bot.slack.edit(asked, asked.text)
    assert bot.row("SELECT generation FROM questions")["generation"] == 1
    assert len(bot.engine.asked) == 1
    await bot.slack.delete(asked)
    await bot.settled()


async def test_an_edit_after_the_answer_leaves_the_answer(bot: Bot) -> None:
    question = await bot.slack.say(MEMBER, "DU2", "Where?")
    answer = await bot.slack.answer_to(question)
    await bot.settled()
    await bot.slack.edit(question, "Where exactly?")
    await bot.settled()
    kept, offer = bot.slack.from_bot()
    assert (kept, edited_question.OFFER in offer.notes) == (answer, True)
    assert len(bot.engine.asked) == 1


async def test_deleting_a_question_stops_and_deletes_its_answer(bot: Bot, asked: Message) -> None:
    await bot.slack.delete(asked, times=2)
    await bot.settled()
    assert bot.slack.from_bot() == []
    assert bot.row("SELECT status FROM replies")["status"] == "failed"
    assert bot.row("SELECT text FROM questions")["text"] == ""
    await bot.slack.until(lambda: bot.engine.broken_off, "the engine to be stopped")


async def test_a_question_deleted_in_the_queue_is_not_asked(bot: Bot, asked: Message) -> None:
    second = await bot.slack.say(MEMBER, "C1", "And the scanner?", thread_ts=asked.ts)
    await bot.slack.delete(second)
    await bot.slack.delete(asked)
    await bot.settled()
    assert len(bot.engine.asked) == 1
    assert bot.slack.from_bot() == []


async def test_deleting_an_answered_question_keeps_its_answer(bot: Bot) -> None:
    question = await bot.slack.say(MEMBER, "DU2", "Where?")
    answer = await bot.slack.answer_to(question)
    await bot.settled()
    await bot.slack.delete(question)
    await bot.settled()
    assert bot.slack.from_bot() == [answer]


async def test_changes_of_the_bots_own_messages_are_ignored(bot: Bot, asked: Message) -> None:
    (ours,) = bot.slack.from_bot()
    before = bot.rows("SELECT * FROM deliveries")
    await bot.slack.edit(ours, "Half an answer")
    assert bot.rows("SELECT * FROM deliveries") == before
    await bot.slack.delete(asked)
    await bot.settled()


# -- after the answer ----------------------------------------------------------------------------


def offers(bot: Bot) -> list[Message]:
    """The private offers to answer anew, as messages."""
    given = [e for e in bot.slack.ephemerals if edited_question.OFFER in str(e["blocks"])]
    return [
        Message(e["channel"], bot.slack.next_ts(), BOT_USER, "", e.get("thread_ts"), e["blocks"])
        for e in given
    ]


async def answered(bot: Bot) -> Message:
    question = await bot.slack.say(MEMBER, "C1", f"<@{BOT_USER}> where is it?")
    await bot.slack.answer_to(question)
    await bot.settled()
    return question


async def test_an_edited_question_is_answered_anew_when_its_author_wants_that(bot: Bot) -> None:
    question = await answered(bot)
    await bot.slack.edit(question, f"<@{BOT_USER}> when does it open?", times=2)
    await bot.settled()
    (offer,) = offers(bot)
    assert len(bot.engine.asked) == 1
    assert "when does it open" not in str(bot.rows("SELECT * FROM questions"))
    await bot.slack.press(MEMBER, offer, edited_question.ANSWER_ANEW, times=2)
    await bot.slack.answer_to(question, count=2)
    await bot.settled()
    assert len(bot.engine.asked) == 2
    assert bot.engine.asked[1]["messages"][-1]["content"] == "when does it open?"


async def test_a_second_edit_is_offered_again(bot: Bot) -> None:
    question = await answered(bot)
    for number in (1, 2):
        await bot.slack.edit(question, f"<@{BOT_USER}> text {number}?")
        await bot.settled()
        await bot.slack.press(MEMBER, offers(bot)[-1], edited_question.ANSWER_ANEW)
        await bot.slack.answer_to(question, count=number + 1)
        await bot.settled()
    assert [a["messages"][-1]["content"] for a in bot.engine.asked[1:]] == ["text 1?", "text 2?"]


async def test_a_link_preview_or_a_foreign_edit_offers_nothing(bot: Bot) -> None:
    question = await answered(bot)
    await bot.slack.unfurl(question)
    other = await bot.slack.say("U3", "C2", "just talking")
    await bot.slack.edit(other, "just talking more")
    await bot.settled()
    assert offers(bot) == []


async def test_a_question_that_was_deleted_meanwhile_is_not_answered_anew(bot: Bot) -> None:
    question = await answered(bot)
    await bot.slack.edit(question, f"<@{BOT_USER}> and now?")
    await bot.settled()
    (offer,) = offers(bot)
    question.user = "U9"  # as a tombstone, it is nobody's
    await bot.slack.press(MEMBER, offer, edited_question.ANSWER_ANEW)
    await bot.settled()
    assert edited_question.GONE in bot.slack.told(MEMBER)
    assert len(bot.engine.asked) == 1
