"""FAQ documents of Word (.docx, ECMA-376 part 1, chapter 17): headings, `Q:` and `A:`, and tables.

Only the text is read: no macros, no embedded objects, no linked files. Tracked deletions are left
out, insertions are taken. A table whose first row names a question and an answer is read like any
other table.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from data.pair_files.archives import chunks, holds, open_zip
from data.pair_files.csv_files import distinct, read_cells
from data.pair_files.faq_blocks import LARGEST, Block, Marks, asks, faq_rows
from data.pair_files.markdown_files import BOLD_LEVEL, NUMBER
from data.pair_files.reading import Lines, PairFormat, Reading, Unrecognised, no_text
from data.pair_files.verdicts import NumberedRow
from data.pair_files.xml_events import XmlEvent, read_xml
from data.store.errors import Invalid

LEVELS = tuple("012345678")  # of headings and of items of lists (ECMA-376 part 1, 17.9.3)
DOCUMENT = "word/document.xml"
STYLES, LISTS, LINKS = "word/styles.xml", "word/numbering.xml", "word/_rels/document.xml.rels"
SKIPPED = frozenset({"drawing", "pict", "object", "AlternateContent", "txbxContent", "delText"})
HEADINGS = {f"heading {n}": n for n in range(1, 10)} | {"title": 1, "subtitle": 2}

ITEM = re.compile(r"\s*(?:- |\d+\. )")  # of a list


@dataclass
class _Paragraph:
    text: list[str] = field(default_factory=list)
    style: str = ""
    outline: int = 0  # level of a heading without a style of its own
    numbering: tuple[str, str] | None = None  # of a list item: its list and level
    bold: bool = True  # all of its text
    link: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _About:
    """What the other parts of the document say."""

    levels: Mapping[str, int]  # style -> level of a heading
    lists: Mapping[str, tuple[str, str]]  # style -> the list and level of its paragraphs
    numbered: frozenset[tuple[str, str]]  # lists and levels that have numbers
    addresses: Mapping[str, str]  # of links


def is_word(file: IO[bytes]) -> bool:
    """Whether a file is a .docx document."""
    return holds(file, DOCUMENT)


def read_word(lines: Lines, reading: Reading) -> Iterator[NumberedRow]:
    """The pairs of the document; `line` is the number of the paragraph or, in a table, of the row.
    Raises Invalid if it is no Word document, is too large, or has no questions."""
    if not lines.peek(1):
        return
    if not is_word(lines.file):
        raise Invalid(f"{reading.path} is no .docx document.")
    with open_zip(lines.file, reading.path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        read = (DOCUMENT, STYLES, LISTS, LINKS)
        if sum(sizes.get(name, 0) for name in read) > LARGEST * 4:
            raise Invalid(f"{reading.path} is too large. Split it.")
        about = _about(archive, sizes, reading)
        found = list(_paragraphs(archive, about, reading))
    tables = [each for each in found if isinstance(each, list)]
    some = False
    for table in tables:
        columns = [cell.strip() for cell in table[0]]
        if reading.columns.of(tuple(filter(None, columns))).pairs_up():
            some = True
            columns = distinct(columns, reading)
            for number, cells in enumerate(table[1:], 2):
                padded = (cells + [""] * len(columns))[: max(len(columns), len(cells))]
                yield from read_cells(padded, columns, number, reading.columns)
            found = [each for each in found if each is not table]
    try:
        yield from faq_rows(_blocks(found), reading)
    except Unrecognised:
        if not some:
            raise


def _blocks(found: Sequence[Block | list[list[str]]]) -> list[Block]:
    """The blocks of the document; lines that are marked `Q:` or `A:` are blocks of their own."""
    marks = Marks("\n".join(block.text for block in found if isinstance(block, Block)))
    blocks: list[Block] = []
    for each in found:
        if isinstance(each, list):
            blocks.append(Block("text", "\n".join(" | ".join(row) for row in each)))
            continue
        lines = each.text.split("\n") if each.kind == "text" else [each.text]
        for line in lines:
            mark = marks.of(line)
            if mark:
                blocks.append(Block(mark[0], mark[1], each.line, each.level))
            elif each.level == BOLD_LEVEL and marks:
                blocks.append(Block("text", line, each.line))
            elif line.strip():
                blocks.append(Block(each.kind, line, each.line, each.level))
    return list(_joined(blocks))


def _joined(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks; items of a list that follow each other are one block."""
    items: list[Block] = []
    for block in blocks:
        if block.kind == "text" and ITEM.match(block.text):
            items.append(block)
            continue
        if items:
            yield _list(items)
            items = []
        yield block
    if items:
        yield _list(items)


def _list(items: Sequence[Block]) -> Block:
    return Block("text", "\n".join(item.text for item in items), items[0].line)


