"""Thumbs, reasons, corrections and reactions, over both transports."""

from typing import Any

import pytest

from bot.slack.render import blocks
from data.experiments import experiments, metric_sums
from data.feedback import feedback
from data.pairs import pairs
from data.privacy import opt_out
from tests.bot.conftest import add_adapter
from tests.bot.slack.conftest import ADMIN, MEMBER, Bot
from tests.data import given
from tests.fake_slack.workspace import Message

WHO = f"slack:T1/{MEMBER}"


@pytest.fixture
async def answer(bot: Bot) -> Message:
    """Ask "Where is it?" and get the answer "In the cellar."."""
    bot.says("In the ", "cellar.")
    question = await bot.slack.say(MEMBER, "C1", "<@UBOT> Where is it?")
    answered = await bot.slack.answer_to(question)
    await bot.settled()
    return answered


def thumbs(bot: Bot) -> list[tuple[str, float]]:
    """The live thumbs."""
    found = bot.rows("SELECT person, value FROM feedback WHERE kind = 'thumb' AND live = 1")
    return [(r["person"], r["value"]) for r in found]


async def test_a_thumb_is_stored(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=True)
    await bot.settled()
    assert thumbs(bot) == [(WHO, 1.0)]
    assert bot.slack.views == []


async def test_a_thumb_up_offers_to_teach_more_once(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=True, times=3)
    await bot.settled()
    (offer,) = [e for e in bot.slack.responses if "another question" in e["text"]]
    assert offer["blocks"][1]["elements"][0]["action_id"] == "teach_more"


async def test_the_last_thumb_wins(bot: Bot, answer: Message) -> None:
    for up in (True, False, True, False):
        await bot.slack.thumb(MEMBER, answer, up)
        await bot.settled()
    assert thumbs(bot) == [(WHO, 0.0)]
    assert len(bot.rows("SELECT * FROM feedback")) == 4


async def test_each_person_has_their_own_thumb(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=True)
    await bot.slack.thumb("U3", answer, up=False)
    await bot.settled()
    assert sorted(thumbs(bot)) == [(WHO, 1.0), ("slack:T1/U3", 0.0)]


async def test_a_click_that_is_delivered_twice_counts_once(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=False, times=3)
    await bot.settled()
    assert len(bot.rows("SELECT * FROM feedback")) == 1
    assert len(bot.slack.views) == 1


async def form(bot: Bot, answer: Message, who: str = MEMBER) -> dict[str, Any]:
    """Open the form behind 👎."""
    count = len(bot.slack.views)
    await bot.slack.thumb(who, answer, up=False)
    await bot.slack.until(lambda: len(bot.slack.views) > count, "the form")
    await bot.settled()
    return bot.slack.views[-1]


async def test_a_correction_becomes_a_pending_pair(bot: Bot, answer: Message) -> None:
    view = await form(bot, answer)
    sent = await bot.slack.submit(MEMBER, view, reason="moved", better="In the attic.", learn=True)
    await bot.settled()
    assert (sent.status, sent.payload) == (200, {})
    (pair,) = pairs.list_pairs(bot.store.db, bot.domain)
    assert (pair.prompt, pair.response) == ("Where is it?", "In the attic.")
    assert (pair.status, pair.author, pair.source) == ("pending", WHO, "correction")
    assert bot.row("SELECT text FROM feedback WHERE kind = 'reason'")["text"] == "moved"
    assert "is waiting for review" in bot.slack.told(MEMBER)
    assert thumbs(bot) == [(WHO, 0.0)]


async def test_without_consent_nothing_is_learned(bot: Bot, answer: Message) -> None:
    view = await form(bot, answer)
    await bot.slack.submit(MEMBER, view, better="In the attic.")
    await bot.settled()
    assert pairs.list_pairs(bot.store.db, bot.domain) == []
    assert bot.row("SELECT text FROM feedback WHERE kind = 'correction'")["text"]
    assert "will not learn from it because you did not tick the box" in bot.slack.told(MEMBER)


