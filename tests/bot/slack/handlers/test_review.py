"""Review from Slack: pairs are approved, edited, rejected and passed over in a form."""

import pytest

from bot.slack.render.blocks import escape
from data import domains
from data.pairs import golden, pairs, review_queue
from data.pairs.pairs import Draft, Pair
from data.quality import private_words
from tests.bot.slack.commands.test_handlers import command, form, labels, said_in
from tests.bot.slack.conftest import ADMIN, MEMBER, REVIEWER, Bot
from tests.fake_slack.workspace import Json


def pending(bot: Bot, count: int = 3) -> None:
    drafts = [Draft(f"Question {n}?", f"Answer {n}.") for n in range(1, count + 1)]
    author = f"slack:T1/{MEMBER}"
    bot.write(lambda db: pairs.add(db, bot.domain, drafts, source="correction", author=author))


def pair(bot: Bot, number: int) -> Pair:
    return pairs.get(bot.store.db, number)


async def review(bot: Bot, user: str = REVIEWER) -> Json:
    """Type `/understudy review`; returns the form that opens."""
    await command(bot, user, "review")
    return form(bot)


async def press(bot: Bot, user: str, view: Json, label: str, times: int = 1) -> None:
    await bot.slack.press_in(user, view, label, times)
    await bot.settled()


async def test_pairs_are_approved_one_by_one(bot: Bot) -> None:
    pending(bot, 2)
    view = await review(bot)
    assert "Question 1?" in said_in(view)
    assert f"by <@{MEMBER}>" in said_in(view)
    assert labels(view) == ["Approve", "Edit", "Reject", "Next"]
    await press(bot, REVIEWER, view, "Approve")
    assert "Pair 1 is approved" in said_in(view)
    assert "Question 2?" in said_in(view)
    await press(bot, REVIEWER, view, "Approve")
    assert "There is nothing left for you to review" in said_in(view)
    assert [pair(bot, n).status for n in (1, 2)] == ["approved"] * 2
    done = bot.rows("SELECT actor, subject FROM audit WHERE action = 'review' ORDER BY id")
    assert [d["subject"] for d in done] == ["pair 1", "pair 2"]
    assert {d["actor"] for d in done} == {f"slack:T1/{REVIEWER}"}


async def test_a_pair_is_rejected_with_a_reason_for_its_author(bot: Bot) -> None:
    pending(bot)
    view = await review(bot)
    await press(bot, REVIEWER, view, "Reject")
    assert "The author sees this" in said_in(view)
    await bot.slack.submit(REVIEWER, view, reason="It is out of date.")
    assert "Pair 1 is rejected" in said_in(view)
    assert "Question 2?" in said_in(view)
    rejected = pair(bot, 1)
    assert (rejected.status, rejected.review_reason) == ("rejected", "It is out of date.")
    assert rejected.reviewed_by == f"slack:T1/{REVIEWER}"


async def test_an_edit_becomes_a_new_pair(bot: Bot) -> None:
    pending(bot)
    view = await review(bot)
    await press(bot, REVIEWER, view, "Edit")
    await bot.slack.submit(REVIEWER, view, response="A better answer.")
    assert "Your edit is approved as pair 4" in said_in(view)
    old, new = pair(bot, 1), pair(bot, 4)
    assert (old.status, old.response) == ("rejected", "Answer 1.")
    assert (new.status, new.prompt, new.response) == ("approved", "Question 1?", "A better answer.")
    assert (new.author, new.source) == (old.author, "correction")


async def test_a_pair_with_a_golden_question_is_not_approved(bot: Bot) -> None:
    bot.write(lambda db: golden.add(db, bot.domain, "Where is the key?", "Below.", "cli:ann"))
    pending(bot, 1)
    view = await review(bot)
    await press(bot, REVIEWER, view, "Edit")
    ack = await bot.slack.submit(REVIEWER, view, prompt="Where is my key, please?")
    assert "nearly the same as golden question 1" in ack.payload["errors"]["response"]
    assert [pair(bot, 2).status, len(pairs.list_pairs(bot.store.db, bot.domain))] == ["pending", 2]


async def test_an_invalid_edit_is_explained_in_the_form(bot: Bot) -> None:
    pending(bot)
    view = await review(bot)
    await press(bot, REVIEWER, view, "Edit")
    ack = await bot.slack.submit(REVIEWER, view, response="  ")
    assert "the response is empty" in ack.payload["errors"]["response"]
    assert pair(bot, 1).status == "pending"


