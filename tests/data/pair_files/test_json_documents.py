"""JSON arrays, objects of several lines, and lists under a key."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.pair_files import files, open_rows
from data.pair_files.verdicts import BadRow
from data.pairs.pairs import Draft

ROWS = [{"prompt": f"q{n}", "response": f"a{n}"} for n in range(3)]
DRAFTS = [Draft(f"q{n}", f"a{n}") for n in range(3)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "document",
    [
        ROWS,
        [[row["prompt"], row["response"]] for row in ROWS],
        {"version": 1, "data": ROWS},
        {"faqs": ROWS, "count": 3},
    ],
)
def test_the_rows_of_a_document_are_read(tmp_path: Path, document: Any, indent: int | None) -> None:
    file = tmp_path / "a.json"
    file.write_text("\n" + json.dumps(document, indent=indent))
    assert list(files.read(file)) == DRAFTS


def test_objects_of_several_lines_are_read_one_after_the_other(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("\n".join(json.dumps(row, indent=4) for row in ROWS))
    assert list(files.read(file)) == DRAFTS


def test_lists_that_are_named_after_splits_mark_their_rows(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"train": ROWS[:1], "validation": ROWS[1:2], "golden": ROWS[2:]}))
    splits = [draft.split for draft in files.read(file) if isinstance(draft, Draft)]
    assert splits == ["train", "validation", "golden"]


def test_one_conversation_of_several_lines_is_one_row(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "q0"}, {"role": "assistant", "content": "a0"}]
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"messages": said}, indent=2))
    assert list(files.read(file)) == DRAFTS[:1]


def test_a_document_that_breaks_off_keeps_its_rows_and_says_where(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(ROWS)[:-20])
    *found, bad = files.read(file)
    assert found == DRAFTS[:2]
    assert isinstance(bad, BadRow)
    assert "not JSON from here on" in bad.reason


def test_a_bad_row_does_not_affect_others_in_an_array(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps([ROWS[0], 7, {"prompt": "q"}, ROWS[1]]))
    first, number, incomplete, last = files.read(file)
    assert [first, last] == DRAFTS[:2]
    assert isinstance(number, BadRow)
    assert isinstance(incomplete, BadRow)
    assert (number.line, incomplete.line) == (2, 3)


@pytest.mark.parametrize("start", ["", '{"data": ', '[{"prompt": "q", "response": "a", "more": '])
def test_a_value_that_is_too_deep_ends_a_document(tmp_path: Path, start: str) -> None:
    """`ijson.items` takes a gigabyte for these 10,000 brackets, and four for twice as many."""
    file = tmp_path / "a.json"
    file.write_text(start + "[" * 10_000)
    (bad,) = files.read(file)
    assert isinstance(bad, BadRow)
    assert "a value has more than 500 levels" in bad.reason


def test_what_follows_an_array_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(ROWS) + "rest")
    *found, bad = files.read(file)
    assert found == DRAFTS
    assert isinstance(bad, BadRow)


def test_deep_values_do_not_keep_the_columns_from_being_listed(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[{"prompt": "q", "response": "a", "more": ' + "[" * 3_000)
    assert open_rows.column_names(file) == ()


def test_a_value_that_is_too_large_ends_a_document(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[{"prompt": "q", "response": "a", "more": [' + "0," * 1_100_000 + "0]}]")
    (bad,) = files.read(file)
    assert isinstance(bad, BadRow)
    assert "a value has more than 1,000,000 keys and values" in bad.reason


@pytest.mark.parametrize("record", [5, {"type": "conversation.list", "conversations": [{}]}])
def test_a_list_of_conversations_holds_nothing_but_conversations(
    tmp_path: Path, record: Any
) -> None:
    file = tmp_path / "a.jsonl"
    row = {"type": "conversation.list", "conversations": [record]}
    file.write_text(json.dumps(row) + "\n" + json.dumps(ROWS[0]))
    bad, good = files.read(file)
    assert isinstance(bad, BadRow)
    assert "lists of Intercom" in bad.reason
    assert good == DRAFTS[0]
