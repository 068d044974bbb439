"""Splits a long answer into messages, preferably between paragraphs, and inside a table or a code
fence only as a last resort.

A code fence that has to be split is closed and reopened, and a table gets its header again.
`MessagePart` keeps these additions separate: the bodies together are exactly the text.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

LINE = re.compile(r"[^\n]*\n|[^\n]+")
FENCE = re.compile(r"[ \t]*(?P<marker>`{3,}|~{3,})(?P<info>[^\n]*)")
RULER = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
MAX_FENCE_LINE = 200  # characters; of a longer opening line, only the marker is repeated
MAX_COMBINING = 16  # combining characters that may follow one character
MIN_FILL = 0.125  # a part must be fuller than this before it ends early to keep a block whole

PARAGRAPH, LINES, ROWS, CODE, HEAD = 4, 3, 2, 1, 0  # where to cut, best first


@dataclass(frozen=True)
class MessagePart:
    """A part of the text (`body`), with what was added before and after it."""

    opening: str
    body: str
    closing: str

    @property
    def text(self) -> str:
        return self.opening + self.body + self.closing


@dataclass(frozen=True)
class _Cut:
    """A possible cut after a line: its rank, and the fence or table header to reopen there."""

    at: int
    rank: int
    fence: str = ""  # the line that opened the fence
    header: str = ""  # both header lines of the table


def split(text: str, limit: int) -> list[MessagePart]:
    """Parts of at most `limit` characters each. Their bodies together are `text`."""
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
    """What a message that continues `text` must begin with: the opening line of the fence or the
    header of the table in which `text` ends, otherwise ''."""
    last = next(iter(deque(_cuts(text), maxlen=1)), None)
    if last is None or not (last.fence or text.endswith("\n")):
        return ""
    return _opening(last, limit)


def _best(text: str, cuts: list[_Cut], first: int, start: int, room: int) -> _Cut:
    """The best cut within `room` characters after `start`."""
    minimum, half = start + room * MIN_FILL, start + room / 2
    whole: _Cut | None = None  # the last cut before a block that would be split otherwise
    late: _Cut | None = None  # the best cut in the second half of the room
    index = first
    while index < len(cuts) and (cut := cuts[index]).at + len(_marker(cut)) + 1 <= start + room:
        if cut.rank >= LINES and cut.at > minimum:
            whole = cut
        if cut.at > half and (late is None or cut.rank >= late.rank):
            late = cut
        index += 1
    if late is not None and late.rank >= LINES:
        return late
    if found := whole or late:
        return found
    inside = cuts[index] if index < len(cuts) else cuts[-1]
    return _inside_line(text, inside, start, room)


def _inside_line(text: str, line: _Cut, start: int, room: int) -> _Cut:
    """A cut inside a line that is about as long as a part or longer: after a space if possible,
    and never between a character and its combining characters."""
    end = start + room - len(_marker(line)) - 1
    space = text.rfind(" ", start + room // 2, end)
    at = space + 1 if space > 0 else end
    while at > max(start + 1, end - MAX_COMBINING) and _combines(text, at):
        at -= 1
    return _Cut(at, CODE, fence=line.fence)


def _combines(text: str, at: int) -> bool:
    """Whether the character at `at` combines with the one before it."""
    one, before = text[at], text[at - 1]
    return bool(unicodedata.combining(one)) or "\u200d" in (one, before) or one in "\ufe0e\ufe0f"


def _cuts(text: str) -> Iterator[_Cut]:
    """The cut after each line, with the fence or table that the line is in."""
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
    """The opening line of the fence that is open after `line`, or ''."""
    found = FENCE.fullmatch(line.rstrip("\n"))
    if found is None:
        return fence
    marker, info = found["marker"], found["info"]
    if not fence:
        return "" if marker[0] == "`" and "`" in info else line.rstrip("\n")
    opened = FENCE.match(fence)
    closes = opened and marker.startswith(opened["marker"]) and not info.strip()
    return "" if closes else fence


def _marker(cut: _Cut) -> str:
    found = FENCE.match(cut.fence)
    return found["marker"] if found else ""


def _closing(cut: _Cut, body: str) -> str:
    if not cut.fence:
        return ""
    return _marker(cut) if body.endswith("\n") else f"\n{_marker(cut)}"


def _opening(cut: _Cut, limit: int) -> str:
    if cut.fence:
        short = len(cut.fence) <= min(MAX_FENCE_LINE, limit // 4)
        return f"{cut.fence if short else _marker(cut)}\n"
    return cut.header if len(cut.header) <= limit // 4 else ""
