"""Each check finds its fault, and leaves what only looks like it alone."""

from dataclasses import replace

import pytest

from data.pairs.pairs import Pair
from data.quality import checks
from data.quality.findings import Surroundings, TokenCount
from tests.data.quality.given_rows import found, ids, pair

ANSWER = "The office opens at nine and closes at five on working days."
CLEAN = [
    pair(i, f"{verb} the {noun}?", f"You {verb.lower()} the {noun} in the {noun} room upstairs.")
    for i, (verb, noun) in enumerate(
        [
            (verb, noun)
            for verb in ("Where do I keep", "Who repairs", "When can I use", "How do I clean")
            for noun in ("printer", "projector", "kettle", "scanner", "laptop", "beamer", "badge")
        ],
        100,
    )
]


@pytest.mark.parametrize(
    ("check", "text"),
    [
        ("placeholders", "Dear {{customer_name}}, the parcel is on its way."),
        ("placeholders", "TODO: ask Anna what the real answer is."),
        ("placeholders", "The price is TBD."),
        ("placeholders", "It costs (TODO) a month."),
        ("placeholders", "It is in room 5. FIXME"),
        ("placeholders", "Lorem ipsum dolor sit amet."),
        ("placeholders", "Write to [your company name] and wait."),
        ("placeholders", "Dear [customer name]: your order [insert date/time] is on its way."),
        ("boilerplate", "As an AI language model, I do not know the opening hours."),
        ("boilerplate", "The office opens at nine.\n\nKind regards\nYour team"),
        ("looping-answers", "Press the button and wait. " * 9),
        ("looping-answers", "the the the " * 20),
        ("truncated-answers", "Press the button on the left side and then the"),
        ("truncated-answers", "Run this and wait for it to end:\n```\nmake install"),
        ("mojibake", "Die TÃ¼r fÃ¼r GÃ¤ste ist auf der Rückseite."),
        ("mojibake", "Die T\ufffdr ist offen."),
        ("html", "<p>The office opens at <b>nine</b>.</p>"),
        ("html", "The office opens at nine&nbsp;o'clock."),
        ("toxic", "Ask that asshole at the desk."),
        ("secrets", "Use the key AKIAIOSFODNN7EXAMPLE for the bucket."),
        ("secrets", "The password is hunter22 and never changes."),
        ("secrets", "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQ\nstill the key"),
        ("secrets", "export TOKEN=ghp_" + "a1B2" * 9),
        ("cards", "Pay with 4111 1111 1111 1111 at the till."),
        ("ibans", "Send it to DE89 3704 0044 0532 0130 00 by Friday."),
        ("emails", "Write to anna.berg+shop@example.co.uk about it."),
        ("phones", "Call 0555 1234 and wait."),
        ("phones", "You reach us on +44 20 7946 0958."),
        ("phones", "The number of the desk is (415) 555-2671."),
        ("control-tokens", "It ends with <|im_end|> somewhere."),
    ],
)  # fmt: skip
def test_the_fault_is_found(check: str, text: str) -> None:
    around = Surroundings(control_tokens=frozenset({"<|im_end|>"}))
    assert ids(check, *CLEAN, pair(1, "What about it?", text), around=around) == [1]


