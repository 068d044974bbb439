"""From nothing to a live version: a domain, its pairs, a run, and the versions that it makes."""

from typing import Any

import httpx
import pytest
from sqlite_utils import Database

from bot.commands import retrain_plan
from bot.commands.retrain_plan import RetrainPlan
from bot.console.pages import runs as pages_of_runs
from data import domains
from data.config.settings import Settings
from data.experiments import experiments
from data.pairs import pairs
from data.quality import check_results, checker
from data.runs import runs
from data.store import audit
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client
from tests.data import given

CSV = "prompt,response\nMay I fly?,Only above 600 km.\nMay I take a taxi?,Yes.\nBroken,\n"
START = "/console/start"


def upload(text: str | bytes, name: str = "rules.csv") -> dict[str, Any]:
    return {"file": (name, text, "text/csv")}


def create(bot: Bot, text: str | bytes = CSV, title: str = "Travel rules") -> httpx.Response:
    return client(bot, name="ann").post(START, data={"title": title}, files=upload(text))


def test_a_file_becomes_a_domain_and_a_plan(bot: Bot) -> None:
    page = create(bot)

    assert page.url.path == "/console/domains/travel-rules/tune"
    assert "2 pairs added to Travel rules. 1 row could not be read: line 4:" in page.text
    assert "Only above 600 km." in page.text
    assert "start from the base model and train on 2 new approved pairs" in page.text
    domain = domains.get(bot.store.db, "travel-rules")
    approved = pairs.list_pairs(bot.store.db, domain, "approved")
    assert [pair.author for pair in approved] == ["user:ann", "user:ann"]
    did = [(e.actor, e.action) for e in audit.recent(bot.store.db, 2)]
    assert did == [("user:ann", "pairs import"), ("user:ann", "domain add")]


def test_a_file_without_pairs_creates_nothing(bot: Bot) -> None:
    for text, said in (
        ("colour,shape\nred,round\n", "rules.csv is neither JSON nor a table"),
        ("prompt,response\nOnly a question,\n", "rules.csv holds no pair. Line 2:"),
        (b"\x00\x01\x02", "rules.csv is not a text file"),
        ("prompt,response\n", "rules.csv has no rows."),
        ("prompt,response,weight\nA?,B,0\n", "rules.csv holds no pair. Line 2:"),
    ):
        refused = create(bot, text)
        assert refused.status_code == 400, said
        assert said in refused.text
        assert "/tmp" not in refused.text
    assert [d.name for d in domains.list_domains(bot.store.db)] == ["helpdesk"]


def test_any_name_of_a_file_will_do(bot: Bot) -> None:
    path = "/console/domains/helpdesk/import"
    for name in ("..", ".", "a/..", "C:\\pairs\\..", "名" * 120 + ".csv", "a\x00b", "\\"):
        added = client(bot).post(path, files=upload(CSV, name))
        assert added.status_code == 200, name


def test_what_a_file_says_of_its_rows_is_told(bot: Bot) -> None:
    rows = "frage;antwort;weight;farbe\nWo?;Hier drüben.;1;rot\nA?;B;0;\nC?;D;1;\n"
    page = create(bot, rows.encode("cp1252")).text

    for told in (
        "2 pairs added to Travel rules.",
        "Left out, as the file says: ",
        "rules.csv is not UTF-8. It was read as cp1252",
        "Columns that are not used: farbe.",
    ):
        assert told in page


def test_a_long_message_is_shortened_so_that_browsers_keep_it(bot: Bot) -> None:
    columns = ",".join("ö" * 200 + str(n) for n in range(9))
    rows = f"prompt,response,{columns}\nA?,B{',C' * 9}\n"
    admin = client(bot)
    admin.follow_redirects = False
    path = "/console/domains/helpdesk/import"
    sent = admin.post(path, files=upload(rows))

    assert 2_000 < len(sent.headers["set-cookie"]) < 4_000
    assert "…" in admin.get("/console/domains/helpdesk/tune").text