async def test_the_form_shows_earlier_feedback_and_can_change_it(bot: Bot, answer: Message) -> None:
    view = await form(bot, answer)
    await bot.slack.submit(MEMBER, view, reason="moved", better="In the attic.", learn=True)
    await bot.settled()
    again = await form(bot, answer)
    await bot.slack.submit(MEMBER, again)
    await bot.settled()
    (pair,) = pairs.list_pairs(bot.store.db, bot.domain)
    assert pair.status == "pending", "sent again unchanged, it stays"

    await bot.slack.submit(MEMBER, await form(bot, answer), learn=False)
    await bot.settled()
    assert pairs.get(bot.store.db, pair.id).status == "rejected"

    await bot.slack.submit(MEMBER, await form(bot, answer), reason="", better="")
    await bot.settled()
    live = bot.rows("SELECT kind FROM feedback WHERE live = 1")
    assert [r["kind"] for r in live] == ["thumb"]


async def test_a_person_who_opted_out_is_not_asked_for_consent(bot: Bot, answer: Message) -> None:
    bot.write(lambda db: opt_out.opt_out(db, WHO))
    view = await form(bot, answer)
    assert "learn" not in [b.get("block_id") for b in view["blocks"]]
    await bot.slack.submit(MEMBER, view, better="In the attic.")
    await bot.settled()
    assert "because you have opted out of learning" in bot.slack.told(MEMBER)
    await bot.slack.thumb(MEMBER, answer, up=True)
    await bot.settled()
    assert "another question" not in bot.slack.told(MEMBER), "nor to teach"


async def test_a_question_by_a_person_who_opted_out_is_not_learned(
    bot: Bot, answer: Message
) -> None:
    bot.write(lambda db: opt_out.opt_out(db, WHO))
    view = await form(bot, answer, ADMIN)
    await bot.slack.submit(ADMIN, view, better="In the attic.", learn=True)
    await bot.settled()
    assert pairs.list_pairs(bot.store.db, bot.domain) == []
    assert "who asked has opted out" in bot.slack.told(ADMIN)


async def test_a_private_answer_can_be_rated_like_any_other(bot: Bot) -> None:
    bot.says("In the cellar.")
    await bot.slack.command(MEMBER, "C1", "ask Where is it?")
    await bot.settled()
    private = Message("C1", "private.1", "UBOT", blocks=bot.slack.responses[-1]["blocks"])
    await bot.slack.submit(MEMBER, await form(bot, private), better="In the attic.", learn=True)
    await bot.settled()
    assert thumbs(bot) == [(WHO, 0.0)]
    (pair,) = pairs.list_pairs(bot.store.db, bot.domain)
    assert (pair.prompt, pair.response, pair.status) == (
        "Where is it?",
        "In the attic.",
        "pending",
    )
    assert bot.slack.from_bot() == [], "nobody else sees a word of it"
    assert "is waiting for review" in bot.slack.told(MEMBER)


async def test_a_reason_without_a_better_answer_is_stored(bot: Bot, answer: Message) -> None:
    await bot.slack.submit(MEMBER, await form(bot, answer), reason="Out of date")
    await bot.settled()
    assert "I have noted what was wrong" in bot.slack.told(MEMBER)
    assert bot.row("SELECT text FROM feedback WHERE kind = 'reason'")["text"] == "Out of date"


async def test_an_empty_form_changes_nothing(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=False)
    view = await bot.slack.until(lambda: bot.slack.views, "the form")
    await bot.slack.submit(MEMBER, view[0])
    await bot.settled()
    assert pairs.list_pairs(bot.store.db, bot.domain) == []
    assert bot.slack.told(MEMBER) == ""


async def test_text_that_cannot_be_stored_stays_in_the_form(bot: Bot, answer: Message) -> None:
    await bot.slack.thumb(MEMBER, answer, up=False)
    view = await bot.slack.until(lambda: bot.slack.views, "the form")
    bot.write(lambda db: db.execute("UPDATE replies SET status = 'failed'"))
    sent = await bot.slack.submit(MEMBER, view[0], better="In the attic.")
    assert sent.payload["response_action"] == "errors"
    assert "can't be rated" in sent.payload["errors"]["reason"]


