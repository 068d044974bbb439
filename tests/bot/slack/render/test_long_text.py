"""Splitting a long text over several form inputs, and joining it again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.render.long_text import MAX_INPUT, PIECE_LENGTH, cut, joined

LONG = st.lists(st.sampled_from(["word", "\n", "\n\n  \n", "  ", "漢" * 900, "x" * 3_000, "."]))


@given(LONG.map("".join))
def test_unchanged_pieces_join_to_the_original_text(text: str) -> None:
    parts = cut(text)
    typed = [part.text.strip() for part in parts]  # as a form returns them
    assert joined(parts, typed) == text.strip()
    longest = MAX_INPUT if len(parts) == 1 else PIECE_LENGTH
    assert all(len(part.text) <= longest for part in parts)
    assert all(typed) or not text.strip()


def test_a_text_is_split_after_a_paragraph_else_a_line_else_a_word() -> None:
    lesser = {"\n \n": "two\n", "\n": "two ", " ": "two"}  # the rest has only weaker breaks
    for gap, rest in lesser.items():
        first = "one" * 600
        assert cut(first + gap + rest * 1_000)[0].text == first
    assert [len(part.text) for part in cut("x" * 6_000)] == [PIECE_LENGTH, PIECE_LENGTH, 1_000]


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (["one", "two", "three"], "one\n\ntwo three"),
        (["one", "", "three"], "one three"),
        (["", "two", ""], "two"),
        (["", "", ""], ""),
    ],
)
def test_an_emptied_piece_is_dropped_with_the_space_before_it(texts: list[str], whole: str) -> None:
    parts = cut("a" * 2_400 + "\n\n" + "b" * 2_400 + " " + "c" * 2_000)
    assert len(parts) == 3
    assert joined(parts, texts) == whole
