"""Importing a file in the console: a look at it, the columns, the import, and taking it back."""

import asyncio
import os
import re
from dataclasses import replace

import httpx

from data.pair_files.import_process import ImportJobs
from data.pair_files.staged_files import ImportOptions, StagedFiles
from data.pairs import imports, pairs
from data.store import audit
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client
from tests.bot.console.test_first_run import CSV, upload
from tests.bot.console.test_sign_in import fields
from tests.conftest import wait_until

IMPORTS = "/console/domains/helpdesk/pairs/imports"


def look(browser: httpx.Client, text: str | bytes = CSV, name: str = "rules.csv") -> httpx.Response:
    """The page of an uploaded file, once it was read."""
    return settled(browser, browser.post(IMPORTS, files=upload(text, name)))


def settled(browser: httpx.Client, page: httpx.Response) -> httpx.Response:
    assert page.status_code == 200, page.text

    def done() -> bool:
        nonlocal page
        page = browser.get(page.url.path)
        return "hx-trigger" not in page.text

    wait_until(done, "the file to be read", 60)
    return page


def counts(bot: Bot) -> dict[str, int]:
    return pairs.counts(bot.store.db, bot.domain)


def test_a_file_is_looked_at_imported_and_taken_back(bot: Bot) -> None:
    admin = client(bot, name="ann")
    page = look(admin)
    assert "2 pairs would be added to the help desk" in page.text
    assert "1 row refused" in page.text
    assert "Line 4: the response is empty" in page.text or "Line 4:" in page.text
    assert "Only above 600 km." in page.text
    assert sum(counts(bot).values()) == 0

    sent = {"status": "pending", "name": "the rules"}
    page = settled(admin, admin.post(f"{page.url.path}/import", data=sent))
    assert "2 pairs added, 2 of them for a reviewer." in page.text
    assert counts(bot)["pending"] == 2
    (entry,) = audit.recent(bot.store.db, 1)
    assert (entry.actor, entry.action, entry.detail["added"]) == ("user:ann", "pairs import", 2)
    listed = admin.get(IMPORTS).text
    assert "the rules" in listed
    assert "2 pairs, 2 to review" in listed
    assert (
        not StagedFiles(bot.settings.home)
        .path(StagedFiles(bot.settings.home).of(bot.domain)[0])
        .exists()
    )

    undo = re.search(r'action="([^"]*/undo)"', page.text)
    assert undo is not None
    assert "is undone: 2 pairs taken back." in admin.post(undo[1]).text
    assert sum(counts(bot).values()) == 0
    assert admin.post(undo[1]).status_code == 409


def test_columns_of_any_name_are_mapped_by_selects(bot: Bot) -> None:
    admin = client(bot)
    page = look(admin, "Thema;Kunde;Wir\nA;Wo?;Hier.\nB;Wann?;Jetzt.\n")
    assert "neither JSON nor a table" in page.text
    assert "--map" not in page.text
    assert re.findall(r'name="column" value="(\w+)"', page.text) == ["Thema", "Kunde", "Wir"]

    path = page.url.path
    sent = {"column": ["Thema", "Kunde", "Wir"], "part": ["fact", "prompt", "prompt"]}
    assert "Two columns are the question" in admin.post(f"{path}/preview", data=sent).text
    sent["part"] = ["ignore", "prompt", "response"]
    page = settled(admin, admin.post(f"{path}/preview", data=sent))
    assert "2 pairs would be added" in page.text

    settled(admin, admin.post(f"{path}/import"))
    found = [(p.prompt, p.response) for p in pairs.list_pairs(bot.store.db, bot.domain)]
    assert found == [("Wo?", "Hier."), ("Wann?", "Jetzt.")]
    assert admin.post(f"{path}/import").status_code == 409


def test_conflicts_and_what_is_there_are_told_before(bot: Bot) -> None:
    admin = client(bot)
    settled(admin, admin.post(f"{look(admin).url.path}/import"))

    page = look(admin, "question,answer\nMay I fly?,Never.\nMay I take a taxi?,Yes.\n").text

    assert "1 pair would be added" in page
    assert "There already: 1 approved" in page
    assert "The file says: Never." in page
    assert "Only above 600 km." in page


