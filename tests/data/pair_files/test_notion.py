"""An export of Notion, with the names and the layout that Notion gives its files."""

import zipfile
from pathlib import Path

import pytest

from data.domains import Domain
from data.pair_files import importer
from data.pairs import pairs
from data.store.db import Store
from data.store.errors import Invalid

DATABASE, PAGE = "5d7ad5a5f0d84f5c8d0c4b8f0e6d1c2b", "0c1e6b7a9d3f4e2a8b5c7d9e1f3a5b7c"
VIEW = "\ufeffName,Answer,Status,Tags\nHow do I log in?,With SSO.,Done,access\n"
WHOLE = VIEW + "Where is the VPN?,In the portal.,Not started,\nWho helps?,,In progress,\n"
ROW = "# How do I log in?\n\nAnswer: With SSO.\nStatus: Done\nTags: access\n\n"


def exported(path: Path) -> Path:
    with zipfile.ZipFile(path.with_suffix(".inner"), "w", zipfile.ZIP_DEFLATED) as part:
        part.writestr(f"Wiki/FAQ/How do I log in {PAGE}.md", ROW)
        part.writestr(f"Wiki/FAQ {DATABASE}.csv", VIEW)
        part.writestr(f"Wiki/FAQ {DATABASE}_all.csv", WHOLE)
        part.writestr(f"Wiki/Handbook {PAGE}.md", "# Handbook\n\n## Is there lunch?\n\nAt noon.\n")
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_suffix(".inner"), "ExportBlock-0c1e6b7a-Part-1.zip")
    return path


def test_a_database_is_read_once_and_its_title_is_the_question(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    report = importer.import_file(store, domain, exported(tmp_path / "Export.zip"))
    found = [(p.prompt, p.response, p.status) for p in pairs.list_pairs(store.db, domain)]
    assert found == [
        ("How do I log in?", "With SSO.", "approved"),
        ("Where is the VPN?", "In the portal.", "pending"),
        ("Is there lunch?", "At noon.", "approved"),
    ]
    assert [bad.reason for bad in report.bad] == ["the response is empty"]
    assert [(c.name, c.rows) for c in report.unused] == [("Tags", 1)]
    (twice,) = [note for note in report.notes if "Notion's export" in note]
    assert f"Wiki/FAQ/How do I log in {PAGE}.md" in twice
    assert f"Wiki/FAQ {DATABASE}.csv" in twice


def test_a_database_alone_is_read(store: Store, domain: Domain, tmp_path: Path) -> None:
    file = tmp_path / f"FAQ {DATABASE}_all.csv"
    file.write_text(WHOLE, encoding="utf-8")
    report = importer.preview_file(store, domain, file)
    assert (report.added, report.columns["prompt"]) == (2, ("Name",))


def test_pages_of_a_database_without_answers_are_read_without_their_columns(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    """The lines that state the columns were taken for a part of the answer."""
    row = "# How do I log in?\n\nStatus: Not started\nTags: access\n\nWith SSO.\n\nNote: at home."
    view = "\ufeffName,Status,Tags\nHow do I log in?,Not started,\n"
    with zipfile.ZipFile(tmp_path / "Export.zip", "w") as archive:
        archive.writestr(f"FAQ {DATABASE}.csv", view)
        archive.writestr(f"FAQ/How do I log in {PAGE}.md", row)
        archive.writestr(f"Handbook {PAGE}.md", "# Is there lunch?\n\nStatus: at noon.\n")
    report = importer.import_file(store, domain, tmp_path / "Export.zip")
    found = [(p.prompt, p.response, p.status) for p in pairs.list_pairs(store.db, domain)]
    assert sorted(found) == [
        ("How do I log in?", "With SSO.\n\nNote: at home.", "pending"),
        ("Is there lunch?", "Status: at noon.", "approved"),
    ]
    assert [(c.name, c.rows) for c in report.unused] == [("Tags", 1)]


def test_a_database_with_a_damaged_header_says_so(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    """Its header ended the import with a traceback."""
    file = tmp_path / f"FAQ {DATABASE}.csv"
    file.write_bytes(b"Name\rx,Status\nHow?,Done\n")
    with pytest.raises(Invalid, match="neither JSON nor a table"):
        importer.preview_file(store, domain, file)
