"""Opens a file, recognises its format by its content, and gives its rows.

A gzip file is read as what it holds, and a zip archive as all of its files, one after the other; an
archive may hold one more (as Notion's exports do). What no format recognises is left out and named
in the report.
"""

import contextlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from data.pair_files import archives, folders, notion, slack_export, unread_formats
from data.pair_files.csv_files import first_names, meant, misspelt_columns
from data.pair_files.encodings import as_utf8
from data.pair_files.formats import AUTO, FORMATS, detect, detect_packed
from data.pair_files.openai_batch import NO_INPUT
from data.pair_files.reading import BOM, Lines, Reading, Unrecognised
from data.pair_files.verdicts import BadRow, LeftOut, NumberedRow
from data.store.errors import Invalid, NotFound

BEGINNING = 64 * 1024  # bytes that a file is recognised by
DEEPEST = 2  # archives in one another
MOST_WHOLE = 64 * 1024 * 1024  # bytes of a file of an archive that is read at once
NAMED = 8  # files that a note lists
NO_CHANNELS = "{} is no export of Slack, so it has no channels. Leave out `--channel`."


class OpenRows:
    """The rows of an open file, in order.

    Iterating raises Invalid if the file as a whole cannot be read: it is damaged, has another
    format, or no usable header."""

    def __init__(self, file: IO[bytes], reading: Reading, format: str) -> None:
        self._file = file
        self._lines: Lines | None = None  # of a file that is not packed
        self._may_unpack = archives.MOST_UNPACKED  # bytes, of all archives in one another
        self._rows = self._all(file, reading, format)

    def __iter__(self) -> Iterator[NumberedRow]:
        return self._rows

    @property
    def position(self) -> int:
        """How many bytes of the file have been read, about."""
        return self._lines.read if self._lines is not None else self._file.tell()

    def _all(self, file: IO[bytes], reading: Reading, format: str) -> Iterator[NumberedRow]:
        if reading.channels and (not archives.is_zip(file) or detect_packed(file)):
            raise Invalid(NO_CHANNELS.format(reading.path))
        yield from self._of(file, reading, format)
        for line, member, side in reading.batch.left():
            if side == "answer":
                yield NumberedRow(line, BadRow(line, NO_INPUT), member)
            else:
                yield NumberedRow(line, LeftOut(line, "a request of a batch without an answer"))

    def _of(
        self, file: IO[bytes], reading: Reading, format: str, depth: int = 0
    ) -> Iterator[NumberedRow]:
        start = _start(file)
        if start.startswith(archives.GZIP):
            unpacked = archives.gunzipped(file, reading.path, self._may_unpack)
            with as_utf8(unpacked, reading) as text:
                if not _start(text).startswith((*archives.ZIP, b"PAR1")):
                    yield from numbered_rows(Lines(text), reading, format)
                    self._may_unpack -= unpacked.tell()
                    return
                with tempfile.TemporaryFile() as whole:
                    shutil.copyfileobj(text, whole)
                    whole.seek(0)
                    yield from self._of(whole, reading, format, depth)
            return
        packed = detect_packed(file)
        if packed is None and archives.is_zip(file):
            yield from self._members(file, reading, format, depth)
        elif packed is not None:
            if format != AUTO and FORMATS[format].packed is None:
                raise Invalid(f"{reading.path} is no text, so it is not in the format {format}.")
            yield from packed.read(Lines(file), reading)
        else:
            with as_utf8(file, reading) as text:
                lines = Lines(text)
                if depth == 0:
                    self._lines = lines
                yield from numbered_rows(lines, reading, format)

    def _members(
        self, file: IO[bytes], reading: Reading, format: str, depth: int
    ) -> Iterator[NumberedRow]:
        if depth == DEEPEST:
            raise Invalid(f"{reading.path} is an archive in archives. Unpack it first.")
        read: list[str] = []
        left_out: list[Invalid] = []
        names: list[str] = []
        twice: list[str] = []
        pages: list[str] = []  # folders of Notion's pages that a database holds as well
        rows: dict[str, tuple[str, ...]] = {}  # the other such folders, with the columns
        with archives.open_zip(file, reading.path, self._may_unpack) as archive:
            self._may_unpack -= archives.unpacked_size(archive)
            found = archives.member_names(archive)
            if slack_export.is_export(found):
                read_member = _whole_member(archive, reading.path)
                yield from slack_export.rows(found, read_member, reading)
                return
            if reading.channels:
                raise Invalid(NO_CHANNELS.format(reading.path))
            if what := unread_formats.known_members(found):
                raise Unrecognised(f"{reading.path} {what}")
            views = notion.views(found)
            for name in sorted(found, key=lambda name: not notion.is_database(name)):
                if name in views or name.startswith(tuple(pages)):
                    twice.append(name)
                    continue
                inner = Reading(
                    reading.path / name,
                    reading.columns,
                    reading.notes,
                    reading.batch,
                    "/".join(filter(None, (reading.member, name))),
                )
                inner.row_columns = next(
                    (columns for folder, columns in rows.items() if name.startswith(folder)), ()
                )
                count = 0
                try:
                    with archives.member(archive, name, reading.path) as unpacked:
                        if notion.is_database(name):
                            columns = notion.columns_of(unpacked.readline(BEGINNING))
                            rows |= dict.fromkeys(notion.folders(name), columns)
                            unpacked.seek(0)
                        for row in self._of(unpacked, inner, format, depth + 1):
                            count += 1
                            yield row._replace(member="/".join(filter(None, (name, row.member))))
                except Unrecognised as error:
                    left_out.append(error)
                    names.append(name)
                except Invalid as error:
                    count += 1
                    yield NumberedRow(0, BadRow(0, str(error)), name)
                if count:
                    pages += notion.folders(name)
                    read.append(f"{name} ({count:,} {'row' if count == 1 else 'rows'})")
        if left_out and not read:
            raise Unrecognised(f"{reading.path} holds no file of pairs. {left_out[0]}")
        if len(read) > 1 or left_out:
            reading.notes.append(f"Files of {reading.path.name} that were read: {_named(read)}.")
        if twice:
            reading.notes.append(
                f"Files of {reading.path.name} whose rows another file of Notion's export holds: "
                f"{_named(twice)}."
            )
        if names:
            reading.notes.append(
                f"Files of {reading.path.name} that hold no pairs and were left out: "
                f"{_named(names)}."
            )