def test_golden_questions_come_from_a_file(bot: Bot) -> None:
    admin = client(bot)
    page = look(admin)
    settled(admin, admin.post(f"{page.url.path}/import", data={"golden": "true"}))
    found = pairs.list_pairs(bot.store.db, bot.domain)
    assert {pair.split for pair in found} == {"golden"}
    assert audit.recent(bot.store.db, 1)[0].action == "golden import"


def test_a_file_can_be_discarded_and_another_domain_does_not_see_it(bot: Bot) -> None:
    admin = client(bot)
    page = look(admin)
    assert "rules.csv" in admin.get(IMPORTS).text
    elsewhere = page.url.path.replace("helpdesk", "travel")
    assert admin.get(elsewhere).status_code == 404

    assert "rules.csv is discarded." in admin.post(f"{page.url.path}/discard").text
    assert admin.get(page.url.path).status_code == 404
    for name in ("..", ".", "a/..", "C:\\pairs\\..", "名" * 120 + ".csv", "\\"):
        assert look(admin, CSV, name).status_code == 200
    assert admin.post(IMPORTS, files=upload("")).status_code == 400
    assert admin.post(IMPORTS, files=upload(b"\x00\x01")).status_code == 400


def test_an_import_whose_process_ended_says_so_and_can_go_on(bot: Bot) -> None:
    admin = client(bot)
    page = look(admin)
    files = StagedFiles(bot.settings.home)
    (staged,) = files.of(bot.domain)
    files.save(replace(staged, state="importing", report=None, options=ImportOptions()))
    os.utime(files.folder / staged.id / "about.json", (1, 1))  # long ago

    page = admin.get(page.url.path)
    assert "The import was interrupted. Import the file again" in page.text
    settled(admin, admin.post(f"{page.url.path}/preview"))
    page = settled(admin, admin.post(f"{page.url.path}/import"))
    assert "2 pairs added" in page.text


def test_reviewers_see_the_imports_and_change_none(bot: Bot) -> None:
    admin, reviewer = client(bot), client(bot, "reviewer")
    settled(admin, admin.post(f"{look(admin).url.path}/import"))
    page = reviewer.get(IMPORTS).text
    assert "rules.csv" in page
    assert "Undo" not in page
    (one,) = imports.list_imports(bot.store.db, bot.domain)
    assert reviewer.post(f"{IMPORTS}/{one.batch.id}/undo").status_code == 403
    assert fields(page).get("file") is None


def test_files_that_nobody_imports_are_deleted_without_another_upload(bot: Bot) -> None:
    page = look(client(bot))
    files = StagedFiles(bot.settings.home)
    (staged,) = files.of(bot.domain)
    os.utime(files.folder / staged.id, (1, 1))  # long ago

    async def clean_up() -> None:
        jobs = asyncio.create_task(ImportJobs(bot.store, bot.settings).delete_old_forever())
        await asyncio.to_thread(
            lambda: wait_until(lambda: not files.of(bot.domain), "deletion", 20)
        )
        jobs.cancel()

    asyncio.run(asyncio.wait_for(clean_up(), 20))
    assert client(bot).get(page.url.path).status_code == 404


def test_an_import_is_approved_or_for_a_reviewer(bot: Bot) -> None:
    admin = client(bot)
    page = look(admin)
    for status in ("rejected", "quarantined"):
        sent = admin.post(f"{page.url.path}/import", data={"status": status})
        assert sent.status_code == 400
    assert counts(bot)["rejected"] == 0


def test_pairs_that_no_run_can_learn_are_put_in_quarantine(bot: Bot) -> None:
    admin = client(bot)
    long = "At nine. " * 1_000
    said = "1 pair put in quarantine, because no run can learn it: too long for the base model"

    page = look(admin, f"question,answer\nWhen?,At nine.\nHow long?,{long}\n")
    assert said in page.text
    page = settled(admin, admin.post(f"{page.url.path}/import"))
    assert said in page.text
    assert (counts(bot)["approved"], counts(bot)["quarantined"]) == (1, 1)


def test_what_a_file_is_said_about_stays_without_the_options_of_the_command_line(bot: Bot) -> None:
    page = look(client(bot), "question,answer,status\nWhen?,At nine.,perhaps\n")
    assert "which is no known status: they wait for review." in page.text
    assert "--map" not in page.text
