"""JSON: one object a line, one array, or objects that span several lines.

Arrays and objects of several lines are read piece by piece with ijson, so a file of any size needs
the memory of one row. A list of rows may also stand under a key such as `data` or `articles`.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import IO, Any

import ijson
import orjson
from ijson.common import ObjectBuilder

from data.pair_files.columns import ColumnMap
from data.pair_files.openai_batch import is_batch
from data.pair_files.reading import Lines, PairFormat, Reading
from data.pair_files.row_marks import SPLIT_NAMES
from data.pair_files.rows import not_an_object, read_row
from data.pair_files.verdicts import BadRow, NumberedRow, RowError
from data.pairs.pairs import SPLITS, Draft

# keys under which a file has its list of rows
LISTS_OF_ROWS = frozenset({
    "data", "rows", "items", "pairs", "examples", "records", "results", "entries", "questions",
    "faqs", "faq", "articles", "macros", "tickets", "list", "documents", "samples", "dataset",
    "train", "validation", "test", "dev", "golden", "qa", "qas",
})  # fmt: skip

MAX_DEPTH = 500  # levels of lists and objects in one row
MOST_PARTS = 1_000_000  # keys and values in a value, which is held in memory


def json_lines(only: str | None, write: Callable[[Draft], dict[str, Any]]) -> PairFormat:
    """One JSON object a line. `only`: the one shape of rows that is accepted."""

    def write_all(file: IO[str], drafts: Iterable[Draft]) -> int:
        count = 0
        for draft in drafts:
            file.write(orjson.dumps(write(draft)).decode() + "\n")
            count += 1
        return count

    return PairFormat(
        starts=are_lines,
        read=lambda lines, reading: _line_rows(lines, reading, only),
        write=write_all,
    )


def are_lines(start: bytes) -> bool:
    """Whether a file that begins with these bytes has one JSON object a line."""
    line, end, after = start.lstrip().partition(b"\n")
    line = line.rstrip()
    if not line:
        return True
    if not line.startswith(b"{"):
        return False
    if not end and len(start) >= LONG - 1:  # the line goes on
        found = FIRST_LIST.search(line)
        return found is None or found[1].decode().casefold() not in LISTS_OF_ROWS
    if not line.endswith(b"}"):
        return False
    return bool(after.strip()) or not _holds_rows(line)


LONG = 64 * 1024  # bytes of a beginning
FIRST_LIST = re.compile(rb'"(\w+)"\s*:\s*\[\s*\{')


def is_document(start: bytes) -> bool:
    """Whether a file that begins with these bytes is a JSON array, or objects of several lines."""
    text = start.lstrip()
    return text[:1] == b"[" or text[:1] == b"{"


def _holds_rows(line: bytes) -> bool:
    """Whether the line is an object with a list of rows."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return any(_is_list_of_rows(key, value) for key, value in found.items())


def _is_list_of_rows(key: str, value: Any) -> bool:
    return (
        key.casefold() in LISTS_OF_ROWS
        and isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
    )


def _line_rows(lines: Lines, reading: Reading, only: str | None) -> Iterator[NumberedRow]:
    while True:
        try:
            lines.mark()
            line = next(lines)
        except StopIteration:
            return
        except RowError as error:
            yield _bad(lines.number, str(error))
            continue
        if line.isspace():
            continue
        number = lines.number
        try:
            found = orjson.loads(line)
            _refuse_repeated(line, reading.columns)
        except orjson.JSONDecodeError as error:
            yield _bad(number, _not_json(line, error))
        except RowError as error:
            yield _bad(number, str(error))
        else:
            yield from _object_rows(found, number, reading, only)


def _object_rows(
    found: Any, number: int, reading: Reading, only: str | None = None
) -> Iterator[NumberedRow]:
    columns = reading.columns
    if isinstance(found, dict) and is_batch(found):
        try:
            row = reading.batch.row(found, number, reading.member)
        except RowError as error:
            yield _bad(number, str(error))
        except (AttributeError, KeyError, TypeError) as error:
            reason = f"it resembles a line of an OpenAI batch, but is built differently ({error!r})"
            yield _bad(number, reason)
        else:
            yield from read_row(row, number, columns) if row else ()
    elif isinstance(found, dict):
        yield from read_row(found, number, columns, only)
    elif isinstance(found, list) and len(found) == 2 and all(isinstance(t, str) for t in found):
        yield from read_row({"prompt": found[0], "response": found[1]}, number, columns, only)
    else:
        yield _bad(number, not_an_object(found))


