"""Reads and writes files of pairs.

Reading holds one row at a time, so memory use does not depend on the file's size. A row that cannot
be a pair is reported with its line and the reason, and reading continues. `read` returns what
`write` wrote, unchanged.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from data.pair_files.csv_files import misspelt_columns
from data.pair_files.encodings import as_utf8
from data.pair_files.formats import AUTO, FORMATS, by_name, detect
from data.pair_files.reading import BOM, Lines, Reading
from data.pair_files.verdicts import NumberedRow, Verdict
from data.pairs import pairs
from data.pairs.pairs import Draft, Pair
from data.store.errors import Invalid, NotFound

BEGINNING = 64 * 1024  # bytes that a file is recognised by


def read(path: Path, format: str = AUTO) -> Iterator[Verdict]:
    """The file's rows in order, as drafts or, where a row cannot be a pair, as bad rows.

    Raises NotFound, or Invalid if the file as a whole cannot be read: another encoding, or no
    usable CSV header."""
    reading = Reading(path)
    with open_file(path) as file, as_utf8(file, reading) as text:
        for row in numbered_rows(Lines(text), reading, format):
            yield row.found


def numbered_rows(lines: Lines, reading: Reading, format: str = AUTO) -> Iterator[NumberedRow]:
    """Each row with the number of its first line. Checks the beginning of the file first. Raises
    Invalid as `read` does."""
    start = _beginning(lines, reading.path)
    if format != AUTO:
        return FORMATS[format].read(lines, reading)
    found = detect(start, reading.columns)
    if found is None:
        text = start.decode("utf-8", "replace")
        if misspelt := misspelt_columns(text, reading.columns):
            named = ",".join(f"{known}={column}" for column, known in misspelt.items())
            raise Invalid(
                f"{reading.path} cannot be read as it is: {_begins(start)} "
                f"Did you mean `--map {named}`?"
            )
        raise Invalid(
            f"{reading.path} is neither JSON nor a table: {_begins(start)} "
            "`--map question=COLUMN,answer=COLUMN` names the columns of a table."
        )
    return found.read(lines, reading)


def write(found: Iterable[Pair | Draft], path: Path, format: str = AUTO) -> int:
    """Write pairs to `path`, whole or not at all; returns how many. `auto` chooses by the name:
    `.csv` is CSV, anything else JSON Lines."""
    chosen = by_name(path) if format == AUTO else FORMATS[format]
    if chosen.write is None:
        raise Invalid(f"The format {format} is only read.")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            count = chosen.write(file, map(_draft, found))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise Invalid(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return count


def open_file(path: Path) -> IO[bytes]:
    """The file; a pipe, which can be read only once, as a temporary file. Raises NotFound, and
    Invalid if it cannot be read."""
    try:
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


def _beginning(lines: Lines, path: Path) -> bytes:
    """The first bytes of the file, without consuming them. Raises Invalid if they cannot be
    text."""
    start = lines.peek(BEGINNING)
    if b"\x00" in start:
        raise Invalid(f"{path} is not a text file. Save it as UTF-8 text and import it again.")
    return start.removeprefix(BOM).lstrip()


def _begins(start: bytes) -> str:
    first = start.partition(b"\n")[0].decode("utf-8", "replace").strip()
    shown = first if len(first) <= 80 else first[:79] + "…"
    return f"it begins with “{shown}”, which does not name both a question and an answer."


def _draft(pair: Pair | Draft) -> Draft:
    """The part of a pair that is exported. A fact that its response implies is left out."""
    if isinstance(pair, Draft):
        return pair
    fact = "" if pair.fact == pairs.fact_of(pair.response) else pair.fact
    status = None if pair.status == "approved" else pair.status
    return Draft(pair.prompt, pair.response, pair.system, pair.turns, fact, pair.split, status)
