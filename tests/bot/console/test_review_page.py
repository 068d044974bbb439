"""Reviewing pairs and answering unanswered questions in the console."""

from sqlite_utils import Database

from data.feedback import feedback, unanswered
from data.pairs import pairs, review_queue
from data.pairs.pairs import Draft, Pair
from data.store import audit
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client
from tests.bot.console.test_sign_in import fields
from tests.data import given

REVIEW = "/console/domains/helpdesk/review"
UNANSWERED = "/console/domains/helpdesk/unanswered"


def pending(bot: Bot, *drafts: Draft) -> list[int]:
    return list(
        bot.write(
            lambda db: pairs.add(db, bot.domain, list(drafts), source="import", status="pending")
        ).ids
    )


def pair(bot: Bot, pair_id: int) -> Pair:
    return pairs.get(bot.store.db, pair_id)


def test_a_correction_is_shown_with_what_the_bot_said(bot: Bot) -> None:
    def write(db: Database) -> None:
        given.approved(db, bot.domain, Draft("How many seats?", "Forty seats."))
        reply = given.reply(db, bot.domain, "slack:T1/U1", "How many SEATS are there?", "Three.")
        feedback.correction(db, reply, "slack:T1/U1", "Forty-two seats.")

    bot.write(write)
    page = client(bot, "reviewer").get(REVIEW).text

    for words in ("How many SEATS are there?", "Three.", "Forty-two seats.", "Forty seats."):
        assert words in page
    assert "1 pair to review" in page


def test_a_pair_is_approved_rejected_or_skipped(bot: Bot) -> None:
    first, second, third = pending(bot, Draft("A?", "1"), Draft("B?", "2"), Draft("C?", "3"))
    reviewer = client(bot, "reviewer", "ann")
    page = reviewer.get(REVIEW)
    assert fields(page.text)["prompt"] == "A?"

    page = reviewer.post(f"{REVIEW}/{first}", data={**fields(page.text), "decision": "approve"})
    assert "Approved." in page.text
    assert fields(page.text)["prompt"] == "B?"
    page = reviewer.post(f"{REVIEW}/{second}", data={"decision": "skip"})
    assert fields(page.text)["prompt"] == "C?"
    sent = {"decision": "reject", "reason": "It is wrong."}
    page = reviewer.post(f"{REVIEW}/{third}", data=sent)
    assert fields(page.text)["prompt"] == "B?"  # skipped before, and still there

    assert [pair(bot, n).status for n in (first, second, third)] == [
        "approved",
        "pending",
        "rejected",
    ]
    assert pair(bot, third).review_reason == "It is wrong."
    did = [(e.actor, e.action) for e in audit.recent(bot.store.db, 2)]
    assert did == [("user:ann", "review")] * 2


def test_edited_words_become_the_approved_pair(bot: Bot) -> None:
    (first,) = pending(bot, Draft("A?", "1"))
    sent = {"decision": "approve", "prompt": "A, really?", "response": "One."}

    page = client(bot, "reviewer").post(f"{REVIEW}/{first}", data=sent)

    assert "Approved, in your words." in page.text
    assert "There is nothing to review." in page.text
    assert pair(bot, first).status == "rejected"
    (made,) = pairs.list_pairs(bot.store.db, bot.domain, "approved")
    assert (made.prompt, made.response) == ("A, really?", "One.")


def test_a_decision_can_be_undone(bot: Bot) -> None:
    (first,) = pending(bot, Draft("A?", "1"))
    reviewer = client(bot, "reviewer")
    sent = {"decision": "approve", "prompt": "A?", "response": "1"}
    page = reviewer.post(f"{REVIEW}/{first}", data=sent)
    assert f'action="{REVIEW}/{first}/undo"' in page.text

    page = reviewer.post(f"{REVIEW}/{first}/undo")

    assert pair(bot, first).status == "pending"
    assert fields(page.text)["prompt"] == "A?"


def test_only_own_decisions_can_be_undone(bot: Bot) -> None:
    first, second = pending(bot, Draft("A?", "1"), Draft("B?", "2"))
    ann, bob = client(bot, "reviewer", "ann"), client(bot, "reviewer", "bob")
    for number, words in ((first, ("A?", "1")), (second, ("B?", "2"))):
        sent = {"decision": "approve", "prompt": words[0], "response": words[1]}
        ann.post(f"{REVIEW}/{number}", data=sent)

    assert bob.post(f"{REVIEW}/{first}/undo").status_code == 409
    wrong = REVIEW.replace("helpdesk", "none")
    assert ann.post(f"{wrong}/{first}/undo").status_code == 404
    assert pair(bot, first).status == "approved"
    assert "The pair is back." in ann.post(f"{REVIEW}/{first}/undo").text
    assert pair(bot, first).status == "pending"
    assert pair(bot, first).reviewed_by == ""


