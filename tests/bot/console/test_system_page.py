"""The pages about the service as a whole: keys, triggers, engines, settings, backups, audit log."""

import html
import re
import tarfile

import pytest
from sqlite_utils import Database

from data import backups
from data.people import keys
from data.store import audit
from data.store.db import rows
from data.triggers import rules
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client
from tests.conftest import wait_until


def test_a_key_is_shown_once_and_works_until_it_is_revoked(bot: Bot) -> None:
    browser = client(bot)
    made = browser.post("/console/keys", data={"name": "intranet", "role": "reviewer"})
    found = re.search(r'readonly value="(us-[^"]+)"', made.text)
    assert found is not None
    secret = found[1]
    assert secret not in browser.get("/console/keys").text
    asked = bot.http()
    asked.headers["Authorization"] = f"Bearer {secret}"
    assert asked.get("/v1/runs").status_code == 200
    key = keys.list_keys(bot.store.db)[-1]
    assert (key.name, key.role, key.people) == ("intranet", "reviewer", "unverified")

    browser.post(f"/console/keys/{key.id}/people", data={"people": "vouched"})
    assert keys.get(bot.store.db, key.id).people == "vouched"
    gone = browser.post(f"/console/keys/{key.id}/revoke")

    assert "intranet is revoked." in gone.text
    assert asked.get("/v1/runs").status_code == 401
    entries = rows(bot.store.db, "SELECT actor, action FROM audit ORDER BY id DESC LIMIT 3")
    assert [(e["actor"], e["action"]) for e in entries] == [
        ("user:admin", "key revoke"),
        ("user:admin", "key people"),
        ("user:admin", "key create"),
    ]


def test_triggers_are_set_and_say_what_would_happen(bot: Bot) -> None:
    path, browser = "/console/domains/helpdesk/triggers", client(bot)
    page = browser.get(path).text
    assert "It retrains when somebody asks for it" in page

    form = {"schedule": "0 3 * * 1", "pairs": "", "ratings": "on", "quiet-hours": "08:00-18:00"}
    form |= {"then": "compare"}
    said = html.unescape(browser.post(path, data=form).text)

    assert "The triggers are changed." in said
    rule = rules.of_domain(bot.store.db, bot.domain.id)
    assert (rule.schedule, rule.rating_fall, rule.follow_up) == ("0 3 * * 1", True, "compare")
    assert rule.new_pairs is None  # an empty field that was empty before is no change
    assert "On a schedule" in said
    assert "no trigger has fired" in said.lower()
    assert "Nothing changed." in browser.post(path, data=form).text
    wrong = browser.post(path, data={"schedule": "when it rains"})
    assert wrong.status_code == 400
    browser.post(path, data={"schedule": " "})
    assert rules.of_domain(bot.store.db, bot.domain.id).schedule == ""
    reviewer = client(bot, "reviewer").get(path).text
    assert "quiet hours" in reviewer.lower()
    assert "<form" not in reviewer


def test_the_system_page_says_how_the_service_is(bot: Bot) -> None:
    text = html.unescape(client(bot).get("/console/system").text)

    assert "0 answers being written here, 0 questions waiting." in text
    assert "helpdesk@1, helpdesk@2" in text
    port = bot.settings.bot.port
    assert re.search(rf'<th scope="row"[^>]*>port</th><td>{port}</td>', text)
    assert re.search(r">signing_secret</th><td>not set</td>", text)


def test_a_backup_is_written_and_listed(bot: Bot) -> None:
    browser = client(bot)
    assert "The backup is being written." in browser.post("/console/system/backup").text
    folder = bot.settings.home / "backups"
    wait_until(
        lambda: rows(bot.store.db, "SELECT 1 FROM audit WHERE action = 'backup'"),
        "the backup to be recorded",
        20,
    )

    (file,) = folder.glob("*.tar")
    with tarfile.open(file) as tar:
        assert "understudy.db" in tar.getnames()
    assert file.name in browser.get("/console/system").text
    assert folder.stat().st_mode & 0o077 == 0


def test_the_audit_log_is_filtered_and_paged(bot: Bot) -> None:
    browser = client(bot)
    for number in range(103):
        bot.write(lambda db, n=number: keys.create(db, f"key {n}", "member", "user:zoe"))
    browser.post("/console/keys", data={"name": "own", "role": "member"})

    first = browser.get("/console/audit", params={"actor": "ZOE"}).text
    older = re.search(r'href="([^"]*before=\d+)"', first)
    assert older is not None
    second = browser.get(html.unescape(older[1])).text

    assert first.count("<td>user:zoe") == 100
    assert second.count("<td>user:zoe") == 3
    assert "<td>user:admin" not in first
    assert "Older entries" not in second
    assert "There is no such entry." in browser.get("/console/audit?action=nothing").text


def test_entries_of_one_moment_are_all_on_some_page(bot: Bot) -> None:
    def write(db: Database) -> None:
        for number in range(150):
            audit.record(db, "user:zoe", "review", f"pair {number}")
        db.execute("UPDATE audit SET at = 1 WHERE actor = 'user:zoe'")

    bot.write(write)
    browser, path, found = client(bot), "/console/audit?actor=zoe", []
    while path:
        page = browser.get(html.unescape(path)).text
        found += re.findall(r"<td>pair (\d+)</td>", page)
        older = re.search(r'href="([^"]*before=\d+)"', page)
        path = older[1] if older else ""

    assert sorted(map(int, found)) == list(range(150))


def test_a_backup_that_breaks_says_so(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(backups, "write", broken)
    browser = client(bot)
    browser.post("/console/system/backup")

    said = "The backup failed; the server log has the details."
    wait_until(lambda: said in browser.get("/console/system").text, "the failure", 20)
