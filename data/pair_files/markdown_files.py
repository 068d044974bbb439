"""FAQ documents in Markdown (https://spec.commonmark.org/0.31.2/), and text with `Q:` and `A:`.

Questions are headings, lines in bold that end with a question mark, `<summary>` elements, or lines
marked `Q:`, `**Q:**`, `Frage:`. The answer stays Markdown as it was written.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from data.pair_files import notion
from data.pair_files.faq_blocks import LARGEST, Block, Kind, Marks, asks, faq_rows
from data.pair_files.html_text import html_text
from data.pair_files.reading import Lines, PairFormat, Reading
from data.pair_files.verdicts import NumberedRow
from data.store.errors import Invalid

HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")
UNDERLINE = re.compile(r"^ {0,3}(=+|-{2,})[ \t]*$")
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
BOLD = re.compile(r"^(?:\d+[.)][ \t]+)?(\*\*|__)(.+?)\1[ \t]*$")
LONGEST = 2_000  # characters of a heading
BOLD_LEVEL = 7  # below all headings
SUMMARY = re.compile(r"<summary[^>]*>(.*?)</summary>", re.IGNORECASE)
DETAILS = re.compile(r"</?details[^>]*>", re.IGNORECASE)
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
ANCHOR = re.compile(r"[ \t]*\{#[^}]*\}[ \t]*$|<a\s[^>]*>|</a>", re.IGNORECASE)
EMPHASIS = re.compile(r"(?<!\w)(\*\*|__|\*|_|`)(\S(?:.*?\S)?)\1(?!\w)")
NUMBER = re.compile(r"^(?:\d+\.)+\d*[ \t]+|^\d+\)[ \t]+")
FRONT_MATTER = re.compile(r"\A---[ \t]*\n.*?^(?:---|\.\.\.)[ \t]*$\n?", re.DOTALL | re.MULTILINE)


@dataclass
class _Kept:
    """Lines that are no block yet."""

    begins: int
    kind: Kind = "text"
    lines: list[str] = field(default_factory=list)

    def blocks(self) -> Iterator[Block]:
        whole = "\n".join(self.lines).strip("\n")
        if whole.strip() or self.kind != "text":
            yield Block(self.kind, whole, self.begins)


def has_questions(start: bytes) -> bool:
    """Whether a text that begins with these bytes has questions in headings, in bold or marked."""
    text = start.decode("utf-8", "replace").replace("\r\n", "\n")
    return bool(Marks(text)) or any(
        block.kind == "question" or (block.kind == "heading" and asks(block.text))
        for block in markdown_blocks(text)
    )


def has_topics(start: bytes) -> bool:
    """Whether a text that begins with these bytes has headings with text below them."""
    text = start.decode("utf-8", "replace").replace("\r\n", "\n")
    blocks = list(markdown_blocks(text))
    bare = FRONT_MATTER.sub("", text).lstrip("\n")  # a comment of a script has no blank line below
    return re.match(r"#{1,6}[ \t]+\S[^\n]*\n[ \t]*\n", bare) is not None and len(blocks) > 1


def read_markdown(lines: Lines, reading: Reading) -> Iterator[NumberedRow]:
    """Raises Invalid if the document is too large or has no questions."""
    text = whole_text(lines, reading)
    if reading.row_columns:
        text, reading.row_marks = notion.page_of_a_row(text, reading.row_columns)
    if text.strip():
        yield from faq_rows(list(markdown_blocks(text)), reading)


def whole_text(lines: Lines, reading: Reading) -> str:
    """The text of a document. Raises Invalid if it is too large."""
    lines.file.seek(0)
    raw = lines.file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise Invalid(f"{reading.path} is larger than {LARGEST // 1024**2} MiB. Split it.")
    lines.read = len(raw)
    return raw.decode("utf-8-sig", "replace").replace("\r\n", "\n")


def markdown_blocks(text: str) -> Iterator[Block]:
    """The blocks of a Markdown document, in order."""
    marks = Marks(text)
    kept = _Kept(1)
    fence = ""
    front = FRONT_MATTER.match(text)
    skipped = front[0].count("\n") if front else 0
    lines = text.split("\n")
    for number, line in enumerate(lines[skipped:], skipped + 1):
        if fence or FENCE.match(line):
            found = FENCE.match(line)
            if not fence and found:
                fence = found[1]
            elif found and found[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
            kept.lines.append(line)
            continue
        if mark := marks.of(line):
            yield from kept.blocks()
            kept = _Kept(number, mark[0], [mark[1]])
            continue
        if kept.kind == "question" and not line.strip():  # its paragraph ends
            yield from kept.blocks()
            kept = _Kept(number)
            continue
        block = _heading(line, number, marks)
        if block is None and UNDERLINE.match(line) and not marks:
            block = _underlined(kept.lines, line, number)
        if block is None and (ends := DETAILS.fullmatch(line.strip())) is not None:
            yield from kept.blocks()
            kept = _Kept(number + 1)
            if ends[0].startswith("</"):
                yield Block("end", line=number)
            continue
        if block is None:
            kept.lines.append(line)
            continue
        yield from kept.blocks()
        kept = _Kept(number + 1)
        yield block
    yield from kept.blocks()


def plain_heading(text: str) -> str:
    """A heading without the marks of Markdown."""
    bare = ANCHOR.sub("", LINK.sub(r"\1", text)).strip()
    bare = NUMBER.sub("", bare)
    return EMPHASIS.sub(r"\2", EMPHASIS.sub(r"\2", bare)).strip()


def _heading(line: str, number: int, marks: Marks) -> Block | None:
    if len(line) > LONGEST:
        return None
    if found := HEADING.match(line):
        text = plain_heading(found[2])
        if mark := marks.of(text):
            return Block(mark[0], mark[1], number, len(found[1]))
        return Block("heading", text, number, len(found[1]), source=line.strip()) if text else None
    if found := SUMMARY.search(line):
        return Block("question", plain_heading(html_text(found[1])), number)
    if (found := BOLD.match(line.strip())) and asks(found[2]) and not marks:
        return Block("heading", plain_heading(found[2]), number, BOLD_LEVEL, source=line)
    return None


def _underlined(kept: list[str], line: str, number: int) -> Block | None:
    """A heading that is underlined; its text is the last paragraph that was kept."""
    if not kept or not kept[-1].strip() or kept[-1].lstrip().startswith((">", "-", "*", "|")):
        return None
    if len(kept) > 1 and kept[-2].strip():
        return None  # a paragraph of several lines, more probably followed by a rule
    text = plain_heading(kept.pop())
    return Block("heading", text, number - 1, 1 if "=" in line else 2)


MARKDOWN = PairFormat(starts=has_questions, read=read_markdown)
