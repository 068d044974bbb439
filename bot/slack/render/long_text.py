"""Splits a long text over several form inputs, because Slack accepts 3,000 characters in each.

A text is split where a paragraph, a line or a word ends. The white space between two pieces is not
shown, and is put back when the pieces are joined.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_INPUT = 3_000  # characters that an input accepts
PIECE_LENGTH = 2_500  # of a longer text; this leaves room to add something
BREAKS = (r"\n\s*\n\s*", r"\s*\n\s*", r"\s+")  # where to split, best first


@dataclass(frozen=True)
class Piece:
    text: str
    gap: str  # the white space after it


def cut(text: str) -> list[Piece]:
    """The text as one or more pieces. The pieces with their gaps are the stripped text."""
    rest = text.strip()
    if len(rest) <= MAX_INPUT:
        return [Piece(rest, "")]
    pieces = []
    while len(rest) > PIECE_LENGTH:
        end, next_start = _first_break(rest)
        pieces.append(Piece(rest[:end], rest[end:next_start]))
        rest = rest[next_start:]
    return [*pieces, Piece(rest, "")]


def joined(before: Sequence[Piece], texts: Sequence[str]) -> str:
    """The whole text from the edited pieces. A piece that was emptied is dropped."""
    whole, gap = "", ""
    for piece, text in zip(before, texts, strict=True):
        if text:
            whole += (gap if whole else "") + text
        gap = piece.gap
    return whole


def _first_break(text: str) -> tuple[int, int]:
    """Where the first piece ends and the next one starts. Without a break in the second half of
    the piece, it is split at `PIECE_LENGTH`."""
    for pattern in BREAKS:
        found = [m.start() for m in re.finditer(pattern, text[: PIECE_LENGTH + 1])]
        if found and found[-1] > PIECE_LENGTH // 2:
            return _white_space_around(text, found[-1])
    return _white_space_around(text, PIECE_LENGTH)


def _white_space_around(text: str, at: int) -> tuple[int, int]:
    """Start and end of the white space at `at`; both are `at` if there is none."""
    return len(text[:at].rstrip()), len(text) - len(text[at:].lstrip())
