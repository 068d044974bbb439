"""Control and bidirectional characters are shown as symbols, and nothing else changes."""

import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.pair_files import csv_files
from data.visible_text import escaped, marked, visible

HOSTILE = "\x1b[2J\x1b]52;c;AAAA\x07\rfake\x9b\u202etxt\u2066\x00"


def test_what_a_terminal_obeys_becomes_a_symbol() -> None:
    assert visible("\x1b[2Ja\rb\x7f\x9b") == "␛[2Ja␍b␡⟨U+009B⟩"
    assert visible("a\u202eb\u200bc\U000e0041") == "a⟨U+202E⟩b⟨U+200B⟩c⟨U+E0041⟩"


def test_ordinary_text_stays() -> None:
    text = "Wie?\n\tJa, 5 €. שלום, العربية, नमस्ते, می‌خواهم, 👩‍👩‍👧 ё"
    assert visible(text) == marked(text) == text
    assert visible("a\r\nb") == "a\nb"


def test_the_marks_of_right_to_left_writing_are_stored_and_shown() -> None:
    assert marked("א\u200fb") == "א\u200fb"
    assert visible("א\u200fb") == "א⟨U+200F⟩b"


@given(st.text())
def test_nothing_that_controls_is_left(text: str) -> None:
    for shown in (visible(text), marked(text)):
        assert not {"Cc"} & {unicodedata.category(c) for c in shown if c not in "\n\t"}
        assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") & set(shown)
    assert visible(visible(text)) == visible(text)


@given(st.text())
def test_json_keeps_its_values(text: str) -> None:
    document = escaped(orjson.dumps({"a": text}).decode())
    assert orjson.loads(document) == {"a": text}
    assert visible(document) == document


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@a", "\t=1", "'=1", "''=1", "＝1", "a=1"])
def test_a_formula_is_text_in_a_spreadsheet_and_comes_back_on_import(cell: str) -> None:
    guarded = csv_files._guarded(cell)
    assert guarded[0] not in "=+-@\t\r＝＋－＠"
    assert csv_files._unguarded(guarded) == cell
