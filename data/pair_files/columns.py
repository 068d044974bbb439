"""Which part of a pair each column of a file is, and which columns are not used.

A column is a key of a JSON object, or a column of a table. What a column means depends on its name
alone (`column_names.py`), or on what the person said (`--map question=Frage`). Nothing is dropped
in silence: `ColumnMap` counts the columns that have a value and are not used.
"""

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from data.pair_files.column_names import (
    FIELD_OF,
    NAMES,
    PERHAPS_FIELD_OF,
    field_named,
    plain,
    suggestion,
)
from data.pair_files.verdicts import RowError
from data.store.errors import Invalid

IGNORE = "ignore"  # in place of a field: the column is left out
VERDICTS = ("accept", "reject", "ignore")  # what Prodigy writes under `answer`
LISTS = ("turns", "messages", "conversations", "history", "chosen", "rejected")  # JSON in a table
MOST_LAYOUTS = 10_000  # sets of keys that are remembered

MOST_STATUSES = 20  # unknown words that are counted one by one


@dataclass(frozen=True)
class UnusedColumn:
    """A column that has values and is not used."""

    name: str
    rows: int  # with a value
    suggestion: str  # the known name that it may be a misspelling of, or ''


@dataclass(frozen=True)
class Columns:
    """The columns of a row."""

    of: Mapping[str, tuple[str, ...]]  # field -> the columns that hold it
    unused: tuple[str, ...]

    def pairs_up(self) -> bool:
        """Whether rows with these columns can be pairs."""
        have = self.of
        return (
            bool(have.keys() & {"messages", "conversations"})
            or bool(have.keys() & {"chosen", "rejected"})
            or ("prompt" in have and "response" in have)
        )


class ColumnMap:
    """What the columns of a file mean."""

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        """`given`: column -> field or `IGNORE`, as the person said."""
        self._given = dict(given or {})
        self._known: dict[tuple[str, ...], Columns] = {}
        self.unused: Counter[str] = Counter()
        self.statuses: Counter[tuple[str, str]] = Counter()  # column and unknown word, with rows
        self.scales: Counter[str] = Counter()  # columns of ratings on an unknown scale, with rows
        self.sources: Counter[str] = Counter()  # records of other tools, by what they are called
        self.source_notes: dict[str, None] = {}  # sentences about them, each once
        self.used: dict[str, tuple[str, ...]] = {}

    @property
    def given(self) -> Mapping[str, str]:
        """Column -> field or `IGNORE`, as the person said."""
        return self._given

    def also(self, more: Mapping[str, str]) -> "ColumnMap":
        """The same with further meanings of columns. Both count together."""
        found = copy.copy(self)
        found._given = self._given | dict(more)
        found._known = {}
        return found

    def of(self, names: tuple[str, ...]) -> Columns:
        found = self._known.get(names)
        if found is None:
            found = self._columns(names)
            if len(self._known) < MOST_LAYOUTS:
                self._known[names] = found
        return found

    def _columns(self, names: Iterable[str]) -> Columns:
        by_field: dict[str, list[str]] = {}
        perhaps: dict[str, list[str]] = {}
        unused: list[str] = []
        mapped = {field for field in self._given.values() if field != IGNORE}
        for name in names:
            given = self._given.get(name) or self._given.get(name.strip())
            if given == IGNORE:
                continue
            word = plain(name)
            if given:
                by_field.setdefault(given, []).append(name)
            elif (known := FIELD_OF.get(word)) and known not in mapped:
                by_field.setdefault(known, []).append(name)
                if known == "input":
                    perhaps.setdefault("prompt", []).append(name)
            elif (known := PERHAPS_FIELD_OF.get(word)) and known not in mapped:
                perhaps.setdefault(known, []).append(name)
            elif name:
                unused.append(name)
        for part, columns in perhaps.items():
            if part not in by_field and not (by_field.keys() & {"messages", "conversations"}):
                by_field[part] = columns[:1]
                if columns[0] in by_field.get("input", []):
                    del by_field["input"]
                columns = columns[1:]
            unused += [name for name in columns if name not in by_field.get("input", [])]
        return Columns({part: tuple(some) for part, some in by_field.items()}, tuple(unused))

    def note_status(self, column: str, word: str) -> None:
        """Count a row whose status is not understood, by its word."""
        known = (column, word) in self.statuses or len(self.statuses) < MOST_STATUSES
        self.statuses[column, word if known else "…"] += 1

    def notes(self) -> list[str]:
        """Sentences about sources and columns that change what becomes of their rows."""
        read = [f"Read as {name}: {count:,}." for name, count in self.sources.items()]
        return (
            [*read, *self.source_notes]
            + [
                f"The column {name} has ratings on an unknown scale, so its rows wait for review "
                f"({rows:,}). `--map ignore={name}` leaves the column out."
                for name, rows in self.scales.items()
            ]
            + [
                f"{name} is {word!r} in {rows:,} row{'' if rows == 1 else 's'}, which is no "
                f"known status: they wait for review. `--map ignore={name}` leaves the column out."
                for (name, word), rows in self.statuses.most_common()
            ]
        )

    def report(self) -> tuple[UnusedColumn, ...]:
        """The columns that were not used, the most frequent first."""
        return tuple(
            UnusedColumn(name, rows, suggestion(name)) for name, rows in self.unused.most_common()
        )