def seats(bot: Bot) -> int:
    """A pending pair that probably states the fact of an approved one."""
    approved = Draft("How many seats are there?", "Forty seats.", fact="seats")
    bot.write(lambda db: given.approved(db, bot.domain, approved))
    (waiting,) = pending(bot, Draft("How many seats?", "Forty-two.\nSince May."))
    return waiting


def test_edited_words_are_kept_in_a_newer_answer(bot: Bot) -> None:
    number, reviewer = seats(bot), client(bot, "reviewer", "ann")
    given_back = fields(reviewer.get(REVIEW).text)
    sent = {**given_back, "decision": "newer", "response": "Forty-three."}

    page = reviewer.post(f"{REVIEW}/{number}", data=sent)

    assert "Approved, as the newer answer, in your words." in page.text
    approved = pairs.list_pairs(bot.store.db, bot.domain, "approved")
    made = next(p for p in approved if p.response == "Forty-three.")
    assert made.fact == "seats"
    assert [p.response for p in approved if p.id == number] == []
    assert audit.recent(bot.store.db, 1)[0].detail["fact"] == "seats"


def test_an_undone_newer_answer_is_no_newer_answer(bot: Bot) -> None:
    number, reviewer = seats(bot), client(bot, "reviewer", "ann")
    before = pair(bot, number)
    assert before.fact != "seats"
    sent = {**fields(reviewer.get(REVIEW).text), "decision": "newer"}
    page = reviewer.post(f"{REVIEW}/{number}", data=sent)
    assert "Approved, as the newer answer." in page.text
    assert pair(bot, number).fact == "seats"

    reviewer.post(f"{REVIEW}/{number}/undo", data=fields(page.text))

    assert pair(bot, number).status == "pending"
    assert pair(bot, number).fact == before.fact


def test_line_ends_of_browsers_are_no_edit(bot: Bot) -> None:
    for number in pending(bot, Draft("A?", "One\ntwo"), Draft("B?", "One\r\ntwo")):
        sent = {"decision": "approve", "prompt": pair(bot, number).prompt}
        page = client(bot, "reviewer").post(
            f"{REVIEW}/{number}", data={**sent, "response": "One\r\ntwo"}
        )
        assert "Approved." in page.text
        assert (pair(bot, number).status, pair(bot, number).response) == ("approved", "One\ntwo")


def test_two_reviewers_get_different_pairs(bot: Bot) -> None:
    (first, _) = pending(bot, Draft("A?", "1"), Draft("B?", "2"))
    ann, bob = client(bot, "reviewer", "ann"), client(bot, "reviewer", "bob")

    assert fields(ann.get(REVIEW).text)["prompt"] == "A?"
    assert fields(bob.get(REVIEW).text)["prompt"] == "B?"
    refused = bob.post(f"{REVIEW}/{first}", data={"decision": "reject"})
    assert refused.status_code == 409
    assert pair(bot, first).status == "pending"


def test_a_pair_of_another_domain_is_not_found(bot: Bot) -> None:
    (first,) = pending(bot, Draft("A?", "1"))
    wrong = REVIEW.replace("helpdesk", "none")

    assert client(bot).post(f"{wrong}/{first}", data={"decision": "reject"}).status_code == 404
    assert review_queue.pending(bot.store.db) == 1


def declined(bot: Bot, question: str, person: str) -> None:
    def write(db: Database) -> None:
        unanswered.add(db, given.reply(db, bot.domain, person, question, ""), bot.domain)

    bot.write(write)


def test_an_unanswered_question_is_taught_with_one_click(bot: Bot) -> None:
    declined(bot, "Where is the canteen?", "slack:T1/U1")
    declined(bot, "where is the canteen?", "slack:T1/U2")
    reviewer = client(bot, "reviewer", "ann")
    page = reviewer.get(UNANSWERED).text
    assert "2 people, 2 questions" in page
    action = page.split(f'action="{UNANSWERED}/')[1].split('"')[0]

    page = reviewer.post(f"{UNANSWERED}/{action}", data={"response": "In the cellar.\r\nNo."}).text

    assert "counts from the next question on" in page
    assert "declined no question" in page
    (made,) = pairs.list_pairs(bot.store.db, bot.domain, "approved")
    assert (made.prompt, made.response) == ("Where is the canteen?", "In the cellar.\nNo.")
    assert made.author == "user:ann"


def test_an_unanswered_question_is_dismissed(bot: Bot) -> None:
    declined(bot, "What is love?", "slack:T1/U1")
    reviewer = client(bot, "reviewer")
    page = reviewer.get(UNANSWERED).text
    action = page.split(f'action="{UNANSWERED}/')[2].split('"')[0]
    assert action.endswith("/dismiss")

    assert "off the list" in reviewer.post(f"{UNANSWERED}/{action}").text
    assert unanswered.count_open(bot.store.db) == 0
    assert reviewer.post(f"{UNANSWERED}/{action}").status_code == 404
