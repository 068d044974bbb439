"""Imports and exports pairs: JSON Lines, OpenAI chat messages and CSV.

Reading holds one row at a time, so memory use does not depend on the file's size. A row that cannot
be a pair is reported with its line and the reason, and reading continues. An import writes in
transactions of `TOGETHER` rows. An interrupted import can simply be run again, because pairs are
recognised by their fingerprint. `read` returns what `write` wrote, unchanged.
"""

import csv
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import orjson

from data.domains import Domain
from data.pairs import pairs
from data.pairs.golden import Guard, Leak
from data.pairs.pairs import Draft, Pair, Status
from data.pairs.rows import (
    PROMPT_NAMES,
    RESPONSE_NAMES,
    RowError,
    Shape,
    draft_of_cells,
    draft_of_json,
)
from data.store.db import Store
from data.store.errors import Invalid, NotFound

Format = Literal["auto", "jsonl", "chat", "csv"]
FORMATS: tuple[Format, ...] = ("auto", "jsonl", "chat", "csv")
SHAPES: dict[Format, Shape] = {"auto": "any", "jsonl": "pair", "chat": "chat"}
COLUMNS = ("prompt", "response", "system", "turns", "fact", "split")
DELIMITERS = (",", ";", "\t")
BOM = b"\xef\xbb\xbf"
MAX_LINE = 4 * 1024 * 1024  # bytes; far longer than a pair, but it bounds files without line ends
TOGETHER = 1_000  # rows in one transaction, so that others can write in between
SHOWN_BAD = 100  # bad rows that a report lists; all are counted


@dataclass(frozen=True)
class BadRow:
    """A row that was skipped: its first physical line, and the reason."""

    line: int
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """The result of an import."""

    added: int
    duplicates: int  # already in the domain, or repeated in the file
    bad: tuple[BadRow, ...]  # the first `SHOWN_BAD` bad rows
    bad_total: int

    @property
    def rows(self) -> int:
        return self.added + self.duplicates + self.bad_total


def read(path: Path, format: Format = "auto") -> Iterator[Draft | BadRow]:
    """The file's rows in order, as drafts or, where a row cannot be a pair, as bad rows.

    Raises NotFound, or Invalid if the file as a whole cannot be read: another encoding, no usable
    CSV header, one JSON array instead of lines."""
    with _open(path) as file:
        for _, found in _numbered(_Lines(file), path, format):
            yield found


