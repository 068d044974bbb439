"""A folder is read as the archive of its files would be."""

import os
from pathlib import Path

import pytest

from data.domains import Domain
from data.pair_files import archives, files, importer
from data.pairs.pairs import Draft
from data.store.db import Store
from data.store.errors import Invalid


def test_files_of_every_kind_are_read_and_the_others_named(
    store: Store, domain: Domain, tmp_path: Path
) -> None:
    folder = tmp_path / "faq"
    for name, content in {
        "oven/a.md": "## How hot is the oven?\n\n230 degrees.\n",
        "b.HTML": "<html><body><h2>When does the dough rest?</h2><p>At night.</p></body></html>",
        "c.csv": "question,answer\nWhich flour?,550.\n",
        "d.json": '[{"prompt": "Which salt?", "response": "Sea salt."}]',
        "logo.png": "",
        "bad\nname.csv": "question,answer\nq,a\n",
        ".git/e.csv": "question,answer\nq,a\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "link.csv").symlink_to(folder / "c.csv")
    os.utime(folder / "c.csv", (0, 0))  # before the first year of a zip archive
    report = importer.import_file(store, domain, folder)
    assert (report.added, report.bad_total) == (4, 0)
    assert report.notes[0] == (
        "Files of faq that were left out, because their names do not end like those of files of "
        "pairs: bad?name.csv, logo.png."
    )


def test_a_folder_without_files_of_pairs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(b"")
    with pytest.raises(Invalid, match=r"their names end with \.csv, \.docx"):
        list(files.read(tmp_path))


def test_a_folder_with_too_many_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 1)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("question,answer\nOpen?,Yes.\n")
    with pytest.raises(Invalid, match="more than 1 files"):
        list(files.read(tmp_path))
    (tmp_path / "b.csv").unlink()
    assert list(files.read(tmp_path)) == [Draft("Open?", "Yes.")]