async def test_a_pair_that_is_too_long_for_one_input_is_edited_in_several(bot: Bot) -> None:
    long = "word " * 499 + "end\n\n" + "other " * 400 + "end\n\nlast"
    bot.write(lambda db: pairs.add(db, bot.domain, [Draft("Question?", long)], source="import"))
    view = await review(bot)
    await press(bot, REVIEWER, view, "Edit")
    found = [b["label"]["text"] for b in view["blocks"]]
    assert found == ["Question", "Answer, part 1 of 2", "Answer, part 2 of 2"]
    ack = await bot.slack.submit(REVIEWER, view, response0="", response1="")
    assert "the response is empty" in ack.payload["errors"]["response1"]
    await bot.slack.submit(REVIEWER, view, response1="A better end.")
    assert "Your edit is approved" in said_in(view)
    new = pair(bot, 2)
    assert (new.prompt, new.response) == ("Question?", "word " * 499 + "end\n\nA better end.")


async def test_an_unchanged_long_pair_is_approved_unchanged(bot: Bot) -> None:
    long = "line of it\n\n" * 2_600
    bot.write(lambda db: pairs.add(db, bot.domain, [Draft(long, long)], source="import"))
    view = await review(bot)
    await press(bot, REVIEWER, view, "Edit")
    await bot.slack.submit(REVIEWER, view)
    assert [p.status for p in pairs.list_pairs(bot.store.db, bot.domain)] == ["approved"]
    assert pair(bot, 1).response == long.strip()


@pytest.mark.parametrize("text", ["<&>" * 9_000, "# " * 15_000, "```\n" * 8_000, "漢" * 30_000])
async def test_any_pair_is_a_valid_form(bot: Bot, text: str) -> None:
    bot.write(lambda db: pairs.add(db, bot.domain, [Draft(text, text)], source="import"))
    view = await review(bot)
    assert "Question" in said_in(view)
    await press(bot, REVIEWER, view, "Edit")
    assert "Answer, part 1 of" in said_in(view)
    await press(bot, REVIEWER, await review(bot), "Reject")
    view = form(bot)
    await bot.slack.submit(REVIEWER, view)
    assert pair(bot, 1).status == "rejected"


async def test_a_text_that_escaping_makes_longer_is_shown_in_full(bot: Bot) -> None:
    text = "".join(f"<b>&{n}</b>\n" for n in range(600))
    bot.write(lambda db: pairs.add(db, bot.domain, [Draft("Why?", text)], source="import"))
    view = await review(bot)
    shown = "".join(b["text"]["text"] for b in view["blocks"] if b["type"] == "section")
    assert escape(text.strip()) in shown


async def test_a_pair_too_large_for_a_form_is_not_tried_again(bot: Bot) -> None:
    pending(bot, 1)
    view = await review(bot)
    bot.slack.faults["views.update"] += ["view_too_large"]
    await press(bot, REVIEWER, view, "Edit")
    assert "too large for a Slack form" in bot.slack.told(REVIEWER)
    await press(bot, REVIEWER, view, "Approve")
    assert pair(bot, 1).status == "approved"


async def test_next_skips_a_pair_and_returns_to_it(bot: Bot) -> None:
    pending(bot, 2)
    view = await review(bot)
    await press(bot, REVIEWER, view, "Next")
    assert "Question 2?" in said_in(view)
    await press(bot, REVIEWER, view, "Next")
    assert "Question 1?" in said_in(view)
    await press(bot, REVIEWER, view, "Approve")
    await press(bot, REVIEWER, view, "Next")
    assert "Question 2?" in said_in(view)
    assert "This is the only pair left for you." in said_in(view)


async def test_two_reviewers_never_get_the_same_pair(bot: Bot) -> None:
    pending(bot, 2)
    first = dict(await review(bot, REVIEWER))
    assert "Question 1?" in said_in(first)
    second = await review(bot, ADMIN)
    assert "Question 2?" in said_in(second)
    await press(bot, ADMIN, second, "Next")  # the only one that is free is the same again
    assert "Question 2?" in said_in(second)


async def test_an_expired_lease_frees_the_pair(bot: Bot) -> None:
    pending(bot, 1)
    first = await review(bot, REVIEWER)
    assert "Other reviewers have the remaining pairs open" in said_in(await review(bot, ADMIN))
    bot.write(lambda db: db.execute("UPDATE review_leases SET until = 1"))
    second = await review(bot, ADMIN)
    assert "Question 1?" in said_in(second)
    await press(bot, REVIEWER, first, "Approve")
    assert f"<@{ADMIN}> is looking at pair 1 now" in said_in(first)
    await press(bot, ADMIN, second, "Approve")
    assert pair(bot, 1).reviewed_by == f"slack:T1/{ADMIN}"


async def test_a_repeated_decision_changes_nothing(bot: Bot) -> None:
    pending(bot, 3)
    view = await review(bot)
    before = dict(view)
    await press(bot, REVIEWER, view, "Approve", times=3)
    await press(bot, REVIEWER, {**before, "id": view["id"]}, "Approve")  # another click, later
    assert [pair(bot, n).status for n in (1, 2, 3)] == ["approved", "pending", "pending"]
    assert len(bot.rows("SELECT * FROM audit WHERE action = 'review'")) == 1


