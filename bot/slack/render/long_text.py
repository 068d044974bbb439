"""A long text in several inputs: a form of Slack's takes 3,000 characters in each.

A text is cut where a paragraph, a line or a word ends. What stood between two pieces is not shown,
and stands between them again when they are joined.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 3_000  # characters that an input takes
ROOMY = 2_500  # characters of a piece of a longer text: there is room to write more
ENDS = (r"\n\s*\n\s*", r"\s*\n\s*", r"\s+")  # where to cut, the best first


@dataclass(frozen=True)
class Piece:
    text: str
    gap: str  # what stands behind it


def cut(text: str) -> list[Piece]:
    """At least one piece. Their texts with their gaps are the text, but for white space around
    it."""
    rest = text.strip()
    if len(rest) <= LONGEST:
        return [Piece(rest, "")]
    found = []
    while len(rest) > ROOMY:
        end, begin = _end(rest)
        found.append(Piece(rest[:end], rest[end:begin]))
        rest = rest[begin:]
    return [*found, Piece(rest, "")]


def joined(before: Sequence[Piece], texts: Sequence[str]) -> str:
    """The whole text, from what was written into each piece; an emptied one is gone."""
    whole, gap = "", ""
    for piece, text in zip(before, texts, strict=True):
        if text:
            whole += (gap if whole else "") + text
        gap = piece.gap
    return whole


def _end(text: str) -> tuple[int, int]:
    """Where the first piece ends, and where the next one begins; it is not cut below half, unless
    by white space alone."""
    for pattern in ENDS:
        found = [m.start() for m in re.finditer(pattern, text[: ROOMY + 1])]
        if found and found[-1] > ROOMY // 2:
            return _around(text, found[-1])
    return _around(text, ROOMY)


def _around(text: str, at: int) -> tuple[int, int]:
    """The white space there: where it begins and ends."""
    return len(text[:at].rstrip()), len(text) - len(text[at:].lstrip())
