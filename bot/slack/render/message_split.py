"""Cuts a long answer into messages: at paragraphs where it can be, never through a table or a code
fence where it can be helped.

A fence that has to be cut is closed and opened again, a table gets its header again. `Part` keeps
what was added apart from the text, which is in the bodies, every character of it.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

LINE = re.compile(r"[^\n]*\n|[^\n]+")
FENCE = re.compile(r"[ \t]*(?P<marks>`{3,}|~{3,})(?P<info>[^\n]*)")
RULER = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
AGAIN = 200  # characters of a fence's first line that are repeated at most
JOINED = 16  # marks that belong to one character at most
NEAR = 0.125  # of a part: how early it may end so that a fence or a table stays whole

PARAGRAPH, LINES, ROWS, CODE, HEAD = 4, 3, 2, 1, 0  # where to cut, the best first


@dataclass(frozen=True)
class MessagePart:
    """`opening` and `closing` were added, `body` is the text."""

    opening: str
    body: str
    closing: str

    @property
    def text(self) -> str:
        return self.opening + self.body + self.closing


@dataclass(frozen=True)
class _Cut:
    """A place after a line: how good it is, and what has to be closed and opened again there."""

    at: int
    rank: int
    fence: str = ""  # the line that opened it
    header: str = ""  # both lines of it


def split(text: str, limit: int) -> list[MessagePart]:
    """Parts of at most `limit` characters each; their bodies together are `text`."""
    parts: list[MessagePart] = []
    cuts = list(_cuts(text))
    start, first, opening = 0, 0, ""
    while len(text) - start + len(opening) > limit:
        room = limit - len(opening)
        while cuts[first].at <= start:
            first += 1
        cut = _best(text, cuts, first, start, room)
        body = text[start : cut.at]
        parts.append(MessagePart(opening, body, _closing(cut, body)))
        start, opening = cut.at, _opening(cut, limit)
    parts.append(MessagePart(opening, text[start:], ""))
    return parts


def reopened(text: str, limit: int) -> str:
    """What has to stand in front of what follows `text` in another message: the line that opens
    the fence, or the header of the table, in which it broke off; '' elsewhere."""
    last = next(iter(deque(_cuts(text), maxlen=1)), None)
    if last is None or not (last.fence or text.endswith("\n")):
        return ""
    return _opening(last, limit)


def _best(text: str, cuts: list[_Cut], first: int, start: int, room: int) -> _Cut:
    """The best cut within `room` characters after `start`."""
    near, half = start + room * NEAR, start + room / 2
    whole: _Cut | None = None  # in front of what would be cut otherwise
    late: _Cut | None = None
    index = first
    while index < len(cuts) and (cut := cuts[index]).at + len(_marks(cut)) + 1 <= start + room:
        if cut.rank >= LINES and cut.at > near:
            whole = cut
        if cut.at > half and (late is None or cut.rank >= late.rank):
            late = cut
        index += 1
    if late is not None and late.rank >= LINES:
        return late
    if found := whole or late:
        return found
    inside = cuts[index] if index < len(cuts) else cuts[-1]
    return _through(text, inside, start, room)


def _through(text: str, line: _Cut, start: int, room: int) -> _Cut:
    """A cut through a line that is longer than a part, or nearly: after a space where it can be,
    never between a character and the marks on it."""
    end = start + room - len(_marks(line)) - 1
    space = text.rfind(" ", start + room // 2, end)
    at = space + 1 if space > 0 else end
    while at > max(start + 1, end - JOINED) and _belongs(text, at):
        at -= 1
    return _Cut(at, CODE, fence=line.fence)


def _belongs(text: str, at: int) -> bool:
    """Whether the character there belongs to the one before it."""
    one, before = text[at], text[at - 1]
    return bool(unicodedata.combining(one)) or "\u200d" in (one, before) or one in "\ufe0e\ufe0f"


def _cuts(text: str) -> Iterator[_Cut]:
    """The place after each line. A line inside a fence or a table says so."""
    fence = header = ""
    position = 0
    lines = LINE.findall(text)
    for line, following in pairwise([*lines, ""]):
        position += len(line)
        opened = fence
        fence = _after(line, fence)
        if fence or opened:
            header = ""
            yield _Cut(position, CODE if fence else LINES, fence=fence)
        elif not line.strip():
            header = ""
            yield _Cut(position, PARAGRAPH)
        elif header and "|" in line:
            yield _Cut(position, ROWS, header=header)
        elif "|" in line and "|" in following and RULER.fullmatch(following.rstrip("\n")):
            header = line + following
            yield _Cut(position, HEAD)
        else:
            header = ""
            yield _Cut(position, LINES)


def _after(line: str, fence: str) -> str:
    """The line that opened the fence in which one is after `line`, or ''."""
    found = FENCE.fullmatch(line.rstrip("\n"))
    if found is None:
        return fence
    marks, info = found["marks"], found["info"]
    if not fence:
        return "" if marks[0] == "`" and "`" in info else line.rstrip("\n")
    opened = FENCE.match(fence)
    closes = opened and marks.startswith(opened["marks"]) and not info.strip()
    return "" if closes else fence


def _marks(cut: _Cut) -> str:
    found = FENCE.match(cut.fence)
    return found["marks"] if found else ""


def _closing(cut: _Cut, body: str) -> str:
    if not cut.fence:
        return ""
    return _marks(cut) if body.endswith("\n") else f"\n{_marks(cut)}"


def _opening(cut: _Cut, limit: int) -> str:
    if cut.fence:
        short = len(cut.fence) <= min(AGAIN, limit // 4)
        return f"{cut.fence if short else _marks(cut)}\n"
    return cut.header if len(cut.header) <= limit // 4 else ""
