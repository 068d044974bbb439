"""`samples/Posts.xml` has the rows of a data dump, as Stack Exchange writes them."""

from pathlib import Path

import pytest

from data.domains import Domain
from data.pair_files import files, importer
from data.pair_files.verdicts import BadRow
from data.pairs import pairs
from data.store.db import Store
from data.store.errors import Invalid

SAMPLE = Path(__file__).parent / "samples" / "Posts.xml"


def test_accepted_answers_are_stored_and_the_rest_is_counted(store: Store, domain: Domain) -> None:
    report = importer.import_file(store, domain, SAMPLE)
    first, second = pairs.list_pairs(store.db, domain)
    assert first.prompt == (
        "How to obtain high resolution prints in a shorter period of time?\n\nWhen I've printed an "
        "object I've had to choose between high resolution and quick prints.\n\nWhat can I do?"
    )
    assert first.response == (
        "Change the nozzle:\n\n1. 0.6 mm\n2. see this (https://example.com/x)\n\n```\nM221 S95\n```"
    )
    assert (second.response, second.status) == ("Styrene.", "pending")  # closed, and below 0
    assert dict(report.left_out) == {
        "a question without an accepted answer": 1,
        "an answer that was not accepted": 1,
        "neither a question nor an answer": 1,
    }
    assert report.bad == (BadRow(10, "its accepted answer does not follow it in the file"),)
    assert [(c.name, c.rows) for c in report.unused] == [("Tags", 2)]
    assert "median -2, lowest -2, highest 9" in report.notes[0]
    assert "CC BY-SA 3.0 (1), CC BY-SA 4.0 (1)" in report.notes[1]


def test_a_dump_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    text = SAMPLE.read_text()
    (tmp_path / "Posts.xml").write_text(text[: text.index('  <row Id="6"')])
    *_, last = files.read(tmp_path / "Posts.xml")
    assert isinstance(last, BadRow)
    assert "nothing is read after this row" in last.reason


def test_entities_are_never_expanded(tmp_path: Path) -> None:
    text = SAMPLE.read_text().replace("<posts>", '<!DOCTYPE p [<!ENTITY a "ha">]><posts>')
    (tmp_path / "Posts.xml").write_text(text)
    with pytest.raises(Invalid, match="DOCTYPE"):
        list(files.read(tmp_path / "Posts.xml", "stack-exchange"))