def read_document(lines: Lines, reading: Reading) -> Iterator[NumberedRow]:
    """The rows of an array or of objects that span several lines, numbered from 1."""
    file = lines.file
    first = lines.peek(LONG).lstrip()[:1]
    if not first:
        return
    rows = _elements(file) if first == b"[" else _values(file)
    number = 0
    while True:
        try:
            found = next(rows)
        except StopIteration:
            break
        except (ijson.JSONError, UnicodeDecodeError, RecursionError) as error:
            said = str(error).split("\n")[0].strip().replace("lexical error: ", "")
            yield _bad(number + 1, f"not JSON from here on: {said}")
            return
        number += 1
        lines.read = file.tell()
        yield from _object_rows(found, number, reading)


def _elements(file: IO[bytes]) -> Iterator[Any]:
    """The values in an array. `ijson.items` does the same, but its memory grows with the square of
    the depth: some hundred kilobytes of brackets take all that there is."""
    events = ijson.basic_parse(file, use_float=True)
    next(events)  # the start of the array
    for event, value in events:
        if event == "end_array":
            break
        yield _built(event, value, events)
    for _ in events:  # raises for what follows the array
        pass


def _values(file: IO[bytes]) -> Iterator[Any]:
    """The objects of a file, or those of the lists of rows in them."""
    events = ijson.basic_parse(file, use_float=True, multiple_values=True)
    for event, value in events:
        if event != "start_map":
            yield _built(event, value, events)
            continue
        about: dict[str, Any] = {}
        held = False
        for event, key in events:
            if event == "end_map":
                break
            event, value = next(events)
            if event == "start_array" and key.casefold() in LISTS_OF_ROWS:
                first = next(events, None)
                if first is not None and first[0] == "start_map":
                    held = True
                    yield from _rows_of(key, first, events)
                    continue
                about[key] = _built(event, value, chain([first] if first else [], events))
                continue
            about[key] = _built(event, value, events)
        if not held:
            yield about


def _rows_of(key: str, event: tuple[str, Any], events: Iterator[tuple[str, Any]]) -> Iterator[Any]:
    """The objects of a list; the name of the list may be that of a split."""
    split = SPLIT_NAMES.get(key.casefold(), key.casefold())
    while event[0] != "end_array":
        found = _built(*event, events)
        if isinstance(found, dict) and split in SPLITS:
            found.setdefault("split", split)
        yield found
        event = next(events)


def _built(event: str, value: Any, events: Iterator[tuple[str, Any]]) -> Any:
    """The value that begins with this event. Raises ijson.JSONError for one that is too deep or too
    large."""
    if event not in ("start_map", "start_array"):
        return value
    builder = ObjectBuilder()
    builder.event(event, value)
    depth = count = 1
    while depth:
        event, value = next(events)
        builder.event(event, value)
        depth += {"start_map": 1, "start_array": 1, "end_map": -1, "end_array": -1}.get(event, 0)
        if depth > MAX_DEPTH:
            raise ijson.JSONError(f"a value has more than {MAX_DEPTH} levels")
        count += 1
        if count > MOST_PARTS:
            raise ijson.JSONError(f"a value has more than {MOST_PARTS:,} keys and values")
    return builder.value


def _refuse_repeated(line: bytes, columns: ColumnMap) -> None:
    """Raises RowError for an object with two values of one key that matters."""
    for names in columns.used.values():
        for name in names:
            key = b'"' + name.encode("utf-8", "replace") + b'"'
            if line.count(key) > 1 and name in _repeated(line):
                raise RowError(f"the key {name} occurs twice")


def _repeated(line: bytes) -> set[str]:
    """The keys that occur twice in the outermost object."""
    last: list[tuple[str, Any]] = []

    def keep(found: list[tuple[str, Any]]) -> Mapping[str, Any]:
        last[:] = found  # the outermost object ends last
        return dict(found)

    json.loads(line, object_pairs_hook=keep)
    names = [name for name, _ in last]
    return {name for name in names if names.count(name) > 1}


def _bad(line: int, reason: str) -> NumberedRow:
    return NumberedRow(line, BadRow(line, reason))


def _not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as broken:
        return f"not valid UTF-8: byte 0x{line[broken.start]:02x} at column {broken.start + 1}"
    return f"not JSON: {error.msg} (column {error.colno})"
