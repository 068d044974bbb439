"""Format Markdown tables, code and headings."""

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table without the columns that are empty in every row; '' if there are no rows."""
    cells = [[cell(text) for text in row] for row in rows]
    kept = [i for i in range(len(head)) if any(row[i] for row in cells)]
    lines = [[head[i] for i in kept], ["---" for _ in kept]]
    lines += [[row[i] for i in kept] for row in cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) if cells else ""


def cell(text: str) -> str:
    """Text on one line, with the characters escaped that would end the cell."""
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def code(text: str) -> str:
    return f"`{text}`"


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def paragraphs(text: str) -> str:
    """A docstring's paragraphs, each on one line, because Markdown ignores single line breaks."""
    parts = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(re.sub(r"\s+", " ", part).strip() for part in parts)


def summary(text: str) -> str:
    """The first sentence of a docstring."""
    return re.split(r"(?<=[.?!])\s", paragraphs(text), maxsplit=1)[0]


def sentence(text: str) -> str:
    """The text with a full stop at the end."""
    text = text.strip()
    return text if not text or text[-1] in ".:!?" else f"{text}."
