"""Rating on the Home tab whether an answer helped, over both transports."""

import asyncio
import threading
from typing import Any

import pytest

from bot.api import feedback as http
from bot.slack.handlers import recent_questions
from data.store.db import rows
from tests.bot.slack.conftest import MEMBER, Bot
from tests.data import given

WHO = f"slack:T1/{MEMBER}"
OTHER = "U3"
YES, NO = f"{recent_questions.HELPED}yes", f"{recent_questions.HELPED}no"
DAY_US = 24 * 3600 * 1_000_000


def answer(bot: Bot, user: str = MEMBER, **more: Any) -> str:
    """Add an answer to the person's question; returns its reply id."""
    return str(bot.write(lambda db: given.reply(db, bot.domain, f"slack:T1/{user}", **more)))


async def opened(bot: Bot, user: str = MEMBER) -> str:
    await bot.slack.open_home(user)
    await bot.settled()
    return bot.slack.home_text(user)


async def press(bot: Bot, action_id: str, **more: Any) -> str:
    """Press a button as the member; returns the text of the updated tab."""
    ack = await bot.slack.press_home(MEMBER, action_id, **more)
    assert ack.status == 200
    await bot.settled()
    return bot.slack.home_text(MEMBER)


def kept(bot: Bot, reply_id: str) -> list[dict[str, Any]]:
    sql = "SELECT person, kind, value, live, counts, over_cap FROM feedback WHERE reply_id = ?"
    return rows(bot.store.db, f"{sql} ORDER BY id", [reply_id])


def live(bot: Bot, reply_id: str) -> list[float]:
    return [r["value"] for r in kept(bot, reply_id) if r["live"]]


def buttons(bot: Bot, user: str = MEMBER) -> list[str]:
    """The buttons of the tab, in order."""
    shown = bot.slack.homes[user]["blocks"]
    elements = [e for b in shown for e in [*b.get("elements", []), b.get("accessory", {})]]
    ids = [str(e.get("action_id", "")) for e in elements]
    return [i for i in ids if i.startswith(recent_questions.HELPED)]


async def test_a_person_is_asked_and_answers(bot: Bot) -> None:
    bot.says("In the cellar.")
    said = await bot.slack.say(MEMBER, f"D{MEMBER}", "Where is it?")
    await bot.slack.answer_to(said)
    await bot.settled()
    assert "Did it help?" in await opened(bot)
    assert buttons(bot) == [YES, NO]
    text = await press(bot, YES)
    assert "You said it helped." in text
    assert "Did it help?" not in text
    assert buttons(bot) == [NO], "the mind can be changed"
    (row,) = bot.rows("SELECT person, kind, value, live, counts FROM feedback")
    assert row == {"person": WHO, "kind": "follow_up", "value": 1.0, "live": 1, "counts": 1}


async def test_a_changed_answer_leaves_one_live_rating(bot: Bot) -> None:
    reply = answer(bot)
    await opened(bot)
    assert "You said it did not help." in await press(bot, NO)
    assert "You said it helped." in await press(bot, YES)
    assert "You said it did not help." in await press(bot, NO)
    assert live(bot, reply) == [0.0]
    assert len(kept(bot, reply)) == 3


async def test_a_repeated_press_changes_nothing(bot: Bot) -> None:
    """Three presses at once, and one more after the opposite press."""
    reply = answer(bot)
    await opened(bot)
    early, late = bot.slack.next_ts(), bot.slack.next_ts()
    await press(bot, YES, times=3, action_ts=early)
    assert len(kept(bot, reply)) == 1
    await press(bot, NO, action_ts=late)
    await press(bot, YES, action_ts=early)
    assert live(bot, reply) == [0.0]
    assert len(kept(bot, reply)) == 2


async def test_the_newest_press_counts_in_any_order(bot: Bot) -> None:
    reply = answer(bot)
    await opened(bot)
    early, late = bot.slack.next_ts(), bot.slack.next_ts()
    value = f"no:{reply}"
    await press(bot, YES, action_ts=late)
    text = await press(bot, NO, action_ts=early, value=value)
    assert live(bot, reply) == [1.0]
    assert "You said it helped." in text


async def test_nobody_can_rate_an_answer_to_another_person(bot: Bot) -> None:
    theirs, own = answer(bot, OTHER), answer(bot)
    await opened(bot)
    await press(bot, YES, value=f"yes:{theirs}")
    assert kept(bot, theirs) == kept(bot, own) == []
    assert "That answer was given to somebody else." in bot.slack.from_bot()[-1].notes
    assert "Did it help?" in await opened(bot, OTHER), "who asked can still say it"