def _paragraphs(
    archive: zipfile.ZipFile, about: _About, reading: Reading
) -> Iterator[Block | list[list[str]]]:
    """Paragraphs, and tables as rows of cells."""
    paragraph: _Paragraph | None = None
    table: list[list[list[str]]] | None = None  # rows of cells of paragraphs
    depth = skipped = number = 0
    bold = False
    counters: dict[tuple[str, str], int] = {}
    element = ""
    for event in read_xml(chunks(archive, DOCUMENT, reading.path), reading.path):
        kind, name = event.kind, event.name
        if kind == "text":
            if element == "t" and paragraph is not None and not skipped:
                paragraph.text.append(name)
                paragraph.bold &= bold or not name.strip()
            continue
        element = name if kind == "start" else ""
        if name in SKIPPED:
            skipped += 1 if kind == "start" else -1
        if skipped:
            continue
        if name == "tbl":
            depth += 1 if kind == "start" else -1
            if kind == "start" and depth == 1:
                table = []
            elif kind == "end" and depth == 0 and table is not None:
                if table:
                    yield [["\n".join(cell).strip("\n") for cell in row] for row in table]
                table = None
        elif table is not None and depth == 1 and kind == "start" and name in ("tr", "tc"):
            if name == "tr":
                table.append([])
            elif table:
                table[-1].append([])
        elif name == "p":
            if kind == "start":
                paragraph, number = _Paragraph(), number + 1
            elif paragraph is not None:
                block = _block(paragraph, number, about, counters)
                paragraph = None
                if table is not None and table and table[-1]:
                    table[-1][-1].append(block.text)
                elif table is None:
                    yield block
        elif paragraph is not None:
            if name == "r":
                bold = False
            elif name == "b" and kind == "start":
                bold = event.attributes.get("val", "1") not in ("0", "false")
            else:
                _note(paragraph, event, about)


def _note(paragraph: _Paragraph, event: XmlEvent, about: _About) -> None:
    """What an element says about its paragraph."""
    name, value = event.name, event.attributes.get("val", "")
    if name == "hyperlink":
        if event.kind == "start":
            paragraph.link.append(about.addresses.get(event.attributes.get("id", ""), ""))
        elif paragraph.link:
            address = paragraph.link.pop().removeprefix("mailto:")
            if address and not "".join(paragraph.text).endswith(address.rstrip("/")):
                paragraph.text.append(f" ({address})")
        return
    if event.kind != "start":
        return
    if name == "pStyle":
        paragraph.style = value
    elif name == "outlineLvl" and value in LEVELS:
        paragraph.outline = int(value) + 1
    elif name == "numId":
        paragraph.numbering = (value, (paragraph.numbering or ("", "0"))[1])
    elif name == "ilvl":
        paragraph.numbering = ("", value)
    elif name == "tab":
        paragraph.text.append("\t" if paragraph.text else "")
    elif name in ("br", "cr"):
        paragraph.text.append("\n")
    elif name == "noBreakHyphen":
        paragraph.text.append("-")


def _block(
    paragraph: _Paragraph, number: int, about: _About, counters: dict[tuple[str, str], int]
) -> Block:
    text = "".join(paragraph.text).strip()
    level = about.levels.get(paragraph.style, 0) or paragraph.outline
    if text and level:
        return Block("heading", NUMBER.sub("", " ".join(text.split())), number, level)
    if text and paragraph.bold and "\n" not in text and asks(text):
        return Block("heading", NUMBER.sub("", text), number, BOLD_LEVEL)
    place = paragraph.numbering or about.lists.get(paragraph.style)
    if text and place and place[0] not in ("", "0"):
        indent = "  " * (int(place[1]) if place[1] in LEVELS else 0)
        if place in about.numbered:
            counters[place] = counters.get(place, 0) + 1
            text = f"{indent}{counters[place]}. {text}"
        else:
            text = f"{indent}- {text}"
    return Block("text", text, number)


def _about(archive: zipfile.ZipFile, names: Mapping[str, int], reading: Reading) -> _About:
    def events(part: str) -> Iterator[XmlEvent]:
        if part in names:
            yield from read_xml(chunks(archive, part, reading.path), reading.path, only_starts=True)

    levels: dict[str, int] = {}
    lists: dict[str, tuple[str, str]] = {}
    style = ""
    for event in events(STYLES):
        value = event.attributes.get("val", "")
        if event.name == "style":
            style = event.attributes.get("styleId", "")
        elif event.name == "name" and value.casefold() in HEADINGS:
            levels[style] = HEADINGS[value.casefold()]
        elif event.name == "basedOn" and value in levels:
            levels.setdefault(style, levels[value])
        elif event.name == "outlineLvl" and value in LEVELS:
            levels.setdefault(style, int(value) + 1)
        elif event.name in ("numId", "ilvl"):
            number, level = lists.get(style, ("", "0"))
            lists[style] = (value, level) if event.name == "numId" else (number, value)
    kinds: dict[tuple[str, str], str] = {}  # abstract list and level -> format
    numbered: set[tuple[str, str]] = set()
    abstract = number = level = ""
    for event in events(LISTS):
        value = event.attributes.get("val", "")
        if event.name == "abstractNum":
            abstract = event.attributes.get("abstractNumId", "")
        elif event.name == "lvl":
            level = event.attributes.get("ilvl", "")
        elif event.name == "numFmt":
            kinds[abstract, level] = value
        elif event.name == "num":
            number = event.attributes.get("numId", "")
        elif event.name == "abstractNumId":
            numbered |= {
                (number, at)
                for (of, at), kind in kinds.items()
                if of == value and kind not in ("bullet", "none")
            }
    addresses = {
        event.attributes.get("Id", ""): event.attributes.get("Target", "")
        for event in events(LINKS)
        if event.attributes.get("TargetMode") == "External"
    }
    return _About(levels, lists, frozenset(numbered), addresses)


DOCX = PairFormat(starts=no_text, read=read_word, packed=is_word)