@dataclass
class Fields:
    """The fields of one row."""

    found: Mapping[str, Any]
    columns: Columns
    map: ColumnMap
    taken: set[str] = field(default_factory=set)  # fields that were read

    def value(self, name: str) -> Any:
        """The value of a field; None if the row has none. Raises RowError if two columns of the row
        state it differently."""
        self.taken.add(name)
        columns = self.columns.of.get(name)
        if columns is None:
            return None
        if len(columns) == 1:
            return self.found.get(columns[0])
        given = [(column, self.found.get(column)) for column in columns]
        given = [(column, value) for column, value in given if not is_empty(value)]
        if name == "response" and len(given) > 1:
            given = [(c, v) for c, v in given if not is_verdict(c, v)]
        if any(value != given[0][1] for _, value in given[1:]):
            names = " and ".join(column for column, _ in given)
            raise RowError(
                f"{names} each hold a {name}; say which one counts: --map {name}={given[0][0]}"
            )
        return given[0][1] if given else None

    def given(self, name: str) -> Any:
        """The value of a field, None if it is empty."""
        value = self.value(name)
        return None if is_empty(value) else value

    def column(self, name: str) -> str:
        """The column of a field, for messages."""
        return next(iter(self.columns.of.get(name, (name,))))

    def text(self, name: str) -> str:
        """The text of a field, '' if there is none. Raises RowError for anything but text."""
        value = self.value(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise RowError(f"{self.column(name)} is {kind_of(value)}, not text")
        return value

    def verdict(self) -> str:
        """Prodigy's verdict about the row: one of `VERDICTS`, or ''."""
        columns = self.columns.of.get("response", ())
        for column in columns if len(columns) > 1 else ():
            value = self.found.get(column)
            if is_verdict(column, value):
                return str(value)
        return ""

    def count_unused(self, *, whole: bool) -> None:
        """Count the columns that have a value and were not read. `whole`: the row was read to its
        end. Of any other row, only columns without a meaning are counted."""
        for column in self.columns.unused:
            if not is_empty(self.found.get(column)):
                self.map.unused[column] += 1
        for name, columns in self.columns.of.items():
            if name not in self.taken:
                for column in columns if whole else ():
                    if not is_empty(self.found.get(column)):
                        self.map.unused[column] += 1
            elif name not in self.map.used:
                self.map.used[name] = columns


def is_verdict(column: str, value: Any) -> bool:
    return plain(column) == "answer" and isinstance(value, str) and value in VERDICTS


def is_empty(value: Any) -> bool:
    """Whether a column says nothing."""
    if isinstance(value, str):
        return not value or value.isspace()
    return value is None or (isinstance(value, list | dict) and not value)


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"


def with_lists(cells: Mapping[str, str], columns: Columns) -> dict[str, Any]:
    """The cells of a table row; those that hold a list are read as JSON. Raises RowError."""
    found: dict[str, Any] = dict(cells)
    for name in LISTS:
        for column in columns.of.get(name, ()):
            text = cells[column].strip()
            if not text and name == "turns":
                found[column] = []
            elif text[:1] in ("[", "{") or (text and name == "turns"):
                try:
                    found[column] = orjson.loads(text)
                except orjson.JSONDecodeError as error:
                    if name in ("chosen", "rejected"):
                        continue  # a text that begins with a bracket
                    raise RowError(f"the column {column} is not JSON: {error}") from None
    return found


def parse(given: Iterable[str]) -> dict[str, str]:
    """`question=Frage,answer=Antwort,ignore=Status` as column -> field. A column may be called
    `Frage, kurz`. Raises Invalid."""
    found: dict[str, str] = {}
    for part in (part for text in given for part in _parts(text)):
        left, equals, column = part.partition("=")
        if not equals or not column.strip():
            raise Invalid(f"“{part}” is no mapping; write --map question=COLUMN,answer=COLUMN.")
        field_name = field_named(left, (IGNORE,))
        if field_name is None:
            raise Invalid(
                f"“{left.strip()}” is no part of a pair; it can be {', '.join((*NAMES, IGNORE))}."
            )
        if field_name in found.values() and field_name != IGNORE:
            raise Invalid(f"--map names two columns for {field_name}.")
        found[column.strip()] = field_name
    return found


def _parts(text: str) -> list[str]:
    """The mappings in a text. What names no part of a pair after a comma belongs to the name of the
    column before it."""
    found: list[str] = []
    for part in text.split(","):
        if found and "=" not in part and part.strip():
            found[-1] += f",{part}"
        elif part.strip():
            found.append(part)
    return found