def import_file(
    store: Store,
    domain: Domain,
    path: Path,
    *,
    format: Format = "auto",
    author: str = "",
    status: Status = "approved",
    golden: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Add a file's pairs to the domain; with `golden`, all of them as golden questions. `progress`
    receives the number of bytes read. A row whose question would be both trained on and evaluated
    is skipped like an unreadable one.

    Raises what `read` raises, and StoreFull or StoreBusy. Committed rows stay; running the import
    again adds the rest."""
    added = duplicates = bad_total = 0
    bad: list[BadRow] = []
    with _open(path) as file:
        lines = _Lines(file)
        numbered = _numbered(lines, path, format)
        guard = Guard(store.db, domain)
        while batch := list(itertools.islice(numbered, TOGETHER)):
            with store.write() as db:
                wrong = []
                for line, found in batch:
                    if isinstance(found, BadRow):
                        wrong.append(found)
                        continue
                    draft = replace(found, split="golden") if golden else found
                    try:
                        guard.refuse(draft)
                    except Leak as leak:
                        wrong.append(BadRow(line, str(leak)))
                        continue
                    result = pairs.add(
                        db,
                        domain,
                        [draft],
                        source="import",
                        source_ref=f"{path.name}:{line}",
                        author=author,
                        status=status,
                    )
                    for pair_id in result.ids:
                        guard.note(pair_id, draft)
                    added += len(result.ids)
                    duplicates += result.duplicates
            bad_total += len(wrong)
            bad += wrong[: SHOWN_BAD - len(bad)]
            if progress is not None:
                progress(lines.read)
    return ImportReport(added, duplicates, tuple(bad), bad_total)


def write(found: Iterable[Pair | Draft], path: Path, format: Format = "auto") -> int:
    """Write pairs to `path`, whole or not at all; returns how many. `auto` goes by the name:
    `.csv` is CSV, anything else JSON Lines."""
    if format == "auto":
        format = "csv" if path.suffix.lower() == ".csv" else "jsonl"
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            count = _write_csv(file, found) if format == "csv" else _write_json(file, found, format)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise Invalid(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return count


class _Lines:
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

    def __iter__(self) -> "_Lines":
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


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror or error}") from error


def _numbered(lines: _Lines, path: Path, format: Format) -> Iterator[tuple[int, Draft | BadRow]]:
    """Each row with the number of its first line. Checks the beginning of the file first."""
    start = _beginning(lines, path)
    if format == "auto":
        format = _detect(start, path)
    if format == "csv":
        return _csv_rows(lines, path)
    return _json_rows(lines, SHAPES.get(format, "any"))


def _beginning(lines: _Lines, path: Path) -> bytes:
    """The first bytes of the file, without consuming them. Raises Invalid if they cannot be
    text."""
    start = lines.peek(64 * 1024)
    if b"\x00" in start:
        utf16 = start.startswith((b"\xff\xfe", b"\xfe\xff"))
        what = "is UTF-16 text" if utf16 else "is not a text file"
        raise Invalid(f"{path} {what}. Save it as UTF-8 and import it again.")
    start = start.removeprefix(BOM).lstrip()
    if start.startswith(b"["):
        raise Invalid(
            f"{path} is one JSON array; one JSON object a line is expected. "
            f"`jq -c '.[]' {path.name} > {path.stem}.jsonl` converts it."
        )
    return start


def _detect(start: bytes, path: Path) -> Format:
    if not start or start.startswith(b"{"):
        return "auto"  # JSON Lines; each row says whether it holds messages
    if _header(start.partition(b"\n")[0].decode("utf-8", "replace")) is not None:
        return "csv"
    raise Invalid(
        f"{path} is neither JSON Lines nor CSV: its first line is not a JSON object and has no "
        "columns prompt and response."
    )


def _json_rows(lines: _Lines, shape: Shape) -> Iterator[tuple[int, Draft | BadRow]]:
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


def _csv_rows(lines: _Lines, path: Path) -> Iterator[tuple[int, Draft | BadRow]]:
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
    return draft_of_cells(dict(zip(columns, cells, strict=True)))


def _lenient(line: bytes) -> str:
    """The text of a line. Invalid UTF-8 stays recognisable, so that only its row fails."""
    return line.decode("utf-8", "surrogateescape")


def _csv_reason(error: csv.Error, further_lines: int) -> str:
    text = str(error)
    if "field larger" in text or "unexpected end" in text:
        return f"a quote that opens here is not closed within {further_lines + 1:,} lines"
    return f"not CSV: {text}"


def _write_json(file: IO[str], found: Iterable[Pair | Draft], format: Format) -> int:
    count = 0
    for pair in found:
        draft = _draft(pair)
        content = _messages(draft) if format == "chat" else _fields(draft)
        file.write(orjson.dumps(content).decode() + "\n")
        count += 1
    return count


def _write_csv(file: IO[str], found: Iterable[Pair | Draft]) -> int:
    rows = csv.writer(file)
    rows.writerow(COLUMNS)
    count = 0
    for pair in found:
        fields = _fields(_draft(pair))
        if "turns" in fields:
            fields["turns"] = orjson.dumps(fields["turns"]).decode()
        rows.writerow([fields.get(name, "") for name in COLUMNS])
        count += 1
    return count


def _draft(pair: Pair | Draft) -> Draft:
    """What of a pair goes into a file. A group that its response implies is left out."""
    if isinstance(pair, Draft):
        return pair
    fact = "" if pair.fact == pairs.fact_of(pair.response) else pair.fact
    return Draft(pair.prompt, pair.response, pair.system, pair.turns, fact, pair.split)


def _fields(draft: Draft) -> dict[str, Any]:
    turns = [{"role": turn.role, "content": turn.content} for turn in draft.turns]
    fields = {"prompt": draft.prompt, "response": draft.response, "system": draft.system}
    return _present(fields | {"turns": turns} | _marks(draft))


def _messages(draft: Draft) -> dict[str, Any]:
    messages = [{"role": "system", "content": draft.system}] if draft.system else []
    messages += [{"role": turn.role, "content": turn.content} for turn in draft.turns]
    messages.append({"role": "user", "content": draft.prompt})
    messages.append({"role": "assistant", "content": draft.response})
    return _present({"messages": messages} | _marks(draft))


def _marks(draft: Draft) -> dict[str, str]:
    return {"fact": draft.fact, "split": "" if draft.split == "auto" else draft.split}


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