async def test_a_conflicting_decision_is_explained(bot: Bot) -> None:
    pending(bot, 2)
    view = await review(bot)
    bot.write(lambda db: db.execute("DELETE FROM review_leases"))
    bot.write(lambda db: review_queue.decide(db, 1, "rejected", f"slack:T1/{ADMIN}"))
    await press(bot, REVIEWER, view, "Approve")
    assert f"decided already: rejected, by <@{ADMIN}>" in said_in(view)
    assert "Question 2?" in said_in(view)
    assert pair(bot, 1).status == "rejected"


@pytest.mark.parametrize("decided", [True, False])
async def test_the_text_of_a_late_edit_is_not_lost(bot: Bot, decided: bool) -> None:
    pending(bot, 2)
    view = await review(bot)
    await press(bot, REVIEWER, view, "Edit")
    bot.write(lambda db: db.execute("DELETE FROM review_leases"))
    if decided:
        bot.write(lambda db: review_queue.decide(db, 1, "rejected", f"slack:T1/{ADMIN}"))
    else:
        bot.write(lambda db: review_queue.hold(db, 1, f"slack:T1/{ADMIN}"))
    ack = await bot.slack.submit(REVIEWER, view, response="Written for an hour.")
    said = ack.payload["errors"]["response"]
    assert ("rejected, by someone else" if decided else "Someone else is looking") in said
    assert "Your text stays here" in said
    assert len(pairs.list_pairs(bot.store.db, bot.domain)) == 2


async def test_a_repeated_edit_changes_nothing(bot: Bot) -> None:
    pending(bot, 3)
    view = await review(bot)
    await press(bot, REVIEWER, view, "Edit")
    ack = await bot.slack.submit(REVIEWER, view, times=3)
    assert ack.payload["response_action"] == "update"
    assert [pair(bot, n).status for n in (1, 2, 3)] == ["approved", "pending", "pending"]


async def test_the_role_is_checked_at_every_press(bot: Bot) -> None:
    pending(bot, 2)
    view = await review(bot)
    await press(bot, MEMBER, view, "Approve")
    assert "Only reviewers and admins" in said_in(view)
    await press(bot, REVIEWER, (await review(bot)), "Edit")
    ack = await bot.slack.submit(MEMBER, form(bot), response="Mine.")
    assert "Only reviewers and admins" in ack.payload["errors"]["response"]
    assert [pair(bot, n).status for n in (1, 2)] == ["pending"] * 2


async def test_a_review_can_be_limited_to_one_domain(bot: Bot) -> None:
    legal = bot.write(lambda db: domains.create(db, "legal", "the law", "Answer."))
    pending(bot, 1)
    bot.write(lambda db: pairs.add(db, legal, [Draft("May I?", "No.")], source="correction"))
    await command(bot, REVIEWER, "review legal")
    assert "May I?" in said_in(form(bot))
    await press(bot, REVIEWER, form(bot), "Approve")
    assert "There is nothing left for you to review" in said_in(form(bot))
    assert pair(bot, 1).status == "pending"


async def test_a_reviewer_confirms_which_answer_a_pair_replaces(bot: Bot) -> None:
    old = Draft("When may I fly?", "From six hours on.", fact="flights")
    new = Draft("When may I take a plane?", "From eight hours on.")
    bot.write(lambda db: pairs.add(db, bot.domain, [old], source="test", status="approved"))
    bot.write(lambda db: pairs.add(db, bot.domain, [new], source="correction"))

    view = await review(bot)

    assert "Perhaps a newer answer to “When may I fly?”, which says: From six hours" in said_in(
        view
    )
    assert labels(view) == ["Approve", "Approve as newer answer", "Edit", "Reject", "Next"]
    await press(bot, REVIEWER, view, "Approve as newer answer")
    assert (pair(bot, 2).status, pair(bot, 2).fact) == ("approved", "flights")


async def test_masked_words_are_shown_on_request(bot: Bot) -> None:
    draft = Draft("Whom do I call?", "Call 0171 2345678 and wait.")
    how = {"source": "correction", "source_ref": "", "author": "slack:T1/U1"}
    bot.write(lambda db: private_words.add_for_review(db, bot.domain, draft, **how))

    view = await review(bot)
    assert "Call [phone number] and wait." in str(view)
    assert "Masked: phone number in the answer." in str(view)
    assert labels(view) == ["Approve", "Edit", "Reject", "Next", "Show masked words"]

    await press(bot, REVIEWER, view, "Show masked words")
    view = form(bot)
    assert "Call 0171 2345678 and wait." in str(view)
    assert labels(view) == ["Approve", "Edit", "Reject", "Next"]
    await press(bot, REVIEWER, view, "Approve")
    assert pair(bot, 1).response == "Call 0171 2345678 and wait."