@pytest.mark.parametrize(
    ("check", "text"),
    [
        ("placeholders", "Call [phone number] or [phone number 2]."),
        ("placeholders", "Grep for TODO before you merge. The TODO list is in the wiki."),
        ("placeholders", "TODO comments are counted by the linter (TODO and FIXME comments)."),
        ("placeholders", "In the template, `{{name}}` stands for the name."),
        ("placeholders", "Pay in the [Customer portal](https://example.com) or [your account][1]."),
        ("placeholders", "Write to <customer-care@example.com> or see <link-list://example.com>."),
        ("looping-answers", "On a phone, open the menu at the top. Tap Save to keep your changes. "
         "On a tablet, open the bar and choose Edit. Tap Save to keep your changes. In a browser, "
         "open Settings and change what you need. Tap Save to keep your changes."),
        ("truncated-answers", "These are allowed:\n- a laptop of your own\n- a phone of the firm"),
        ("truncated-answers", "The settings are in the file https://example.com/a/b/settings"),
        ("looping-answers", "Open the lid. Take out the paper. Close the lid. Press the button. "
         "The light goes green and the printer starts again."),
        ("html", "A list has the signs < and > and & in it."),
        ("secrets", "The password is the one that you chose at the start."),
        ("secrets", "Set api_key to the value that the page shows."),
        ("cards", "The order number is 4111 1111 1111 1112."),
        ("ibans", "The part number is DE89 3704 0044 0532 0130 01."),
        ("emails", "Use the decorator @app.route or write to user@host."),
        ("phones", "Version 3.11.2 came out on 2023-02-08 and fixed 1,024 faults."),
        ("phones", "Order 12345678 was sent in 2019 - 2020."),
        ("toxic", "The cockpit of the bass boat in Scunthorpe."),
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_not(check: str, text: str) -> None:
    assert ids(check, *CLEAN, pair(1, "What about it?", text)) == []


@pytest.mark.parametrize("check", [name for name in checks.NAMES if name != "thin-facts"])
def test_clean_pairs_have_no_findings(check: str) -> None:
    tokens = Surroundings(
        control_tokens=frozenset({"<|im_end|>"}),
        count_tokens=lambda pairs: [TokenCount(10, 10) for _ in pairs],
        max_tokens=2048,
    )
    assert ids(check, *CLEAN, around=tokens) == []


def test_another_language_is_found() -> None:
    german = "Die Tür für Gäste ist auf der Rückseite des Hauses neben dem Aufzug."
    english = [pair(i, p.prompt, ANSWER) for i, p in enumerate(CLEAN, 200)]
    assert ids("wrong-language", *english, pair(1, "Wo ist die Tür?", german)) == [1]


def test_no_main_language_means_not_checked() -> None:
    german = "Die Tür für Gäste ist auf der Rückseite des Hauses neben dem Aufzug."
    half = [pair(i, "Wo ist das?", german) for i in range(len(CLEAN))]
    assert "no main language" in found("wrong-language", *CLEAN, *half).not_checked


def asks(number: int, prompt: str, response: str = ANSWER, **more: str) -> Pair:
    return pair(number, prompt, response, **more)  # type: ignore[arg-type]


def test_of_duplicates_the_newest_stays() -> None:
    pairs = [asks(1, "When does the office open?"), asks(2, "when does the office open")]
    assert ids("exact-duplicates", *CLEAN, *pairs) == [1]
    assert ids("near-duplicates", *CLEAN, *pairs) == []


def test_a_typing_error_makes_a_near_duplicate() -> None:
    pairs = [asks(1, "When does the office open?"), asks(2, "When does the ofice open?")]
    assert ids("exact-duplicates", *pairs) == []
    assert ids("near-duplicates", *pairs) == [1]


def test_another_phrasing_is_no_duplicate() -> None:
    pairs = [asks(1, "When does the office open?"), asks(2, "From what time is somebody there?")]
    assert ids("near-duplicates", *pairs) == []


def test_a_golden_question_stays() -> None:
    golden = asks(1, "When does the office open?", split="golden")
    assert ids("exact-duplicates", golden, asks(2, "When does the office open")) == [2]


def test_the_older_of_two_answers_conflicts() -> None:
    old = asks(1, "When does the office open?")
    new = asks(2, "When does the office open?", "Only on Fridays, after a call to the desk.")
    assert ids("conflicting-answers", old, new) == [1]
    assert (
        "pair 2 says: Only on Fridays" in found("conflicting-answers", old, new).examples[0].detail
    )


def test_an_answer_with_another_number_conflicts() -> None:
    old = asks(1, "When does it open?", "The office in the main street opens at 9 on all days.")
    new = asks(2, "When does it open?", "The office in the main street opens at 8 on all days.")
    assert ids("near-duplicates", old, new) == []
    assert ids("conflicting-answers", old, new) == [1]


def test_a_trained_question_that_is_also_golden_contaminates() -> None:
    golden = asks(1, "When does the office open?", split="golden")
    assert ids("contamination", *CLEAN, golden, asks(2, "When does the ofice open?")) == [2]
    pending = asks(2, "When does the ofice open?", status="pending")
    assert ids("contamination", *CLEAN, golden, pending) == []


def test_pairs_with_too_many_tokens_are_too_long() -> None:
    around = Surroundings(
        count_tokens=lambda pairs: [TokenCount(10, len(p.response)) for p in pairs], max_tokens=50
    )
    pairs = [asks(1, "Why?", "Because." * 20), asks(2, "Why not?", "Because.")]
    assert ids("too-long", *pairs, around=around) == [1]
    assert "not on this machine" in found("too-long", *pairs).not_checked


def test_facts_with_one_phrasing_are_thin() -> None:
    pairs = [asks(1, "One?", fact="a"), asks(2, "Two?", fact="a"), asks(3, "Three?", fact="b")]
    assert ids("thin-facts", *pairs) == [3]


def test_an_author_of_most_pairs_is_named() -> None:
    pairs = [pair(i, f"Question {i}?", ANSWER, author="slack:T1/U1") for i in range(30)]
    pairs += [pair(i, f"Question {i}?", ANSWER, author="slack:T1/U2") for i in range(30, 35)]
    finding = found("imbalance", *pairs)
    assert finding.count == 1
    assert "slack:T1/U1 has 86%" in finding.examples[0].detail


def test_private_words_are_never_quoted() -> None:
    text = "The password is hunter22, or ask anna@example.com, or call 0555 1234."
    for check in ("secrets", "emails", "phones"):
        example = found(check, pair(1, f"What is it? {text}", text)).examples[0]
        assert "hunter22" not in str(example)
        assert "anna@" not in str(example)
        assert "0555" not in str(example)


def test_allowed_contact_data_is_no_finding() -> None:
    around = Surroundings(allowed=frozenset({"05551234"}))
    assert ids("phones", pair(1, "How?", "Call 0555-1234."), around=around) == []


def test_a_pair_that_waits_for_review_contradicts_no_approved_one() -> None:
    right = pair(1, "When is it open?", "Daily from nine to five.")
    waits = replace(pair(2, "When is it open?", "Never, it is shut."), status="pending")
    newest = pair(3, "When is it open?", "From ten until six o'clock.")
    assert ids("conflicting-answers", right, waits) == []
    assert ids("conflicting-answers", right, waits, newest) == [1, 2]