@contextlib.contextmanager
def open_rows(reading: Reading, format: str = AUTO) -> Iterator[OpenRows]:
    """The rows of the file `reading.path`. Raises NotFound, and Invalid if it cannot be opened."""
    with open_file(reading.path, reading.notes) as file:
        yield OpenRows(file, reading, format)


def numbered_rows(lines: Lines, reading: Reading, format: str = AUTO) -> Iterator[NumberedRow]:
    """Each row of a text with the number of its first line. Checks the beginning of the file first.
    Raises Invalid as `OpenRows` does."""
    start = _beginning(lines, reading.path)
    if notion.is_database(reading.path.name):
        reading.columns = notion.with_title(reading.columns, start)
    if format != AUTO:
        return FORMATS[format].read(lines, reading)
    found = detect(start, reading.columns)
    if found is None:
        text = start.decode("utf-8", "replace")
        if misspelt := misspelt_columns(text, reading.columns):
            raise Unrecognised(
                f"{reading.path} cannot be read as it is: no line names both a question and an "
                f"answer. {meant(misspelt)}"
            )
        raise Unrecognised(
            f"{reading.path} is neither JSON nor a table nor an FAQ: {_begins(start)} "
            "`--map question=COLUMN,answer=COLUMN` names the columns of a table."
        )
    return found.read(lines, reading)


def column_names(path: Path) -> tuple[str, ...]:
    """The columns of the first row of a table or of JSON, whatever they are called; none of a file
    that is packed. Raises as `OpenRows` does."""
    reading = Reading(path)
    with open_file(path) as file:
        if _start(file).startswith(archives.GZIP) or detect_packed(file) or archives.is_zip(file):
            return ()
        with as_utf8(file, reading) as text:
            start = _beginning(Lines(text), path).decode("utf-8", "replace")
    if start[:1] in ("{", "["):
        try:
            first, _ = json.JSONDecoder().raw_decode(start.lstrip("[ \t\r\n"))
        except (ValueError, RecursionError):
            return ()
        return tuple(first) if isinstance(first, dict) else ()
    names = first_names(start)
    return tuple(name for name in names if name) if len(names) > 1 else ()


def open_file(path: Path, notes: list[str] | None = None) -> IO[bytes]:
    """The file; a pipe, which can be read only once, as a temporary file. `notes` receives what
    there is to say about a folder. Raises NotFound, and Invalid if it cannot be read."""
    try:
        if path.is_dir():
            found, left_out = folders.files_of(path)
            if left_out and notes is not None:
                notes.append(
                    f"Files of {path.name} that were left out, because their names do not end like "
                    f"those of files of pairs: {_named(left_out)}."
                )
            return folders.packed(path, found)
        file = path.open("rb")
        if file.seekable():
            return file
        with file:
            whole = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
            shutil.copyfileobj(file, whole)
        whole.seek(0)
        return whole
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror or error}") from error


def _whole_member(archive: zipfile.ZipFile, path: Path) -> Callable[[str], bytes]:
    """A function that gives one file of an archive whole, up to `MOST_WHOLE` bytes."""

    def read(name: str) -> bytes:
        if archive.getinfo(name).file_size > MOST_WHOLE:
            raise Invalid(f"the file is larger than {MOST_WHOLE // 1024**2} MiB")
        return b"".join(archives.chunks(archive, name, path))

    return read


def _start(file: IO[bytes]) -> bytes:
    start = file.read(4)
    file.seek(0)
    return start


def _beginning(lines: Lines, path: Path) -> bytes:
    """The first bytes of the file, without consuming them. Raises Invalid if they cannot be
    text."""
    start = lines.peek(BEGINNING)
    if what := unread_formats.known_start(start):
        raise Unrecognised(f"{path} {what}")
    if b"\x00" in start:
        raise Unrecognised(f"{path} is not a text file. Save it as UTF-8 text and import it again.")
    return start.removeprefix(BOM).lstrip()


def _begins(start: bytes) -> str:
    first = start.partition(b"\n")[0].decode("utf-8", "replace").strip()
    shown = first if len(first) <= 80 else first[:79] + "…"
    return f"it begins with “{shown}”, which does not name both a question and an answer."


def _named(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
