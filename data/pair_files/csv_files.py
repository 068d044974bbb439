"""CSV: a table with a header, separated by commas, semicolons, tabs or bars.

A quote that is not closed costs its own line only: the lines that it swallowed are read again, one
by one, and the report says which.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO

import orjson

from data.pair_files.column_names import suggestion
from data.pair_files.columns import ColumnMap, with_lists
from data.pair_files.reading import BOM, Lines, PairFormat, Reading
from data.pair_files.rows import PROMPT_NAMES, RESPONSE_NAMES, fields_of, read_row
from data.pair_files.verdicts import BadRow, NumberedRow, RowError
from data.pairs.pairs import Draft
from data.store.errors import Invalid
from data.visible_text import visible

COLUMNS = ("prompt", "response", "system", "turns", "fact", "split", "status")
DELIMITERS = (",", ";", "\t", "|")
FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
SEPARATOR = re.compile(r'^"?sep=(.)"?\s*$', re.IGNORECASE)  # Excel's line before the header
RULE = re.compile(r":?-[-:]*")  # below the header of a Markdown table, without its bars
TITLE_ROWS = 20  # lines before the header that are searched
Header = tuple[list[str], str]  # column names, delimiter


def has_header(start: bytes, columns: ColumnMap, *, first: bool = False) -> bool:
    """Whether one of the first lines, or the `first` of all, names the columns of a table."""
    text = start.removeprefix(BOM).decode("utf-8", "replace").lstrip()
    found = _find_header(text, columns)
    at = 1 + bool(SEPARATOR.match(text.partition("\n")[0]))
    return found is not None and (not first or found[0] == at)


def read_csv(lines: Lines, reading: Reading) -> Iterator[NumberedRow]:
    """Raises Invalid if no line names the columns, or two columns have one name."""
    start = lines.peek(64 * 1024).removeprefix(BOM).decode("utf-8", "replace")
    if not start.strip():
        return
    header = _find_header(start, reading.columns)
    if header is None:
        raise Invalid(f"{reading.path} has no usable header: {_columns_of(start)}")
    number, columns, delimiter = header
    for _ in islice(lines, number):
        pass
    if number > 1 + start.startswith(("sep=", '"sep=')):
        reading.notes.append(f"Line {number} names the columns; the lines before it are left out.")
    columns = distinct(columns, reading)
    yield from _rows(lines, columns, delimiter, reading)


def _rows(
    lines: Lines, columns: list[str], delimiter: str, reading: Reading
) -> Iterator[NumberedRow]:
    while True:
        rows = csv.reader(map(lenient, lines), delimiter=delimiter, strict=True)
        lines.mark()
        begins = lines.number + 1
        try:
            for cells in rows:
                if delimiter == "|":
                    cells = [cell.strip() for cell in cells]
                if cells and not (delimiter == "|" and RULE.fullmatch("".join(cells))):
                    if len(cells) != len(columns) and lines.number > begins:
                        yield _swallowed(lines, begins, len(cells), len(columns))
                        break
                    yield from read_cells(cells, columns, begins, reading.columns)
                lines.mark()
                begins = lines.number + 1
            else:
                return
        except csv.Error as error:
            text = str(error)
            if "field larger" in text or "unexpected end" in text or lines.number > begins:
                yield _swallowed(lines, begins)
            else:
                yield NumberedRow(begins, BadRow(begins, f"not CSV: {text}"))
        except RowError as error:
            yield NumberedRow(begins, BadRow(begins, str(error)))


def _swallowed(lines: Lines, begins: int, fields: int = 0, expected: int = 0) -> NumberedRow:
    """The bad row of a quote that runs over lines; what it swallowed is read again."""
    ends = lines.number
    again = lines.give_back()
    where = f"up to line {ends}" if ends > begins else "in this line"
    reason = f"a quote that opens here is not closed properly {where}"
    if fields:
        reason = (
            f"a quote that opens here runs up to line {ends} and leaves {fields} fields, where the "
            f"header has {expected}"
        )
    if again:
        what = f"line {begins + 1} is" if again == 1 else f"lines {begins + 1} to {ends} are"
        reason += f"; only this line is skipped, {what} read one by one"
    return NumberedRow(begins, BadRow(begins, reason))


def read_cells(
    cells: list[str], columns: list[str], begins: int, known: ColumnMap
) -> Iterator[NumberedRow]:
    try:
        _refuse_unreadable(cells, columns)
        found = dict(zip(columns, map(_unguarded, cells), strict=True))
        row = with_lists(found, known.of(tuple(columns)))
    except RowError as error:
        yield NumberedRow(begins, BadRow(begins, str(error)))
    else:
        yield from read_row(row, begins, known)


def _refuse_unreadable(cells: list[str], columns: list[str]) -> None:
    """Raises RowError for a row with another number of fields, or with bytes that are no text."""
    if len(cells) != len(columns):
        raise RowError(f"fields in this row: {len(cells)}, in the header: {len(columns)}")
    try:
        "".join(cells).encode("utf-8")
    except UnicodeEncodeError as error:
        byte = ord(error.object[error.start]) - 0xDC00  # as `lenient` encoded it
        raise RowError(f"not valid UTF-8: byte 0x{byte:02x}") from None


def _find_header(text: str, columns: ColumnMap) -> tuple[int, list[str], str] | None:
    """Number of the line that names the columns, its columns and its delimiter."""
    given = ""
    for number, line in enumerate(islice(lines_of(text), TITLE_ROWS), 1):
        if number == 1 and (found := SEPARATOR.match(line)):
            given = found[1]
            continue
        if header := _header(line, columns, given):
            return number, *header
    return None


def _header(line: str, columns: ColumnMap, given: str = "") -> Header | None:
    """Column names and delimiter of a line, or None if it does not name the parts of a pair."""
    for delimiter in (given,) if given else DELIMITERS:
        try:
            names = next(csv.reader([line], delimiter=delimiter, strict=True), [])
        except csv.Error:
            continue
        names = [name.strip() for name in names]
        if len(names) > 1 and columns.of(tuple(names)).pairs_up():
            return names, delimiter
    return None


def misspelt_columns(start: str, columns: ColumnMap) -> dict[str, str]:
    """The columns of one of the first lines whose names are close to those of a question and an
    answer, if these would make it a header: column -> known name."""
    lines = islice(lines_of(start), TITLE_ROWS)
    return next((found for line in lines if (found := misspelt(first_names(line), columns))), {})


def misspelt(names: Sequence[str], columns: ColumnMap) -> dict[str, str]:
    """The same of one row."""
    found = {name: known for name in names if (known := suggestion(name))}
    renamed = tuple(found.get(name, name) for name in names if name)
    return found if len(renamed) > 1 and columns.of(renamed).pairs_up() else {}


def meant(found: Mapping[str, str]) -> str:
    """The question whether misspelt columns are meant."""
    return f"Did you mean `--map {','.join(f'{known}={name}' for name, known in found.items())}`?"


def lines_of(text: str) -> Iterator[str]:
    """The lines of a text, which end as those of `Lines` do: a cell may hold a vertical tab or a
    line separator (U+2028), where `str.splitlines` would end it."""
    return (line.removesuffix("\r") for line in text.split("\n"))


def first_names(start: str) -> list[str]:
    """The columns of the first line, if it names some."""
    first = next((line for line in lines_of(start) if line.strip()), "")
    most = max(DELIMITERS, key=first.count)
    try:
        names = next(csv.reader([first], delimiter=most), [])
    except csv.Error:
        return []
    return [name.strip() for name in names]


def _columns_of(start: str) -> str:
    """Which columns the file has, and what to do."""
    names = first_names(start)
    wanted = (
        "one line must name the columns, among them one of "
        f"{', '.join(PROMPT_NAMES)} and one of {', '.join(RESPONSE_NAMES)}"
    )
    if len(names) > 1:
        shown = ", ".join(names[:12])
        return (
            f"{wanted}. Its first line has the columns {shown}; "
            f"--map question={names[0]},answer={names[1]} says which they are."
        )
    return f"{wanted}."


def distinct(columns: list[str], reading: Reading) -> list[str]:
    """The columns with names that differ. Raises Invalid if a part of a pair has two columns of one
    name."""
    found: list[str] = []
    for name in columns:
        if name and name in found:
            if name in {n for part in reading.columns.of(tuple(columns)).of.values() for n in part}:
                raise Invalid(
                    f"{reading.path} has two columns that are called {name}. Rename one of them."
                )
            name = next(n for i in range(2, 10**6) if (n := f"{name} ({i})") not in found)
        elif not name:
            name = f"column {len(found) + 1}"
        found.append(name)
    return found


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


def _guarded(cell: str) -> str:
    """A cell that a spreadsheet takes for text: with a quote in front of what would be a formula
    (https://owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{cell}" if FORMULA.match(cell) else cell


def _unguarded(cell: str) -> str:
    """The cell as it was before `_guarded`, so that an export can be imported again."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def lenient(line: bytes) -> str:
    """The text of a line. Invalid UTF-8 stays recognisable, so that only its row fails."""
    return line.decode("utf-8", "surrogateescape")


CSV = PairFormat(
    starts=lambda start: has_header(start, ColumnMap()),
    read=read_csv,
    write=_write_csv,
    suffixes=(".csv",),
)
