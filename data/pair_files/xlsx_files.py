"""Excel workbooks (.xlsx, ECMA-376): each visible sheet is a table with a header.

python-calamine reads the cells. It keeps the whole rectangle of a sheet in memory and does not say
how a number is shown, so the sheets are looked through first: for their size, and for the number
format of each cell. Numbers are then written as the sheet shows them (`9`, `15%`, `12.50 €`), dates
as ISO 8601 (`2026-03-01`). A cell that is merged downwards counts for all of its rows.
"""

import datetime
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any

from data.pair_files.archives import chunks, holds, open_zip
from data.pair_files.columns import ColumnMap
from data.pair_files.csv_files import TITLE_ROWS, distinct, meant, misspelt, read_cells
from data.pair_files.reading import Lines, PairFormat, Reading, no_text
from data.pair_files.verdicts import NumberedRow
from data.pair_files.xml_events import read_xml
from data.store.errors import Invalid

WORKBOOK = "xl/workbook.xml"
TEXTS = "xl/sharedStrings.xml"
MOST_UNPACKED = 512 * 1024**2  # bytes of a workbook's parts, which are read into memory
MOST_CELLS = 5_000_000  # of a sheet's rectangle, empty ones included
NUMBER = re.compile(r"[0-9]{1,7}")
REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
BUILT_IN = {  # numFmtId -> format code, ECMA-376 part 1, 18.8.30
    1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%",
    37: "#,##0", 38: "#,##0", 39: "#,##0.00", 40: "#,##0.00",
}  # fmt: skip
LITERAL = re.compile(r'"([^"]*)"|\[\$([^\]-]*)[^\]]*\]|\\(.)|_.|\*.|\[[^\]]*\]')
DIGITS = re.compile(r"[#0?][#0?,]*(?:\.([0#?]+))?")
Cell = tuple[int, int]  # row and column, from 0


@dataclass
class _Sheet:
    """What a look through a sheet finds, of cells with a value."""

    formats: dict[Cell, str] = field(default_factory=dict)  # of cells with a format of their own
    rows: int = 0
    columns: int = 0


def is_workbook(file: IO[bytes]) -> bool:
    """Whether a file is an .xlsx workbook."""
    return holds(file, WORKBOOK)


def read_workbook(lines: Lines, reading: Reading) -> Iterator[NumberedRow]:
    """The rows of every visible sheet that has a header; `member` is the sheet's name, `line` the
    number of the row. Raises Invalid if the file is no workbook, is too large, or has no such
    sheet."""
    file = lines.file
    if not lines.peek(1):
        return
    if not is_workbook(file):
        raise Invalid(f"{reading.path} is no .xlsx workbook.")
    from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    sheets = _look_through(file, reading)
    try:
        workbook = CalamineWorkbook.from_filelike(file)
        _refuse_large(workbook, sheets, reading)
        left_out = []
        similar = named = ""
        for about, seen in zip(workbook.sheets_metadata, sheets, strict=False):
            if about.typ != SheetTypeEnum.WorkSheet:
                continue
            if about.visible != SheetVisibleEnum.Visible:
                left_out.append(f"{about.name} (hidden)")
                continue
            sheet = workbook.get_sheet_by_name(about.name)
            table = list(_as_shown(sheet, seen))
            header = _find_header(table, reading.columns)
            if header is None:
                left_out.append(about.name)
                similar = similar or _similar_columns(table, about.name, reading.columns)
                named = named or _columns_of(table, about.name)
                continue
            yield from _rows(table, header, about.name, reading)
    except CalamineError as error:
        raise Invalid(f"{reading.path} cannot be read as a workbook: {error}") from None
    if left_out and len(left_out) == len(workbook.sheet_names):
        raise Invalid(
            f"{reading.path} has no sheet with a usable header: one row must name both a question "
            f"and an answer. Its sheets are {', '.join(left_out)}. {similar or named}"
        )
    if left_out:
        reading.notes.append(
            f"Sheets of {reading.path.name} that were left out, because they are hidden or no row "
            f"names a question and an answer: {', '.join(left_out)}. {similar}".strip()
        )


