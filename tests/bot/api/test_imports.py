"""Importing files over HTTP."""

from typing import Any

import httpx

from data.pairs import pairs
from data.store import audit
from tests.bot.conftest import Bot
from tests.conftest import wait_until

PATH = "/v1/domains/helpdesk/imports"
CSV = "Frage,Antwort\nMay I fly?,Only above 600 km.\nMay I take a taxi?,Yes.\nBroken,\n"


def send(bot: Bot, text: str = CSV, **fields: Any) -> httpx.Response:
    with bot.http("admin") as http:
        return http.post(PATH, files={"file": ("rules.csv", text)}, data=fields)


def ended(bot: Bot, sent: httpx.Response) -> dict[str, Any]:
    assert sent.status_code == 202, sent.text
    found: dict[str, Any] = sent.json()

    def done() -> bool:
        nonlocal found
        found = bot.http("admin").get(f"{PATH}/uploads/{found['id']}").json()
        return found["state"] not in ("reading", "importing")

    wait_until(done, "the upload to be read", 60)
    return found


def test_a_file_is_imported_listed_and_taken_back(bot: Bot) -> None:
    found = ended(bot, send(bot, name="the rules", status="pending"))

    assert (found["state"], found["progress"], found["error"]) == ("done", 1.0, None)
    report = found["report"]
    assert (report["added"], report["waiting"], report["bad_total"]) == (2, 2, 1)
    assert report["columns"] == {"prompt": ["Frage"], "response": ["Antwort"]}
    (listed,) = bot.http("reviewer").get(PATH).json()["data"]
    assert (listed["import"], listed["name"]) == (report["batch"], "the rules")
    assert listed["pairs"]["pending"] == 2
    entry = audit.recent(bot.store.db, 1)[0]
    assert (entry.action, entry.detail["added"]) == ("pairs import", 2)

    undo = f"{PATH}/{listed['import']}/undo"
    taken = bot.http("admin").post(undo).json()
    assert taken == {"object": "import.undone", "import": listed["import"], "pairs": 2}
    assert sum(pairs.counts(bot.store.db, bot.domain).values()) == 0
    assert bot.http("admin").post(undo).status_code == 409
    assert bot.http("admin").post(undo.replace("helpdesk", "none")).status_code == 404
    assert audit.recent(bot.store.db, 1)[0].action == "pairs undo"


def test_a_preview_stores_nothing_until_it_is_started(bot: Bot) -> None:
    text = "Kunde;Wir\nWo?;Hier.\n"
    found = ended(bot, send(bot, text, preview="true"))
    assert found["report"] is None
    assert "neither JSON nor a table" in found["error"]

    found = ended(bot, send(bot, text, preview="true", map="question=Kunde,answer=Wir"))
    assert (found["state"], found["report"]["added"]) == ("waiting", 1)
    assert pairs.list_pairs(bot.store.db, bot.domain) == []
    path = f"{PATH}/uploads/{found['id']}"
    ended(bot, bot.http("admin").post(f"{path}/start"))
    assert [p.prompt for p in pairs.list_pairs(bot.store.db, bot.domain)] == ["Wo?"]
    assert bot.http("admin").post(f"{path}/start").status_code == 409
    assert bot.http("admin").delete(path).status_code == 204
    assert bot.http("admin").get(path).status_code == 404


def test_wrong_fields_and_roles_are_refused(bot: Bot) -> None:
    for fields, param in (
        ({"status": "good"}, "status"),
        ({"format": "xml"}, "format"),
        ({"preview": "maybe"}, "preview"),
        ({"name": "x" * 201}, "name"),
    ):
        refused = send(bot, **fields)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == param
    assert send(bot, map="question").status_code == 400
    assert send(bot, "").status_code == 400
    missing = bot.http("admin").post(PATH, json={})
    assert missing.status_code == 400
    assert missing.json()["error"]["param"] == "file"
    files = {"file": ("rules.csv", CSV)}
    assert bot.http("reviewer").post(PATH, files=files).status_code == 403
    assert pairs.list_pairs(bot.store.db, bot.domain) == []


def test_a_body_of_more_than_a_megabyte_is_taken_here(bot: Bot) -> None:
    rows = "".join(f"Question {n}?,{'word ' * 400}{n}\n" for n in range(600))
    found = ended(bot, send(bot, "prompt,response\n" + rows))
    assert found["size"] > 1_000_000
    assert found["report"]["added"] == 600


def test_a_mapping_that_cannot_be_read_is_named(bot: Bot) -> None:
    for wrong in ("Frage", "question=Frage,prompt=Antwort"):
        error = send(bot, map=wrong).json()["error"]
        assert error["param"] == "map"
        assert "--" not in error["message"]
