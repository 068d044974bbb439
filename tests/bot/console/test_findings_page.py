"""The console's pages of findings, of the golden set, and of exports."""

import json

import httpx
import pytest

from data.pairs import pairs
from data.pairs.pairs import Draft
from data.quality import check_process, check_results
from data.store import audit
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client
from tests.bot.console.test_pairs_page import PAIRS, add, listed, pair
from tests.conftest import wait_until

FINDINGS, GOLDEN, EXPORT = f"{PAIRS}/findings", f"{PAIRS}/golden", f"{PAIRS}/export"


def checked(browser: httpx.Client) -> str:
    """The page of findings after a check."""
    assert browser.post(f"{FINDINGS}/check").status_code == 200
    page = ""

    def done() -> bool:
        nonlocal page
        page = browser.get(FINDINGS).text
        return "hx-trigger" not in page

    wait_until(done, "the check to end", 90)
    return page


def test_findings_are_listed_filtered_fixed_and_undone(bot: Bot) -> None:
    (phone, duplicate, kept) = add(
        bot,
        Draft("Who helps?", "Call +49 170 1234567."),
        Draft("Where is it?", "Here."),
        Draft("where is it", "Here."),
        status="approved",
    )
    admin = client(bot, name="ann")
    assert "changes nothing" in admin.get(FINDINGS).text

    page = checked(admin)
    assert "Phone numbers" in page
    assert "3 pairs checked" in page
    assert "1234567" not in page
    shown = admin.get(PAIRS, params={"finding": "phones"}).text
    assert listed(shown) == [phone]
    assert "The last check found: Phone numbers" in admin.get(f"{PAIRS}/{phone}").text

    page = admin.post(f"{FINDINGS}/phones/fix").text
    assert "1 masked, 0 put in quarantine, 0 merged" in page
    assert "Phone numbers" not in page
    assert pair(bot, phone).status == "quarantined"
    masked = [p.response for p in pairs.list_pairs(bot.store.db, bot.domain, "approved")]
    assert "Call [phone number]." in masked
    entry = audit.recent(bot.store.db, 1)[0]
    assert (entry.actor, entry.action) == ("user:ann", "pairs check --fix")

    assert "Undone: 1 masked" in admin.post(f"{FINDINGS}/undo").text
    assert pair(bot, phone).status == "approved"
    assert {pair(bot, n).status for n in (duplicate, kept)} == {"approved"}
    assert admin.post(f"{FINDINGS}/undo").status_code == 404
    assert admin.post(f"{FINDINGS}/boilerplate/fix").status_code == 404
    assert client(bot, "reviewer").post(f"{FINDINGS}/phones/fix").status_code == 403


def test_a_merge_keeps_the_newest_pair(bot: Bot) -> None:
    first, second = add(
        bot, Draft("Where is it?", "Here."), Draft("where is it", "Here."), status="approved"
    )
    report = {
        "pairs": 2,
        "findings": [
            {"check": "near-duplicates", "pair_ids": [first], "kept_ids": [second],
             "not_checked": ""},
            {"check": "toxic", "pair_ids": [], "kept_ids": [], "not_checked": "there is no list"},
        ],
    }  # fmt: skip
    check_results.keep(bot.store, bot.domain, report)
    admin = client(bot)
    page = admin.get(FINDINGS).text
    assert "because there is no list" in page

    assert "1 merged into another pair" in admin.post(f"{FINDINGS}/near-duplicates/fix").text
    assert [pair(bot, n).status for n in (first, second)] == ["quarantined", "approved"]


def test_the_golden_set_is_listed_added_to_and_taken_out_of(bot: Bot) -> None:
    admin = client(bot, name="ann")
    page = admin.post(GOLDEN, data={"prompt": "How many seats?", "response": "42"}).text
    assert "The question is in the golden set." in page
    assert "1 question." in page
    (golden,) = pairs.list_pairs(bot.store.db, bot.domain)
    assert golden.split == "golden"
    add(bot, Draft("Who pays?", "You"), status="approved")
    leak = admin.post(GOLDEN, data={"prompt": "Who pays?", "response": "I"})
    assert leak.status_code == 409

    reviewer = client(bot, "reviewer")
    assert "How many seats?" in reviewer.get(GOLDEN).text
    asked = reviewer.get(GOLDEN, params={"seen": "true"}).text
    assert "No version learned any of them before." in asked
    assert reviewer.post(f"{GOLDEN}/{golden.id}/release").status_code == 403
    assert "no longer golden" in admin.post(f"{GOLDEN}/{golden.id}/release").text
    assert pair(bot, golden.id).split == "auto"


def test_pairs_are_exported_and_imported_again(bot: Bot) -> None:
    ids = add(bot, *(Draft(f"Question {n}?", f"{n}\n=1") for n in range(1_100)), status="approved")
    add(bot, Draft("Waiting?", "Yes."))
    reviewer = client(bot, "reviewer")
    assert "approved (1,100)" in reviewer.get(EXPORT).text

    sent = reviewer.get(f"{EXPORT}/file", params={"format": "jsonl"})
    assert 'filename="helpdesk-approved.jsonl"' in sent.headers["content-disposition"]
    rows = [json.loads(line) for line in sent.text.splitlines()]
    assert [row["prompt"] for row in rows] == [f"Question {n}?" for n in range(len(ids))]
    table = reviewer.get(f"{EXPORT}/file", params={"format": "csv", "status": "all"})
    assert table.text.count("\nWaiting?") == 1
    assert reviewer.get(f"{EXPORT}/file", params={"format": "xml"}).status_code == 400


def test_a_check_that_breaks_says_so(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(check_process, "check_domain", broken)

    assert "The check failed; the server log has the details." in checked(client(bot))