def _refuse_large(workbook: Any, sheets: Sequence[_Sheet], reading: Reading) -> None:
    """Raises Invalid if a visible sheet does not fit into memory, before a row of any is given."""
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    for about, seen in zip(workbook.sheets_metadata, sheets, strict=False):
        shown = about.visible == SheetVisibleEnum.Visible
        if shown and about.typ == SheetTypeEnum.WorkSheet and seen.rows * seen.columns > MOST_CELLS:
            raise Invalid(
                f"{reading.path} has a cell in row {seen.rows:,} and one in column "
                f"{seen.columns:,} of the sheet {about.name}, which is too large. Delete the "
                "cells outside the table, or save it as CSV."
            )


def _rows(
    table: Sequence[list[str]], header: int, sheet: str, reading: Reading
) -> Iterator[NumberedRow]:
    names = [cell.strip() for cell in table[header]]
    width = max((n for n, row in enumerate(zip(*table[header:], strict=True), 1) if any(row)))
    columns = distinct(names[:width], reading)
    if any(any(row) for row in table[:header]):
        reading.notes.append(
            f"Row {header + 1} of the sheet {sheet} names the columns; the rows before it are "
            "left out."
        )
    for number, cells in enumerate(islice(table, header + 1, None), header + 2):
        if any(cells):
            for row in read_cells(cells[:width], columns, number, reading.columns):
                yield row._replace(member=sheet)


def _find_header(table: Sequence[list[str]], columns: ColumnMap) -> int | None:
    """The number of the row that names the columns, from 0."""
    for number, row in enumerate(table[:TITLE_ROWS]):
        names = tuple(dict.fromkeys(name for cell in row if (name := cell.strip())))
        if len(names) > 1 and columns.of(names).pairs_up():
            return number
    return None


def _similar_columns(table: Sequence[list[str]], sheet: str, columns: ColumnMap) -> str:
    """The question whether misspelt columns of a sheet are meant, or ''."""
    found = next((found for row in _titles(table) if (found := misspelt(row, columns))), None)
    return f"The sheet {sheet} has columns with similar names. {meant(found)}" if found else ""


def _columns_of(table: Sequence[list[str]], sheet: str) -> str:
    """The columns of a sheet by its first row with several, and how to name them; or ''."""
    names = next((row for row in _titles(table) if len(row) > 1), [])
    if not names:
        return ""
    return (
        f"The sheet {sheet} has the columns {', '.join(names[:8])}. "
        f"`--map question={names[0]},answer={names[1]}` says which they are."
    )


def _titles(table: Sequence[list[str]]) -> Iterator[list[str]]:
    """The first rows of a sheet, without empty cells."""
    return ([cell.strip() for cell in row if cell.strip()] for row in table[:TITLE_ROWS])


def _as_shown(sheet: Any, seen: _Sheet) -> Iterator[list[str]]:
    """The rows of a sheet from its first row on, all of one width."""
    down: dict[Cell, Cell] = {}  # covered cell -> the cell that holds its value
    for (top, left), (bottom, _) in sheet.merged_cell_ranges or ():
        if len(down) > MOST_CELLS:
            raise Invalid(f"The sheet {sheet.name} has too many merged cells. Save it as CSV.")
        down |= {(row, left): (top, left) for row in range(top + 1, min(bottom + 1, seen.rows))}
    held: dict[Cell, str] = {}
    holders = set(down.values())
    for number, row in enumerate(sheet.to_python(skip_empty_area=False)):
        cells = [_text(value, seen.formats.get((number, at), "")) for at, value in enumerate(row)]
        for at in range(len(cells)):
            if (number, at) in holders:
                held[number, at] = cells[at]
            elif (number, at) in down and not cells[at]:
                cells[at] = held.get(down[number, at], "")
        yield cells


