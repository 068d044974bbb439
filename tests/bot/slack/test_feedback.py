"""Thumbs, reasons, corrections and reactions, over both transports."""

import pytest

from data import experiments, feedback, pairs
from tests.bot.conftest import add_adapter
from tests.bot.slack.conftest import ADMIN, MEMBER, Bot
from tests.fake_slack.workspace import Message

WHO = f"slack:T1/{MEMBER}"


@pytest.fixture
async def answer(bot: Bot) -> Message:
    """An answered question: "Where is it?", "In the cellar."."""
    bot.says("In the ", "cellar.")
    question = await bot.slack.say(MEMBER, "C1", "<@UBOT> Where is it?")
    answered = await bot.slack.answer_to(question)
    await bot.settled()
    return answered


def thumbs(bot: Bot) -> list[tuple[str, float]]:
    """The judgements that count."""
    found = bot.rows("SELECT person, value FROM feedback WHERE kind = 'thumb' AND live = 1")
    return [(r["person"], r["value"]) for r in found]


async def test_a_thumb_is_stored(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=True)
    await bot.settled()
    assert thumbs(bot) == [(WHO, 1.0)]
    assert bot.slack.views == []


async def test_the_last_thumb_wins(bot: Bot, answer: Message) -> None:
    for up in (True, False, True, False):
        await bot.slack.thumb(MEMBER, answer, up)
        await bot.settled()
    assert thumbs(bot) == [(WHO, 0.0)]
    assert len(bot.rows("SELECT * FROM feedback")) == 4


async def test_everybody_has_a_thumb_of_their_own(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=True)
    await bot.slack.thumb("U3", answer, up=False)
    await bot.settled()
    assert sorted(thumbs(bot)) == [(WHO, 1.0), ("slack:T1/U3", 0.0)]


async def test_a_click_that_is_delivered_twice_counts_once(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=False, times=3)
    await bot.settled()
    assert len(bot.rows("SELECT * FROM feedback")) == 1
    assert len(bot.slack.views) == 1


async def test_a_correction_becomes_a_pending_pair(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=False)
    view = await bot.slack.until(lambda: bot.slack.views, "the form")
    sent = await bot.slack.submit(MEMBER, view[0], reason="moved", better="In the attic.")
    await bot.settled()
    assert (sent.status, sent.payload) == (200, {})
    (pair,) = pairs.every(bot.store.db, bot.domain)
    assert (pair.prompt, pair.response) == ("Where is it?", "In the attic.")
    assert (pair.status, pair.author, pair.source) == ("pending", WHO, "correction")
    assert bot.row("SELECT text FROM feedback WHERE kind = 'reason'")["text"] == "moved"
    assert "waits for a reviewer" in bot.slack.told(MEMBER)
    assert thumbs(bot) == [(WHO, 0.0)]


async def test_an_empty_form_changes_nothing(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=False)
    view = await bot.slack.until(lambda: bot.slack.views, "the form")
    await bot.slack.submit(MEMBER, view[0])
    await bot.settled()
    assert pairs.every(bot.store.db, bot.domain) == []
    assert bot.slack.told(MEMBER) == ""


async def test_words_that_cannot_be_kept_stay_in_the_form(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=False)
    view = await bot.slack.until(lambda: bot.slack.views, "the form")
    bot.write(lambda db: db.execute("UPDATE replies SET status = 'failed'"))
    sent = await bot.slack.submit(MEMBER, view[0], better="In the attic.")
    assert sent.payload["response_action"] == "errors"
    assert "can't be rated" in sent.payload["errors"]["reason"]


async def test_the_thumb_counts_when_the_form_cannot_be_opened(bot: Bot, answer: Message) -> None:
    bot.slack.trigger_lifetime_s = -1
    await bot.slack.thumb(MEMBER, answer, up=False)
    await bot.settled()
    assert thumbs(bot) == [(WHO, 0.0)]


async def test_a_thumb_on_an_answer_that_is_gone_is_explained(bot: Bot, answer: Message) -> None:
    await bot.slack.click(MEMBER, answer, "feedback", "up:chatcmpl-gone")
    await bot.settled()
    assert "There is no reply" in bot.slack.told(MEMBER)


async def test_a_reaction_counts_and_can_be_taken_back(bot: Bot, answer: Message) -> None:
    await bot.slack.react(MEMBER, answer, "+1::skin-tone-4", times=2)
    await bot.settled()
    assert thumbs(bot) == [(WHO, 1.0)]
    await bot.slack.react(MEMBER, answer, "+1::skin-tone-4", added=False)
    await bot.settled()
    assert thumbs(bot) == []


async def test_taking_an_older_reaction_back_leaves_the_newer_opinion(
    bot: Bot, answer: Message
) -> None:
    await bot.slack.react(MEMBER, answer, "+1")
    await bot.settled()
    await bot.slack.thumb(MEMBER, answer, up=False)
    await bot.settled()
    await bot.slack.react(MEMBER, answer, "+1", added=False)
    await bot.settled()
    assert thumbs(bot) == [(WHO, 0.0)]


@pytest.mark.parametrize("reaction", ["eyes", "tada"])
async def test_other_reactions_mean_nothing(bot: Bot, answer: Message, reaction: str) -> None:
    await bot.slack.react(MEMBER, answer, reaction)
    await bot.settled()
    assert thumbs(bot) == []


async def test_a_reaction_on_somebody_elses_message_means_nothing(
    bot: Bot, answer: Message
) -> None:
    other = bot.slack.add(Message("C1", bot.slack.next_ts(), ADMIN, "lunch?"))
    await bot.slack.react(MEMBER, other, "+1")
    await bot.settled()
    assert thumbs(bot) == []


async def test_a_thumb_moves_the_comparison_it_belongs_to(bot: Bot) -> None:
    made = bot.write(lambda db: add_adapter(db, bot.domain, 1))
    bot.hold(made)
    experiment = bot.write(
        lambda db: experiments.start(db, bot.domain, None, made, "test", share=0.5)
    )
    question = await bot.slack.say(MEMBER, "DU2", "Where?")
    answer = await bot.slack.answer_to(question)
    await bot.slack.thumb(MEMBER, answer, up=True)
    await bot.settled()
    counts = experiments.counts(bot.store.db, experiment)
    assert sum(c.up for c in counts) == 1
    assert feedback.counts(bot.store.db, bot.domain.id)["up"] == 1