async def test_the_thumb_counts_even_if_the_form_cannot_be_opened(
    bot: Bot, answer: Message
) -> None:
    bot.slack.trigger_lifetime_s = -1
    await bot.slack.thumb(MEMBER, answer, up=False)
    await bot.settled()
    assert thumbs(bot) == [(WHO, 0.0)]


async def test_a_thumb_on_a_deleted_answer_is_explained(bot: Bot, answer: Message) -> None:
    await bot.slack.click(MEMBER, answer, "feedback", "up:chatcmpl-gone")
    await bot.settled()
    assert "There is no reply" in bot.slack.told(MEMBER)


async def test_a_reaction_counts_and_can_be_removed(bot: Bot, answer: Message) -> None:
    await bot.slack.react(MEMBER, answer, "+1::skin-tone-4", times=2)
    await bot.settled()
    assert thumbs(bot) == [(WHO, 1.0)]
    await bot.slack.react(MEMBER, answer, "+1::skin-tone-4", added=False)
    await bot.settled()
    assert thumbs(bot) == []


async def test_removing_an_older_reaction_keeps_the_newer_rating(bot: Bot, answer: Message) -> None:
    await bot.slack.react(MEMBER, answer, "+1")
    await bot.settled()
    await bot.slack.thumb(MEMBER, answer, up=False)
    await bot.settled()
    await bot.slack.react(MEMBER, answer, "+1", added=False)
    await bot.settled()
    assert thumbs(bot) == [(WHO, 0.0)]


MARKS = {
    "👍": lambda bot, answer, at: bot.slack.thumb(MEMBER, answer, up=True, at=at),
    "👎": lambda bot, answer, at: bot.slack.thumb(MEMBER, answer, up=False, at=at),
    "+1": lambda bot, answer, at: bot.slack.react(MEMBER, answer, "+1", at=at),
    "-1": lambda bot, answer, at: bot.slack.react(MEMBER, answer, "-1", at=at),
    "no +1": lambda bot, answer, at: bot.slack.react(MEMBER, answer, "+1", added=False, at=at),
}


@pytest.mark.parametrize(
    ("history", "counts"),
    [
        (["+1", "👎"], 0.0),
        (["👎", "+1"], 1.0),
        (["👍", "-1"], 0.0),
        (["+1", "👎", "no +1"], 0.0),
        (["👎", "+1", "no +1"], 0.0),
    ],
)
async def test_buttons_and_emoji_give_the_same_rating_in_any_order(
    bot: Bot, answer: Message, history: list[str], counts: float
) -> None:
    told = [(name, f"1710000000.{n:06d}") for n, name in enumerate(history)]
    for name, at in [*told[::-1], *told]:  # in reverse order, then one repeated
        await MARKS[name](bot, answer, at)
        await bot.settled()
    assert thumbs(bot) == [(WHO, counts)]


async def test_a_reaction_while_the_answer_is_written_counts(bot: Bot) -> None:
    bot.engine.pause_s = 0.05
    bot.says(*[f"word {n} " for n in range(40)])
    question = await bot.slack.say(MEMBER, "C1", "<@UBOT> Where is it?")
    begun = await bot.slack.until(
        lambda: bot.rows("SELECT shown_ts FROM questions WHERE shown_ts <> ''"), "its beginning"
    )
    message = bot.slack.messages["C1", begun[0]["shown_ts"]]
    await bot.slack.react(MEMBER, message, "+1")
    assert thumbs(bot) == [], "it is not written to its end yet"
    await bot.slack.answer_to(question)
    await bot.settled()
    assert thumbs(bot) == [(WHO, 1.0)]


