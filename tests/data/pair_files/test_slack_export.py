"""Threads of a Slack export, as a folder and as a zip archive."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from data.domains import Domain
from data.pair_files import importer, slack_export
from data.pairs import pairs
from data.store.db import Store
from data.store.errors import Invalid

ADA, BEN = "U0ADA", "U0BEN"


def user(id: str, name: str) -> dict[str, Any]:
    first, _, _ = name.partition(" ")
    profile = {"real_name": name, "display_name": first.lower(), "first_name": first,
               "email": f"{first.lower()}@example.com"}  # fmt: skip
    return {"id": id, "team_id": "T1", "name": first.lower(), "deleted": False,
            "real_name": name, "is_bot": False, "profile": profile}  # fmt: skip


def said(user: str, ts: str, text: str, thread: str | None = None, **more: Any) -> dict[str, Any]:
    threaded = {"thread_ts": thread} if thread else {}
    return {"type": "message", "user": user, "ts": ts, "text": text, **threaded, **more}


DAY_1 = [
    said("U0ADA", "1.0", "<@U0ADA> has joined the channel", subtype="channel_join"),
    said(ADA, "2.0", "<@U0BEN> where is the <https://x.io/vpn|VPN page>? 5 &lt; 6", "2.0",
         reply_count=3, edited={"user": ADA, "ts": "2.5"}),
    said("U0BOT", "3.0", "Searching…", "2.0", subtype="bot_message", bot_id="B1"),
    said(BEN, "4.0", "Ada, ask ben@example.com or see <#C2|it-help>", "2.0"),
    said(ADA, "6.0", "no thread here"),
    said(ADA, "7.0", "Anybody?", "7.0", reply_count=1),
    said(ADA, "7.5", "Hello?", "7.0"),
]  # fmt: skip
DAY_2 = [
    said(BEN, "8.0", "And restart it.", "2.0"),
    said(ADA, "9.0", "Thanks Ben!", "2.0"),
    said(BEN, "9.5", "Welcome.", "2.0"),
]
SECRET = [said(ADA, "1.0", "The raise?", "1.0"), said(BEN, "2.0", "In May.", "1.0")]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    files: dict[str, Any] = {
        "users.json": [user(ADA, "Ada Lovelace"), user(BEN, "Ben Okri")],
        "channels.json": [{"id": "C1", "name": "general"}, {"id": "C2", "name": "it-help"}],
        "groups.json": [{"id": "G1", "name": "board"}],
        "integration_logs.json": [],
        "general/2024-01-01.json": DAY_1,
        "general/2024-01-02.json": DAY_2,
        "it-help/2024-01-01.json": [
            said(BEN, "1.0", "How to print?", "1.0"), said(ADA, "2.0", "Use room 3.", "1.0")
        ],
        "board/2024-01-01.json": SECRET,
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_threads_of_public_channels_wait_for_review_without_people(
    store: Store, domain: Domain, export: Path, packed: bool
) -> None:
    if packed:
        export = Path(shutil.make_archive(str(export), "zip", export))
    report = importer.import_file(store, domain, export)
    found = pairs.list_pairs(store.db, domain)
    assert [(p.status, p.prompt, p.response) for p in found] == [
        (
            "pending",
            "@someone where is the VPN page (https://x.io/vpn)? 5 < 6",
            "[name], ask [e-mail address] or see #it-help\n\nAnd restart it.",
        ),
        ("pending", "How to print?", "Use room 3."),
    ]
    assert found[0].source_ref.endswith("/general/2024-01-01.json:2")
    assert (report.added, report.waiting, report.bad_total) == (2, 2, 0)
    assert report.left_out == {
        "nobody answered in the thread": 1, "a notice of Slack, such as a join": 1,
        "written by a bot": 1, "a message without a thread": 1,
    }  # fmt: skip
    assert "Channels that were read: general, it-help." in report.notes[0]
    assert "Private channels and direct messages were left out (1)" in report.notes[1]
    assert "Read as threads of Slack: 2." in report.notes
    whole = json.dumps([p.prompt + p.response for p in found])
    assert not any(word in whole for word in (ADA, BEN, "Ada", "Ben", "example.com"))


def test_only_the_channels_that_are_named(store: Store, domain: Domain, export: Path) -> None:
    shown = importer.preview_file(store, domain, export, channels=["#board"]).shown
    assert [draft.prompt for draft in shown] == ["The raise?"]
    with pytest.raises(Invalid, match="has no channel sales"):
        importer.preview_file(store, domain, export, channels=["sales"])


def test_a_damaged_day_costs_only_itself(store: Store, domain: Domain, export: Path) -> None:
    (export / "general" / "2024-01-02.json").write_text('[{"type": "mess')
    report = importer.import_file(store, domain, export)
    assert (report.added, report.bad_total) == (2, 1)
    assert report.bad[0].member == "general/2024-01-02.json"


def test_odd_records_cost_only_themselves(store: Store, domain: Domain, export: Path) -> None:
    users = [user(ADA, "Ada Lovelace"), None, {"id": BEN, "name": "ben", "profile": None}]
    (export / "users.json").write_text(json.dumps(users))
    (export / "channels.json").write_text(json.dumps([None, {"name": "it-help"}]))
    odd = [said(ADA, time, "What?", "1.0") for time in ("x", "", "1e999")]  # type: ignore[list-item]
    odd += [{**odd[0], "ts": None}, said(ADA, "5.0", "Hm?", 5), None]  # type: ignore[arg-type,list-item]
    (export / "it-help" / "2024-01-02.json").write_text(json.dumps(odd))
    report = importer.import_file(store, domain, export)
    assert (report.added, report.bad_total) == (1, 0)
    assert report.left_out == {
        "a message without a time": 4, "a message without a thread": 1, "no message": 1,
    }  # fmt: skip


def test_damaged_lists_of_people_and_channels_are_named(
    store: Store, domain: Domain, export: Path
) -> None:
    (export / "users.json").write_text("[{")
    with pytest.raises(Invalid, match=r"users\.json of the Slack export cannot be read"):
        importer.import_file(store, domain, export)


def test_what_is_beyond_the_bounds_is_counted_as_such(
    store: Store, domain: Domain, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_export, "MOST_THREADS", 1)
    monkeypatch.setattr(slack_export, "MOST_REPLIES", 2)
    report = importer.preview_file(store, domain, export, channels=["general"])
    assert report.left_out["a reply after the first 2 of its thread"] == 3
    assert report.left_out["a message after the first 1 threads of its channel"] == 2
    assert not any("outside of the export" in reason for reason in report.left_out)


@pytest.mark.parametrize("name", ["a.csv", "a.zip"])
def test_other_files_have_no_channels(
    store: Store, domain: Domain, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("question,answer\nOpen?,Yes.\n")
    if name == "a.zip":
        file = Path(shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path, "a.csv"))
    with pytest.raises(Invalid, match="no export of Slack"):
        importer.import_file(store, domain, file, channels=["general"])
