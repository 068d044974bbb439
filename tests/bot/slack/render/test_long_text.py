"""A long text in several inputs of a form, and whole again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.render.long_text import LONGEST, ROOMY, cut, joined

LONG = st.lists(st.sampled_from(["word", "\n", "\n\n  \n", "  ", "漢" * 900, "x" * 3_000, "."]))


@given(LONG.map("".join))
def test_the_pieces_are_the_text_when_nothing_is_changed(text: str) -> None:
    parts = cut(text)
    typed = [part.text.strip() for part in parts]  # as a form gives them back
    assert joined(parts, typed) == text.strip()
    assert all(len(part.text) <= (LONGEST if len(parts) == 1 else ROOMY) for part in parts)
    assert all(typed) or not text.strip()


def test_a_text_is_cut_where_a_paragraph_ends_else_a_line_else_a_word() -> None:
    lesser = {"\n \n": "two\n", "\n": "two ", " ": "two"}  # what the rest could be cut at
    for gap, rest in lesser.items():
        first = "one" * 600
        assert cut(first + gap + rest * 1_000)[0].text == first
    assert [len(part.text) for part in cut("x" * 6_000)] == [ROOMY, ROOMY, 1_000]


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (["one", "two", "three"], "one\n\ntwo three"),
        (["one", "", "three"], "one three"),
        (["", "two", ""], "two"),
        (["", "", ""], ""),
    ],
)
def test_what_is_emptied_is_gone_with_the_space_before_it(texts: list[str], whole: str) -> None:
    parts = cut("a" * 2_400 + "\n\n" + "b" * 2_400 + " " + "c" * 2_000)
    assert len(parts) == 3
    assert joined(parts, texts) == whole
