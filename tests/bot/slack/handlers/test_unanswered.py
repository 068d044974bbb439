"""The form in which reviewers answer the questions that the bot declined."""

import pytest

from data.config.settings import AnswersSettings
from data.pairs import pairs, review_status
from data.pairs.pairs import Draft
from tests.bot.slack.commands.test_handlers import command, form, labels, said_in
from tests.bot.slack.conftest import MEMBER, REVIEWER, Bot
from tests.bot.slack.handlers.test_grounded_answers import asked
from tests.bot.slack.handlers.test_review import press
from tests.fake_slack.workspace import Json

pytestmark = pytest.mark.parametrize("bot", ["socket"], indirect=True)


@pytest.fixture
def answers() -> AnswersSettings:
    return AnswersSettings(decline_below=0.9)


@pytest.fixture(autouse=True)
def approved(bot: Bot) -> None:
    with bot.store.write() as db:
        (pair_id,) = pairs.add(
            db, bot.domain, [Draft("When do you open?", "At nine.")], source="x"
        ).ids
        review_status.set_status(db, pair_id, "approved", f"slack:T1/{REVIEWER}")


async def opened(bot: Bot) -> Json:
    await command(bot, REVIEWER, "unanswered")
    return form(bot)


async def test_a_declined_question_becomes_a_pair_with_one_form(bot: Bot) -> None:
    await asked(bot, "When do you open on Sundays?")
    view = await opened(bot)
    assert "asked by 1 person" in said_in(view)
    assert labels(view) == ["Dismiss", "Next"]
    filled = {
        b["block_id"]: b["element"].get("initial_value")
        for b in view["blocks"]
        if b["type"] == "input"
    }
    assert filled == {"question": "When do you open on Sundays?", "answer": "At nine."}

    await bot.slack.submit(REVIEWER, view, answer="At noon.")

    assert "Pair 2 answers this" in said_in(form(bot))
    assert "no unanswered questions" in said_in(form(bot))
    pair = pairs.get(bot.store.db, 2)
    assert (pair.prompt, pair.response, pair.reviewed_by) == (
        "When do you open on Sundays?",
        "At noon.",
        f"slack:T1/{REVIEWER}",
    )
    _, answer = await asked(bot, "When do you open on Sundays?")
    assert answer.words == "At noon."


async def test_a_question_is_passed_over_or_dismissed(bot: Bot) -> None:
    for question in ("What is love?", "Who painted the Mona Lisa?"):
        await asked(bot, question)
    view = await opened(bot)
    first = said_in(view)
    await press(bot, REVIEWER, view, "Next")
    assert said_in(form(bot)) != first
    await press(bot, REVIEWER, form(bot), "Dismiss")
    await press(bot, REVIEWER, form(bot), "Dismiss")

    assert "no unanswered questions" in said_in(form(bot))
    states = {r["state"] for r in bot.rows("SELECT state FROM unanswered")}
    assert states == {"dismissed"}


async def test_members_cannot_open_it(bot: Bot) -> None:
    await command(bot, MEMBER, "unanswered")
    assert "reviewer" in bot.slack.told(MEMBER)
