"""The pages about versions: what they say, and what their forms change."""

import orjson
from sqlite_utils import Database

from bot.experiments import comparisons
from data.adapters import registry
from data.store.db import value
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client
from tests.bot.console.version_scores import SCORES

LIST = "/console/domains/helpdesk/versions"


def examined(bot: Bot, state: str = "candidate") -> None:
    sql = "UPDATE adapters SET scores = ?, state = ? WHERE version = 2"
    bot.write(lambda db: db.execute(sql, [orjson.dumps(SCORES).decode(), state]))


def text(bot: Bot, path: str = LIST, role: str = "admin") -> str:
    page = client(bot, role).get(path)  # type: ignore[arg-type]
    assert page.status_code == 200
    return " ".join(page.text.split())


def live(bot: Bot) -> str | None:
    found = registry.live(bot.store.db, bot.domain.id)
    return found.name if found else None


def test_the_list_says_what_is_live_and_what_a_roll_back_does(bot: Bot) -> None:
    found = text(bot)

    assert "helpdesk@1 is live" in found
    assert "No version was live before" in found
    assert f'{LIST}/2">' in found


def test_a_reviewer_sees_versions_and_changes_none(bot: Bot) -> None:
    found = text(bot, role="reviewer")

    assert "helpdesk@2" in found
    assert "<form" not in found


def test_promote_and_roll_back(bot: Bot) -> None:
    browser = client(bot)
    promoted = browser.post(f"{LIST}/2/promote")
    assert "helpdesk@2 is live." in promoted.text
    assert "helpdesk@1 answers again, from the next message on" in " ".join(promoted.text.split())
    assert live(bot) == "helpdesk@2"

    browser.post(f"{LIST}/rollback")

    assert live(bot) == "helpdesk@1"
    sql = "SELECT count(*) FROM audit WHERE actor = 'user:admin' AND action IN (?, ?)"
    assert value(bot.store.db, sql, ["promote", "rollback"]) == 2


def test_ending_a_comparison_or_the_last_version_asks_first(bot: Bot) -> None:
    plan = comparisons.ExperimentPlan()
    pair = ["helpdesk@1", "helpdesk@2"]
    bot.write(lambda db: comparisons.begin(db, bot.domain, pair, "user:ann", plan))
    browser = client(bot)

    asked = browser.post(f"{LIST}/2/promote")
    assert "This ends comparison 1 of helpdesk" in asked.text
    assert live(bot) == "helpdesk@1"
    browser.post(f"{LIST}/2/promote", data={"confirmed": "true"})
    assert live(bot) == "helpdesk@2"

    browser.post(f"{LIST}/rollback")
    assert "Are you sure?" in browser.post(f"{LIST}/rollback").text
    assert live(bot) == "helpdesk@1"
    browser.post(f"{LIST}/rollback", data={"confirmed": "true"})
    assert live(bot) is None


def test_retire_a_candidate(bot: Bot) -> None:
    assert "helpdesk@2 is retired." in client(bot).post(f"{LIST}/2/retire").text
    refused = client(bot).post(f"{LIST}/1/retire")
    assert refused.status_code == 409
    assert live(bot) == "helpdesk@1"


def test_the_report_begins_with_what_failed(bot: Bot) -> None:
    examined(bot)
    found = text(bot, f"{LIST}/2")

    assert "3 of 10 questions in unseen words" in found
    order = ("&lt;golden&gt;", "Right less often", "All answers are readable")
    assert sorted(order, key=found.index) == list(order)
    assert "<td>70%</td><td>80%</td><td>0%</td>" in found
    assert found.index("Open?") < found.index("Same?")
    assert found.count("differs") == 1


def test_a_rejected_version_is_accepted_with_a_reason(bot: Bot) -> None:
    examined(bot, "rejected")
    browser = client(bot)
    assert "/2/accept" not in text(bot, f"{LIST}/2", role="reviewer")
    assert browser.post(f"{LIST}/2/promote").status_code == 409
    empty = browser.post(f"{LIST}/2/accept", data={"reason": " "})
    assert empty.status_code == 400

    accepted = browser.post(f"{LIST}/2/accept", data={"reason": "The test was wrong."})

    assert "helpdesk@2 is now a candidate" in accepted.text
    assert "The test was wrong." in accepted.text


def test_a_domain_without_versions(bot: Bot) -> None:
    def remove(db: Database) -> None:
        db.execute("UPDATE adapters SET state = 'retired'")

    bot.write(remove)
    assert "No version is live." in text(bot)
    unknown = client(bot).get("/console/domains/nowhere/versions")
    assert unknown.status_code == 404
    assert client(bot).get(f"{LIST}/9").status_code == 404