async def test_a_deleted_answer_is_explained(bot: Bot) -> None:
    reply = answer(bot)
    await opened(bot)
    await press(bot, YES, value="yes:nothing")
    assert "There is no" in bot.slack.from_bot()[-1].notes
    await press(bot, YES, value=f"perhaps:{reply}")
    assert "open the Home tab again." in bot.slack.from_bot()[-1].notes
    assert kept(bot, reply) == []


@pytest.mark.parametrize("status", ["failed", "partial", "cancelled", "streaming"])
async def test_nobody_is_asked_about_an_incomplete_answer(bot: Bot, status: str) -> None:
    reply = answer(bot)
    bot.write(lambda db: db.execute("UPDATE replies SET status = ? WHERE id = ?", [status, reply]))
    assert "Did it help?" not in await opened(bot)
    assert buttons(bot) == []


@pytest.mark.parametrize("words", ["", " \n"])
async def test_an_empty_answer_counts_as_failed(bot: Bot, words: str) -> None:
    answer(bot, answer=words)
    text = await opened(bot)
    assert "Did it help?" not in text
    assert "not answered" in text


async def test_a_failed_answer_cannot_be_rated(bot: Bot) -> None:
    reply = answer(bot)
    await opened(bot)
    bot.write(lambda db: db.execute("UPDATE replies SET status = 'failed'"))
    assert "Did it help?" not in await press(bot, YES)
    assert "failed on our side" in bot.slack.from_bot()[-1].notes
    assert kept(bot, reply) == []


async def test_nobody_is_asked_about_an_old_answer(bot: Bot) -> None:
    old, new = answer(bot), answer(bot)
    sql = "UPDATE replies SET created_at = created_at - ? WHERE id = ?"
    bot.write(lambda db: db.execute(sql, [8 * DAY_US, old]))
    await opened(bot)
    assert buttons(bot) == [YES, NO]
    await press(bot, YES)
    assert (live(bot, old), live(bot, new)) == ([], [1.0])


async def test_only_the_last_regenerated_answer_is_asked_about(bot: Bot) -> None:
    first, second = answer(bot), answer(bot)
    sql = "UPDATE replies SET again_of = ? WHERE id = ?"
    bot.write(lambda db: db.execute(sql, [first, second]))
    await opened(bot)
    assert buttons(bot) == [YES, NO]
    await press(bot, NO)
    assert (live(bot, first), live(bot, second)) == ([], [0.0])


async def test_the_rating_is_the_same_as_over_http(bot: Bot) -> None:
    here, there = answer(bot), answer(bot)
    for helped in ("no", "yes"):
        words = http.FeedbackRequest.model_validate({"helped": helped})
        bot.write(lambda db, w=words: http.store(db, there, WHO, w))
    await opened(bot)
    assert buttons(bot) == [NO, YES, NO], "what was said over HTTP is known here"
    at = [bot.slack.next_ts() for _ in range(2)]
    await press(bot, NO, value=f"no:{here}", action_ts=at[0])
    await press(bot, NO, value=f"yes:{here}", action_ts=at[1])
    assert kept(bot, here) == kept(bot, there)
    assert len(kept(bot, here)) == 2


async def test_all_of_many_presses_at_once_are_shown(bot: Bot) -> None:
    replies = [answer(bot) for _ in range(recent_questions.MAX_QUESTIONS + 1)]
    await opened(bot)
    assert buttons(bot) == [YES, NO] * recent_questions.MAX_QUESTIONS
    presses = [bot.slack.press_home(MEMBER, YES, value=f"yes:{r}") for r in replies]
    await asyncio.gather(*presses)
    await bot.settled()
    assert (
        bot.slack.home_text(MEMBER).count("You said it helped.") == recent_questions.MAX_QUESTIONS
    )
    assert [live(bot, r) for r in replies] == [[1.0]] * len(replies)


async def test_a_busy_store_does_not_delay_the_acknowledgement(bot: Bot) -> None:
    reply = answer(bot)
    await opened(bot)
    free = threading.Event()
    busy = asyncio.create_task(bot.store.submit(lambda _: free.wait(20)))
    await asyncio.sleep(0)
    try:
        ack = await bot.slack.press_home(MEMBER, YES)
        assert (ack.status, kept(bot, reply)) == (200, [])
    finally:
        free.set()
    await busy
    await bot.settled()
    assert live(bot, reply) == [1.0]
    assert "You said it helped." in bot.slack.home_text(MEMBER)


async def test_the_tab_waits_for_slacks_rate_limit(bot: Bot) -> None:
    answer(bot)
    await opened(bot)
    bot.slack.faults["views.publish"] = ["limited"]
    assert "You said it helped." in await press(bot, YES)