def _text(value: Any, code: str) -> str:
    """A cell as it is shown."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return _number(value, code)
    if isinstance(value, datetime.datetime):
        at_midnight = value.time() == datetime.time()
        return value.date().isoformat() if at_midnight else value.isoformat(" ", "minutes")
    if isinstance(value, datetime.time):
        return value.isoformat("minutes")
    if isinstance(value, datetime.timedelta):
        minutes = round(value.total_seconds() / 60)
        return f"{minutes // 60}:{minutes % 60:02}"
    return str(value)


def _number(value: float, code: str) -> str:
    """A number in a format such as `0.00%`, or `#,##0.00 "€"`; `1.5` without one."""
    if code:
        positive = code.split(";")[0]
        literal = LITERAL.sub(lambda m: (m[1] or m[2] or m[3] or "").replace("%", "\0"), positive)
        found = DIGITS.search(literal)
        if found and "E" not in literal and "/" not in literal:
            shown = value * 100 if "%" in literal else value
            places = len(found[1] or "")
            grouped = f"{shown:,.{places}f}" if "," in found[0] else f"{shown:.{places}f}"
            before, after = literal[: found.start()], literal[found.end() :]
            return f"{before}{grouped}{after}".replace("\0", "%").strip()
    whole = float(value)
    return str(int(whole)) if whole.is_integer() and abs(whole) < 1e15 else f"{whole:.15g}"


def _look_through(file: IO[bytes], reading: Reading) -> list[_Sheet]:
    """Each sheet's size and number formats, in the order of the workbook. Raises Invalid."""
    path = reading.path
    with open_zip(file, path) as archive:
        if sum(info.file_size for info in archive.infolist()) > MOST_UNPACKED:
            raise Invalid(f"{path} is too large for a workbook. Save its sheets as CSV.")
        names = set(archive.namelist())
        if TEXTS in names:  # calamine skips what it cannot parse
            for _ in read_xml(chunks(archive, TEXTS, path), path, only_starts=True):
                pass
        styles = _styles(archive, path) if "xl/styles.xml" in names else []
        places = {
            event.attributes.get("Id", ""): event.attributes.get("Target", "")
            for event in read_xml(chunks(archive, "xl/_rels/workbook.xml.rels", path), path)
            if event.kind == "start" and event.name == "Relationship"
        } if "xl/_rels/workbook.xml.rels" in names else {}  # fmt: skip
        found = []
        for event in read_xml(chunks(archive, WORKBOOK, path), path):
            if event.kind == "start" and event.name == "sheet":
                target = places.get(event.attributes.get("id", ""), "")
                part = target.removeprefix("/") if target[:1] == "/" else f"xl/{target}"
                found.append(_seen(archive, part, styles, path) if part in names else _Sheet())
    file.seek(0)
    return found


def _styles(archive: zipfile.ZipFile, path: Any) -> list[str]:
    """The number format of each cell style, '' for General and for dates."""
    custom: dict[str, str] = {}
    found: list[str] = []
    inside = False
    for event in read_xml(chunks(archive, "xl/styles.xml", path), path):
        if event.name == "cellXfs":
            inside = event.kind == "start"
        if event.kind != "start":
            continue
        if event.name == "numFmt":
            custom[event.attributes.get("numFmtId", "")] = event.attributes.get("formatCode", "")
        elif event.name == "xf" and inside:
            number = event.attributes.get("numFmtId", "0")
            builtin = BUILT_IN.get(int(number), "") if NUMBER.fullmatch(number) else ""
            found.append(custom.get(number, builtin))
    return found


def _seen(archive: zipfile.ZipFile, part: str, styles: Sequence[str], path: Any) -> _Sheet:
    """A look through a sheet. Cells without a value do not count: whole columns may have a format.
    It ends where the sheet is too large."""
    found = _Sheet()
    row = column = 0
    code = ""
    for event in read_xml(chunks(archive, part, path), path, only_starts=True):
        given = event.attributes.get("r", "")
        if event.name == "row":
            row = int(given) if NUMBER.fullmatch(given) else row + 1
            column = 0
        elif event.name == "c":
            at = REFERENCE.fullmatch(given)
            column = _column(at[1]) if at else column + 1
            row = int(at[2]) if at else row
            code = _format(event.attributes, styles)
        elif event.name in ("v", "is"):
            found.rows, found.columns = max(found.rows, row), max(found.columns, column)
            if code:
                found.formats[row - 1, column - 1] = code
            if found.rows * found.columns > MOST_CELLS:
                break
    return found


def _format(attributes: Mapping[str, str], styles: Sequence[str]) -> str:
    style = attributes.get("s", "")
    if attributes.get("t", "n") != "n" or not NUMBER.fullmatch(style):
        return ""
    return styles[int(style)] if int(style) < len(styles) else ""


def _column(letters: str) -> int:
    """The number of a column, from 1: A is 1, AA is 27."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


XLSX = PairFormat(starts=no_text, read=read_workbook, packed=is_workbook)