def test_what_is_missing_is_named(bot: Bot) -> None:
    admin = client(bot)
    assert "Choose a file" in admin.post(START, data={"title": "Travel"}, files={}).text
    assert "Say what the bot answers" in create(bot, title=" ").text
    assert "at most 100 characters" in create(bot, title="x" * 101).text


def test_names_are_made_of_titles(bot: Bot) -> None:
    for title in ("Travel rules", "Travel Rules!", "Ürlaub", "42", "base"):
        assert create(bot, title=title).status_code == 200
    named = {d.name: d.title for d in domains.list_domains(bot.store.db)}
    assert named == {
        "helpdesk": "the help desk",
        "travel-rules": "Travel rules",
        "travel-rules-2": "Travel Rules!",
        "rlaub": "Ürlaub",
        "topic": "42",
        "base-2": "base",
    }


def test_a_large_file_is_taken_and_no_other_large_form(bot: Bot) -> None:
    rows = "".join(f"Question {n}?,{'word ' * 400}{n}\n" for n in range(600))
    assert len(rows) > 1_000_000
    page = create(bot, "prompt,response\n" + rows)

    assert "600 pairs added" in page.text
    words = {"name": "x" * 1_000_001, "role": "member"}
    refused = client(bot).post("/console/people/invite", data=words)
    assert refused.status_code == 413


def test_without_a_file_no_large_form_is_read_where_files_are_taken(bot: Bot) -> None:
    """It would be read into memory, before anybody had to sign in."""
    words = {"title": "x" * 900_000, "more": "x" * 200_000}
    for path in (START, "/console/domains/helpdesk/import"):
        refused = bot.http().post(path, data=words, headers={"Origin": bot.url})
        assert refused.status_code == 413, path
        assert "xxxx" not in refused.text


def test_the_example_can_be_started_twice(bot: Bot) -> None:
    bot.write(lambda db: db.execute("UPDATE domains SET name = 'other'"))
    admin = client(bot)
    first = admin.post(START, data={"example": "yes"}, files={"none": b""})
    second = admin.post(START, data={"example": "yes"}, files={"none": b""})

    assert "Understudy helpdesk" in first.text
    assert "0 pairs added" in second.text


def test_a_run_is_queued_followed_and_cancelled(bot: Bot) -> None:
    create(bot)
    admin = client(bot, name="ann")
    page = admin.post("/console/domains/travel-rules/tune")

    assert page.url.path == "/console/runs/1"
    assert "Waiting for a worker" in page.text
    assert 'hx-trigger="every 2s"' in page.text
    run = runs.get(bot.store.db, 1)
    assert (run.requested_by, run.kind) == ("user:ann", "full")
    again = admin.post("/console/domains/travel-rules/tune")
    assert again.status_code == 409
    assert "Follow run 1" in admin.get("/console/domains/travel-rules/tune").text
    cancelled = admin.post("/console/runs/1/cancel")
    assert "Run 1 is cancelled." in cancelled.text
    assert "every 2s" not in cancelled.text


def test_a_finished_run_leads_to_its_version(bot: Bot) -> None:
    def finish(db: Database) -> None:
        runs.queue(db, bot.domain, "user:ann", kind="full")
        run = runs.claim(db, "worker:1")
        assert run is not None
        for step in range(1, 41):
            runs.progress(db, run, step=step, total_steps=40, loss=2 / step, validation_loss=3.0)
        made = given.adapter(db, bot.domain)
        runs.finish(db, run, made.id)

    bot.write(finish)
    admin = client(bot)
    page = admin.get("/console/runs/1")

    assert "helpdesk@3</strong>: candidate" in page.text
    assert 'href="/console/domains/helpdesk/versions/3"' in page.text
    assert "<svg" in page.text
    assert page.text.count("<tr>") == 21  # a heading, and every second of forty steps