async def test_a_reaction_on_either_part_of_a_long_answer_counts(bot: Bot) -> None:
    bot.says("A long line of words. \n\n" * 700)
    question = await bot.slack.say(MEMBER, "C1", "<@UBOT> Tell me all.")
    last = await bot.slack.answer_to(question)
    await bot.settled()
    first, *_ = bot.slack.in_thread("C1", question.ts)
    assert first is not last
    await bot.slack.react(MEMBER, first, "-1")
    await bot.settled()
    assert thumbs(bot) == [(WHO, 0.0)]
    await bot.slack.react(MEMBER, last, "+1")
    await bot.settled()
    assert thumbs(bot) == [(WHO, 1.0)]


@pytest.mark.parametrize("reaction", ["eyes", "tada"])
async def test_other_reactions_are_ignored(bot: Bot, answer: Message, reaction: str) -> None:
    await bot.slack.react(MEMBER, answer, reaction)
    await bot.settled()
    assert thumbs(bot) == []


async def test_a_reaction_on_another_persons_message_is_ignored(bot: Bot, answer: Message) -> None:
    other = bot.slack.add(Message("C1", bot.slack.next_ts(), ADMIN, "lunch?"))
    await bot.slack.react(MEMBER, other, "+1")
    await bot.settled()
    assert thumbs(bot) == []


async def test_a_thumb_counts_in_its_comparison(bot: Bot) -> None:
    made = bot.write(lambda db: add_adapter(db, bot.domain, 1))
    bot.hold(made)
    experiment = bot.write(
        lambda db: experiments.start(db, bot.domain, None, made, "test", share=0.5)
    )
    question = await bot.slack.say(MEMBER, "DU2", "Where?")
    answer = await bot.slack.answer_to(question)
    await bot.slack.thumb(MEMBER, answer, up=True)
    await bot.settled()
    counts = given.counts(bot.store.db, experiment)
    assert sum(c.up for c in counts) == 1
    assert feedback.counts(bot.store.db, bot.domain.id)["up"] == 1


async def test_what_bystanders_do_under_an_answer_moves_no_comparison(bot: Bot) -> None:
    made = bot.write(lambda db: add_adapter(db, bot.domain, 1))
    bot.hold(made)
    experiment = bot.write(
        lambda db: experiments.start(db, bot.domain, None, made, "test", share=0.5)
    )
    bot.says("In the cellar.")
    question = await bot.slack.say(MEMBER, "C1", "<@UBOT> Where?")
    answer = await bot.slack.answer_to(question)
    await bot.slack.thumb(MEMBER, answer, up=True)
    await bot.settled()
    asker = bot.row("SELECT variant_id AS n FROM assignments")["n"]

    def of_asker() -> list[tuple[float, ...]]:
        cells = metric_sums.collect(bot.store.db, experiment).stages[0].cells
        cell = next(c for c, v in zip(cells, experiment.variants, strict=True) if v.id == asker)
        names = ("rating", "correction", "regenerate", "follow_up", "thumbs_down")
        return [(cell.of(n).people, cell.of(n).w, cell.of(n).wy) for n in names]

    before = of_asker()
    assert before[0] == (1, 1.0, 1.0)
    for number, who in enumerate(("U3", ADMIN), start=1):
        await bot.slack.thumb(who, answer, up=False)
        await bot.slack.until(lambda n=number: len(bot.slack.views) == n, "the form")
        await bot.slack.submit(who, bot.slack.views[-1], better=f"In the attic of {who}.")
        await bot.slack.react(who, answer, "-1")
        await bot.settled()
    assert feedback.counts(bot.store.db, bot.domain.id) == {"up": 1, "down": 2, "corrections": 2}
    assert of_asker() == before

    await bot.slack.press("U3", answer, blocks.REGENERATE)
    again = await bot.slack.answer_to(answer, count=2)
    await bot.slack.thumb(MEMBER, again, up=False)  # of what U3 asked for
    await bot.settled()
    found = bot.row("SELECT person FROM replies WHERE again_of IS NOT NULL")
    assert found == {"person": "slack:T1/U3"}
    rated = bot.rows("SELECT person, up, down FROM ratings WHERE up + down > 0")
    assert rated == [{"person": WHO, "up": 1, "down": 0}]
    bot.write(lambda db: db.execute("DELETE FROM assignments WHERE person <> ?", [WHO]))
    assert of_asker() == before
