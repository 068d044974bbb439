"""The console's pages of pairs: the list, decisions on many, one pair, and facts."""

import re

from data import domains
from data.pairs import pairs, review_queue
from data.pairs.pairs import Draft, Pair
from data.quality import private_words
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client
from tests.bot.console.test_sign_in import fields

PAIRS = "/console/domains/helpdesk/pairs"


def add(bot: Bot, *drafts: Draft, status: pairs.Status = "pending") -> list[int]:
    return list(
        bot.write(
            lambda db: pairs.add(db, bot.domain, list(drafts), source="import", status=status)
        ).ids
    )


def pair(bot: Bot, pair_id: int) -> Pair:
    return pairs.get(bot.store.db, pair_id)


def listed(html: str) -> list[int]:
    return [int(number) for number in re.findall(r'name="pair" value="(\d+)"', html)]


def test_the_list_is_paged_searched_and_filtered(bot: Bot) -> None:
    ids = add(bot, *(Draft(f"Question {n}?", "Yes.") for n in range(60)))
    ids += add(bot, Draft("Where is the printer?", "In the hall."), status="approved")
    reviewer = client(bot, "reviewer")

    page = reviewer.get(PAIRS).text
    assert "61 pairs, the newest first" in page
    assert listed(page) == ids[:-51:-1]
    older = re.search(r'href="([^"]*)" rel="next"', page)
    assert older is not None
    page = reviewer.get(older[1].replace("&amp;", "&")).text
    assert listed(page) == ids[10::-1]
    assert "First page" in page

    page = reviewer.get(PAIRS, params={"q": "PRINT hall", "status": ""}).text
    assert listed(page) == [ids[-1]]
    assert "1 pair fits" in page
    assert 'value="PRINT hall"' in page
    assert listed(reviewer.get(PAIRS, params={"q": "print", "status": "pending"}).text) == []
    assert reviewer.get(PAIRS, params={"status": "good"}).status_code == 400


def test_ticked_pairs_are_decided_on_and_it_is_undone(bot: Bot) -> None:
    ids = add(bot, *(Draft(f"Question {n}?", "Yes.") for n in range(3)))
    reviewer = client(bot, "reviewer", "ann")
    shown = fields(reviewer.get(PAIRS).text)

    sent = {"action": "approve", "as_of": shown["as_of"], "pair": [str(n) for n in ids[:2]]}
    page = reviewer.post(f"{PAIRS}/bulk", data=sent)
    assert "2 pairs approved." in page.text
    assert [pair(bot, n).status for n in ids] == ["approved", "approved", "pending"]

    undo = re.search(r'action="([^"]*/undo)"', page.text)
    assert undo is not None
    assert "Undone for 2 pairs." in reviewer.post(undo[1]).text
    assert [pair(bot, n).status for n in ids] == ["pending"] * 3
    assert "Tick the pairs first" in reviewer.post(f"{PAIRS}/bulk", data=sent | {"pair": []}).text


def test_all_that_fit_are_counted_before_they_change(bot: Bot) -> None:
    ids = add(bot, *(Draft(f"Question {n}?", "Yes.") for n in range(300)))
    (other,) = add(bot, Draft("Where is the printer?", "In the hall."))
    reviewer = client(bot, "reviewer", "ann")
    shown = fields(reviewer.get(PAIRS).text)
    sent = {"action": "reject", "as_of": shown["as_of"], "scope": "all", "q": "question"}

    page = reviewer.post(f"{PAIRS}/bulk", data=sent).text
    assert "300 pairs will be rejected: all with the words “question”." in page
    assert pair(bot, ids[0]).status == "pending"
    confirm = sent | {"expected": fields(page)["expected"]}
    (late,) = add(bot, Draft("A late question?", "Yes."))
    refused = reviewer.post(f"{PAIRS}/bulk", data=confirm)
    assert refused.status_code == 409
    assert "301 pairs fit the filter by now, not 300" in refused.text
    assert pair(bot, ids[0]).status == "pending"

    page = reviewer.post(f"{PAIRS}/bulk", data=confirm | {"expected": "301"}).text
    assert "301 pairs rejected." in page
    assert {pair(bot, n).status for n in (*ids, late)} == {"rejected"}
    assert pair(bot, other).status == "pending"
    undo = re.search(r'action="([^"]*/undo)"', page)
    assert undo is not None
    assert "Undone for 301 pairs." in reviewer.post(undo[1]).text
    assert {pair(bot, n).status for n in (*ids, late)} == {"pending"}


def test_a_pair_is_edited_and_shows_its_history(bot: Bot) -> None:
    (first, second) = add(
        bot,
        Draft("How many seats?", "Forty.", fact="seats"),
        Draft("How many chairs?", "Forty.", fact="seats"),
        status="approved",
    )
    reviewer = client(bot, "reviewer", "ann")
    page = reviewer.get(f"{PAIRS}/{first}").text
    assert "How many chairs?" in page
    assert "Added: import" in page

    sent = fields(page) | {"response": "Forty-two.", "status": "approved"}
    page = reviewer.post(f"{PAIRS}/{first}", data=sent).text

    assert f"pair {first}, with the words before, is rejected" in page
    assert "Made of another pair by an edit, by ann" in page
    assert f'href="{PAIRS}/{first}"' in page
    assert pair(bot, first).status == "rejected"
    assert "Replaced by other words, by ann" in reviewer.get(f"{PAIRS}/{first}").text
    assert pair(bot, second).status == "approved"


