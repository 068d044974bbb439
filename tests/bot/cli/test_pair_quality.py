"""`understudy pairs check` and `pairs allow`."""

from pathlib import Path

import pytest

from bot.cli import pairs as pairs_commands
from data import domains
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.quality import private_words
from data.store.db import Store
from tests.bot.cli.conftest import Run, json


@pytest.fixture(autouse=True)
def given_pairs(run: Run, store: Store) -> None:
    run("domains", "add", "desk")
    drafts = [
        Draft("Login?", "The password is hunter22."),
        Draft("Is it open?", "Yes, it is."),
        Draft("Is it open", "Yes, it is"),
        Draft("Who <b>helps</b>?", "Call 0555 1234 and wait for Anna."),
    ]
    with store.write() as db:
        pairs.add(db, domains.get(db, "desk"), drafts, source="import", status="approved")


def statuses(store: Store) -> list[str]:
    return [pair.status for pair in pairs.list_pairs(store.db, domains.get(store.db, "desk"))]


def test_it_names_the_pairs_and_what_a_fix_would_do(run: Run, store: Store) -> None:
    said = run("pairs", "check", "desk").output
    assert "Keys, tokens and passwords (secrets): 1 pair\n" in said
    assert "pair 2: Is it open? [the same words as pair 3: Is it open]" in said
    assert "--fix: replaces the words by their kind" in said
    assert "hunter22" not in said
    assert statuses(store) == ["approved"] * 4


def test_fix_and_undo(run: Run, store: Store) -> None:
    before = statuses(store)
    fixed = run("pairs", "check", "desk", "--fix").output
    assert fixed.startswith("Pairs: 1 masked, 0 put in quarantine, 1 merged into another pair.")
    assert statuses(store) == ["quarantined", "quarantined", "approved", "approved", "approved"]
    assert "Undone: 1 masked" in run("pairs", "check", "desk", "--undo").output
    assert statuses(store)[:4] == before
    assert "no fix of desk to undo" in run("pairs", "check", "desk", "--undo").output


def test_one_check_alone(run: Run) -> None:
    found = json(run("pairs", "check", "desk", "--only", "phones", "--json"))
    assert isinstance(found, dict)
    assert [(f["check"], f["pair_ids"]) for f in found["findings"]] == [("phones", [4])]
    assert "There is no check 'x'" in run("pairs", "check", "desk", "--only", "x").output


def test_the_page_is_whole_and_escaped(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert f"Wrote {file}." in run("pairs", "check", "desk", "--html", str(file)).output
    page = file.read_text(encoding="utf-8")
    assert "Who &lt;b&gt;helps&lt;/b&gt;?" in page
    assert "<b>" not in page
    assert "hunter22" not in page
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert page.count("<svg") >= 3


def test_an_allowed_number_is_no_finding(run: Run) -> None:
    assert "allows no contact data" in run("pairs", "allow", "desk").output
    assert "0555-1234" in run("pairs", "allow", "desk", "0555-1234").output
    assert "(phones)" not in run("pairs", "check", "desk").output
    run("pairs", "allow", "desk", "0555-1234", "--remove")
    assert "(phones)" in run("pairs", "check", "desk").output
    assert "not on the allow-list" in run("pairs", "allow", "desk", "x", "--remove").output


def test_a_review_shows_masked_words_on_request(run: Run, store: Store) -> None:
    draft = Draft("Whom do I write to?", "Write to ann@example.com about it.")
    with store.write() as db:
        private_words.add_for_review(
            db, domains.get(db, "desk"), draft, source="correction", source_ref="", author="x"
        )
    said = run("pairs", "review", "desk", input="g\nq\n").output
    assert "Masked: e-mail address in the answer." in said
    assert "ann@example.com" not in said
    assert "ann@example.com" in run("pairs", "review", "desk", input="s\na\n").output
    assert pairs.get(store.db, 5).response == "Write to ann@example.com about it."


def test_an_import_counts_the_faults_of_what_it_added(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = home / "more.csv"
    table.write_text("question,answer\nWho else helps?,Ask bo@example.com.\nWhen?,TODO\n")
    said = run("pairs", "import", "desk", str(table)).output
    assert "Found in the added pairs: placeholders (1), e-mail addresses (1)." in said
    batch = said.partition("--import ")[2].split()[0]
    listed = run("pairs", "list", "desk", "--import", batch, "--finding", "emails").output
    assert "Who else helps?" in listed
    assert "When?" not in listed
    run("pairs", "undo", batch)
    monkeypatch.setattr(pairs_commands, "CHECKED_AT_IMPORT", 3)
    assert "Found in" not in run("pairs", "import", "desk", str(table)).output
