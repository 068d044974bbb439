"""Sources under an answer in Slack, and the buttons under a refusal."""

from typing import Any

import pytest

from bot.slack.render import answer_sources, blocks
from data import domains
from data.config.settings import AnswersSettings
from data.pairs import pairs, review_status
from data.pairs.pairs import Draft
from tests.bot.slack.conftest import MEMBER, REVIEWER, Bot
from tests.bot.slack.handlers.test_feedback import form
from tests.bot.slack.handlers.test_review import press, review
from tests.fake_slack.workspace import Message

pytestmark = pytest.mark.parametrize("bot", ["socket"], indirect=True)
PASSWORD = ("How do I reset my password?", "Use the link on the login page.")


@pytest.fixture
def answers() -> AnswersSettings:
    return AnswersSettings()


@pytest.fixture(autouse=True)
def approved(bot: Bot) -> None:
    with bot.store.write() as db:
        (pair_id,) = pairs.add(db, bot.domain, [Draft(*PASSWORD)], source="teach").ids
        review_status.set_status(db, pair_id, "approved", f"slack:T1/{REVIEWER}")


async def asked(bot: Bot, text: str, channel: str = "DU2") -> tuple[Message, Message]:
    question = await bot.slack.say(MEMBER, channel, text)
    answer = await bot.slack.answer_to(question)
    await bot.settled()
    return question, answer


def small_print(message: Message) -> str:
    found = [b for b in message.blocks if b["type"] == "context"]
    return "\n".join(e["text"] for b in found for e in b["elements"])


def action_ids(message: Message) -> list[str]:
    rows: list[dict[str, Any]] = [b for b in message.blocks if b["type"] == "actions"]
    return [e["action_id"] for b in rows for e in b["elements"]]


async def test_a_quoted_answer_names_its_source_and_who_approved_it(bot: Bot) -> None:
    _, answer = await asked(bot, "How do I reset the password?")

    assert answer.words == PASSWORD[1]
    shown = small_print(answer)
    assert shown.startswith(f"Approved answer to:\n• {PASSWORD[0]} (approved by <@{REVIEWER}> on ")
    assert blocks.REGENERATE not in action_ids(answer)


async def test_a_refusal_has_a_button_for_the_nearest_question(bot: Bot) -> None:
    with bot.store.write() as db:
        domains.set_decline_below(db, bot.domain, 0.95)
    question, refusal = await asked(bot, "How do I reset my old phone?")

    assert refusal.words == domains.get(bot.store.db, "helpdesk").refusal_text
    assert action_ids(refusal) == [f"{answer_sources.SUGGESTION}0", answer_sources.PERSON]
    await bot.slack.press(MEMBER, refusal, f"{answer_sources.SUGGESTION}0", times=2)
    answer = await bot.slack.answer_to(refusal, count=2)
    await bot.settled()

    assert answer.words == PASSWORD[1]
    assert len(bot.slack.in_thread(refusal.channel, question.ts)) == 2


async def test_ask_a_person_tells_the_people_of_the_domain(bot: Bot) -> None:
    with bot.store.write() as db:
        domains.set_people(db, bot.domain, "T1/C1")
    question, refusal = await asked(bot, "<@UBOT> Who painted the Mona Lisa?", "C1")

    await bot.slack.press(MEMBER, refusal, answer_sources.PERSON, times=2)
    await bot.settled()

    (told,) = [m for m in bot.slack.from_bot() if m.channel == "C1" and m.ts != refusal.ts]
    assert f"<@{MEMBER}> asked a question that I could not answer" in str(told.blocks)
    assert "Who painted the Mona Lisa?" in str(told.blocks)
    assert f"/archives/C1/p{question.ts.replace('.', '')}|in this thread" in str(told.blocks)
    (listed,) = bot.rows("SELECT person_asked_at IS NOT NULL AS wanted FROM unanswered")
    assert listed["wanted"] == 1


async def test_without_people_the_wish_is_recorded(bot: Bot) -> None:
    _, refusal = await asked(bot, "Who painted the Mona Lisa?")

    await bot.slack.press(MEMBER, refusal, answer_sources.PERSON)
    await bot.settled()

    assert any("on the list" in str(m.blocks) for m in bot.slack.from_bot())
    (listed,) = bot.rows("SELECT person_asked_at IS NOT NULL AS wanted FROM unanswered")
    assert listed["wanted"] == 1


async def test_a_correction_counts_from_its_approval_until_its_rejection(bot: Bot) -> None:
    question, correction = "Where is the car park?", "Behind the house."
    _, refusal = await asked(bot, question)
    await bot.slack.submit(MEMBER, await form(bot, refusal), better=correction, learn=True)
    await bot.settled()
    view = await review(bot)
    await press(bot, REVIEWER, view, "Approve")

    _, answer = await asked(bot, question)
    with bot.store.write() as db:
        (pair,) = [p for p in pairs.list_pairs(db, bot.domain) if p.response == correction]
        review_status.set_status(db, pair.id, "rejected", f"slack:T1/{REVIEWER}")
    _, again = await asked(bot, question)

    assert (answer.words, again.words) == (correction, refusal.words)