def test_of_two_admins_at_once_the_second_keeps_what_they_wrote(bot: Bot) -> None:
    (number,) = add(bot, Draft("How many seats?", "Forty."), status="approved")
    ann, bob = client(bot, "reviewer", "ann"), client(bot, "admin", "bob")
    sent = fields(ann.get(f"{PAIRS}/{number}").text) | {"status": "approved"}
    assert ann.post(f"{PAIRS}/{number}", data=sent | {"response": "42"}).status_code == 200

    refused = bob.post(f"{PAIRS}/{number}", data=sent | {"response": "Forty-two, says Bob."})

    assert refused.status_code == 409
    assert "has been changed since you opened it: it is rejected now, by user:ann" in refused.text
    assert "Forty-two, says Bob." in refused.text
    found = {p.response: p.status for p in pairs.list_pairs(bot.store.db, bot.domain)}
    assert found == {"Forty.": "rejected", "42": "approved"}


def test_pairs_of_another_domain_are_not_shown_here(bot: Bot) -> None:
    (number,) = add(bot, Draft("How many seats?", "Forty."))
    bot.write(lambda db: domains.create(db, "travel"))
    admin = client(bot)
    travel = f"/console/domains/travel/pairs/{number}"
    assert admin.get(travel).status_code == 404
    sent = fields(admin.get(f"{PAIRS}/{number}").text) | {"status": "approved"}
    assert admin.post(travel, data=sent).status_code == 404
    assert admin.post(f"{travel}/unmask").status_code == 404
    assert pair(bot, number).status == "pending"


def test_masked_words_are_shown_to_whom_asks(bot: Bot) -> None:
    draft = Draft("Who helps?", "Call +49 170 1234567.")
    bot.write(
        lambda db: private_words.add_for_review(
            db, bot.domain, draft, source="teach", source_ref="", author="user:eve"
        )
    )
    (masked,) = pairs.list_pairs(bot.store.db, bot.domain)
    reviewer = client(bot, "reviewer", "ann")
    page = reviewer.get(f"{PAIRS}/{masked.id}").text
    assert "1234567" not in page
    assert "Masked: phone number in the answer." in page

    page = reviewer.post(f"{PAIRS}/{masked.id}/unmask").text

    assert "Call +49 170 1234567." in page
    assert "Masked words shown, by ann" in page


def test_facts_are_listed_with_their_phrasings(bot: Bot) -> None:
    drafts = [Draft(f"{how} seats?", "Forty.", fact="seats") for how in ("How many", "Count of")]
    add(bot, *drafts, status="approved")
    reviewer = client(bot, "reviewer")

    page = reviewer.get(f"{PAIRS}/facts").text

    for words in ("How many seats?", "Count of seats?", ">seats<", "2 pairs"):
        assert words in page
    link = re.search(r'href="([^"]*\?fact=[^"]*)"', page)
    assert link is not None
    assert len(listed(reviewer.get(link[1]).text)) == 2


def test_a_review_that_somebody_holds_is_not_overtaken(bot: Bot) -> None:
    (number,) = add(bot, Draft("How many seats?", "Forty."))
    bot.write(lambda db: review_queue.hold(db, number, "slack:T1/U2"))
    reviewer = client(bot, "reviewer")
    shown = fields(reviewer.get(PAIRS).text)
    sent = {"action": "approve", "as_of": shown["as_of"], "pair": [str(number)]}

    assert "slack:T1/U2 is looking at pair" in reviewer.post(f"{PAIRS}/bulk", data=sent).text
    assert pair(bot, number).status == "pending"


def test_a_search_for_a_control_character_does_not_find_every_pair(bot: Bot) -> None:
    (_, with_it) = add(bot, Draft("Is it red?", "No."), Draft("Is it \x1b ?", "Yes."))
    reviewer = client(bot, "reviewer")

    assert listed(reviewer.get(PAIRS, params={"q": "\x1b"}).text) == [with_it]
    assert listed(reviewer.get(PAIRS, params={"q": "\0"}).text) == []


def test_line_ends_of_a_form_do_not_count_twice(bot: Bot) -> None:
    """Browsers send each as two characters."""
    (long,) = add(bot, Draft("How?", "A line.\n" * 3_999), status="approved")
    reviewer = client(bot, "reviewer", "ann")
    sent = fields(reviewer.get(f"{PAIRS}/{long}").text) | {"status": "rejected"}
    sent["response"] = pair(bot, long).response.replace("\n", "\r\n")
    assert len(sent["response"]) > pairs.MAX_CHARS

    assert "Saved: the pair is rejected." in reviewer.post(f"{PAIRS}/{long}", data=sent).text
    assert pair(bot, long).status == "rejected"