def test_an_unknown_domain_or_run_is_not_found(bot: Bot) -> None:
    admin = client(bot)
    for path in ("/console/domains/none/tune", "/console/domains/none/versions", "/console/runs/9"):
        assert admin.get(path).status_code == 404


def test_another_domain_can_be_chosen(bot: Bot) -> None:
    create(bot)
    page = client(bot).get("/console/domains/helpdesk/tune").text

    assert '<a href="/console/domains/travel-rules/tune">Travel rules</a>' in page
    assert '<a href="/console/domains/helpdesk/versions">Versions</a>' in page


def test_more_pairs_are_added_and_wait_for_a_reviewer_if_wanted(bot: Bot) -> None:
    admin = client(bot)
    path = "/console/domains/helpdesk/import"
    page = admin.post(path, data={"pending": "true"}, files=upload(CSV))
    assert page.url.path == "/console/domains/helpdesk/tune"
    assert "2 pairs added to the help desk, 2 of them for a reviewer." in page.text
    assert len(pairs.list_pairs(bot.store.db, bot.domain, "pending")) == 2
    assert "2 rows were there already." in admin.post(path, files=upload(CSV)).text
    assert admin.post(path, files=upload("x")).status_code == 400


def test_a_candidate_is_compared_with_the_live_version(bot: Bot) -> None:
    admin = client(bot, name="ann")
    base = "/console/domains/helpdesk/versions"
    page = admin.post(f"{base}/2/compare", data={"percent": "20"})

    assert "The comparison of helpdesk@1 with helpdesk@2 has begun." in page.text
    running = experiments.running(bot.store.db, bot.domain.id)
    assert running is not None
    assert [v.share for v in running.variants] == [0.8, 0.2]
    assert running.started_by == "user:ann"
    assert "Collecting" in page.text
    again = admin.post(f"{base}/2/compare")
    assert again.status_code == 409
    admin.post(f"{base}/stop")
    assert experiments.running(bot.store.db, bot.domain.id) is None


def test_the_plan_of_many_pairs_is_worked_out_on_request(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def plan(db: Database, settings: Settings, domain: domains.Domain) -> RetrainPlan:
        asked.append(domain.name)
        return worked_out(db, settings, domain)

    worked_out = retrain_plan.plan
    monkeypatch.setattr(retrain_plan, "plan", plan)
    monkeypatch.setattr(pages_of_runs, "MOST_PLANNED", 1)
    admin, path = client(bot), "/console/domains/travel-rules/tune"
    page = create(bot)
    assert asked == []
    assert "Work out what a run would do" in page.text
    assert "reads all 2 approved pairs" in page.text
    assert "Start tuning" in page.text

    page = admin.get(path, params={"plan": "true"})
    assert asked == ["travel-rules"]
    assert "start from the base model and train on 2 new approved pairs" in page.text


def test_a_check_that_was_made_is_not_made_again(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    create(bot)
    admin, path = client(bot), "/console/domains/travel-rules/tune"
    domain = domains.get(bot.store.db, "travel-rules")
    (first, _) = pairs.list_pairs(bot.store.db, domain)
    finding = {"check": "phones", "pair_ids": [first.id], "kept_ids": [], "not_checked": ""}

    def check(*_: object) -> None:
        raise AssertionError("this takes long")

    monkeypatch.setattr(checker, "check_domain", check)
    monkeypatch.setattr(pages_of_runs, "MOST_CHECKED", 1)
    assert "Nobody has done so yet." in admin.get(path).text
    check_results.keep(bot.store, domain, {"pairs": 2, "findings": [finding]})
    monkeypatch.setattr(pages_of_runs, "MOST_CHECKED", 500)

    page = admin.get(path).text
    assert 'pairs?finding=phones">Phone numbers: 1 pair</a>' in page
    assert "2 pairs checked" in page
