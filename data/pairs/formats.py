"""The file formats of pairs, one entry each in `FORMATS`.

`understudy pairs import` and `export`, detection and the tests read the table. A format of one JSON
object per line is an entry of `JSON_SHAPES` in `rows.py`; any other format is an entry here.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from data.pairs.pairs import Draft
from data.pairs.rows import (
    JSON_SHAPES,
    PROMPT_NAMES,
    RESPONSE_NAMES,
    JsonShape,
    RowError,
    draft_of_cells,
    draft_of_json,
    fields_of,
)
from data.store.errors import Invalid
from data.visible_text import visible

COLUMNS = ("prompt", "response", "system", "turns", "fact", "split")
DELIMITERS = (",", ";", "\t")
FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
BOM = b"\xef\xbb\xbf"
MAX_LINE = 4 * 1024 * 1024  # bytes; far longer than a pair, but it bounds files without line ends


@dataclass(frozen=True)
class BadRow:
    """A row that was skipped: its first physical line, and the reason."""

    line: int
    reason: str


NumberedRow = tuple[int, Draft | BadRow]  # with its first physical line


class Lines:
    """The lines of a file, one at a time, counted. A line that is too long raises RowError.

    This is an iterator, not a generator, because it must continue after an exception."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.number = 0  # of the last returned line, from 1
        self.read = 0  # bytes

    def peek(self, count: int) -> bytes:
        """The first bytes of the file; only before the first line is taken."""
        start = self._file.read(count)
        self._file.seek(0)
        return start

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> bytes:
        line = self._file.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.read += len(line)
        self.number += 1
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            while (rest := self._file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                self.read += len(rest)
            self.read += len(rest)
            raise RowError(f"the line is longer than {MAX_LINE // 1024**2} MiB")
        return line.removeprefix(BOM) if self.number == 1 else line


@dataclass(frozen=True)
class PairFormat:
    """How files of a format are recognised, read row by row, and written."""

    starts: Callable[[str], bool]  # whether a file with this first line has the format
    read: Callable[[Lines, Path], Iterator[NumberedRow]]  # raises Invalid for the file as a whole
    write: Callable[[IO[str], Iterable[Draft]], int]  # returns the number of pairs
    suffixes: tuple[str, ...] = ()  # of the files that are written in it when none is named


def json_lines(shape: JsonShape | None) -> PairFormat:
    """One JSON object a line. None: each row is read by the shape that it has."""
    written = shape or JSON_SHAPES["jsonl"]

    def write(file: IO[str], drafts: Iterable[Draft]) -> int:
        count = 0
        for draft in drafts:
            file.write(orjson.dumps(written.write(draft)).decode() + "\n")
            count += 1
        return count

    return PairFormat(
        starts=lambda line: not line or line.startswith("{"),
        read=lambda lines, path: _json_rows(lines, shape),
        write=write,
    )


def _json_rows(lines: Lines, shape: JsonShape | None) -> Iterator[NumberedRow]:
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return
        except RowError as error:
            yield lines.number, BadRow(lines.number, str(error))
            continue
        if line.isspace():
            continue
        try:
            yield lines.number, draft_of_json(line, shape)
        except RowError as error:
            yield lines.number, BadRow(lines.number, str(error))


def _csv_rows(lines: Lines, path: Path) -> Iterator[NumberedRow]:
    first = next((line for line in lines if not line.isspace()), b"")
    if not first:
        return
    header = _header(first.decode("utf-8", "replace"))
    if header is None:
        raise Invalid(
            f"{path} has no usable header: its first line must name the columns, among them "
            f"one of {', '.join(PROMPT_NAMES)} and one of {', '.join(RESPONSE_NAMES)}."
        )
    columns, delimiter = header
    rows = csv.reader(map(_lenient, lines), delimiter=delimiter, strict=True)
    while True:
        begins = lines.number + 1
        try:
            cells = next(rows)
            if cells:
                yield begins, _draft_of_row(columns, cells)
        except StopIteration:
            return
        except csv.Error as error:
            yield begins, BadRow(begins, _csv_reason(error, lines.number - begins))
        except RowError as error:
            yield begins, BadRow(begins, str(error))


def _write_csv(file: IO[str], drafts: Iterable[Draft]) -> int:
    rows = csv.writer(file)
    rows.writerow(COLUMNS)
    count = 0
    for draft in drafts:
        fields = fields_of(draft)
        if "turns" in fields:
            fields["turns"] = orjson.dumps(fields["turns"]).decode()
        rows.writerow([_guarded(visible(fields.get(name, ""))) for name in COLUMNS])
        count += 1
    return count


def _header(line: str) -> tuple[list[str], str] | None:
    """Column names and delimiter of a CSV header, or None if it names no prompt and response."""
    for delimiter in DELIMITERS:
        try:
            names = next(csv.reader([line], delimiter=delimiter, strict=True), [])
        except csv.Error:
            continue
        columns = [name.strip().lower() for name in names]
        if set(columns) & set(PROMPT_NAMES) and set(columns) & set(RESPONSE_NAMES):
            return columns, delimiter
    return None


def _draft_of_row(columns: list[str], cells: list[str]) -> Draft:
    if len(cells) != len(columns):
        raise RowError(f"fields in this row: {len(cells)}, in the header: {len(columns)}")
    try:
        "".join(cells).encode("utf-8")
    except UnicodeEncodeError as error:
        byte = ord(error.object[error.start]) - 0xDC00  # as `_lenient` encoded it
        raise RowError(f"not valid UTF-8: byte 0x{byte:02x}") from None
    return draft_of_cells(dict(zip(columns, map(_unguarded, cells), strict=True)))


def _guarded(cell: str) -> str:
    """A cell that a spreadsheet takes for text: with a quote in front of what would be a formula
    (https://owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{cell}" if FORMULA.match(cell) else cell


def _unguarded(cell: str) -> str:
    """The cell as it was before `_guarded`, so that an export can be imported again."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _lenient(line: bytes) -> str:
    """The text of a line. Invalid UTF-8 stays recognisable, so that only its row fails."""
    return line.decode("utf-8", "surrogateescape")


def _csv_reason(error: csv.Error, further_lines: int) -> str:
    text = str(error)
    if "field larger" in text or "unexpected end" in text:
        return f"a quote that opens here is not closed within {further_lines + 1:,} lines"
    return f"not CSV: {text}"


AUTO = "auto"  # in place of a name in `FORMATS`: the format that the file has
MIXED_JSON = json_lines(None)
FORMATS: dict[str, PairFormat] = {
    **{name: json_lines(shape) for name, shape in JSON_SHAPES.items()},
    "csv": PairFormat(
        starts=lambda line: _header(line) is not None,
        read=_csv_rows,
        write=_write_csv,
        suffixes=(".csv",),
    ),
}


def detect(line: str) -> PairFormat | None:
    """The format of a file with this first line, or None. Rows of JSON may differ in shape."""
    if MIXED_JSON.starts(line):
        return MIXED_JSON
    return next((found for found in FORMATS.values() if found.starts(line)), None)


def by_name(path: Path) -> PairFormat:
    """The format in which a file of this name is written; JSON Lines for any other name."""
    suffix = path.suffix.lower()
    named = (found for found in FORMATS.values() if suffix in found.suffixes)
    return next(named, FORMATS["jsonl"])
