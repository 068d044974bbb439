"""Reads and writes files of pairs.

Reading holds one row at a time, so memory use does not depend on the file's size. A row that cannot
be a pair is reported with its line and the reason, and reading continues. `read` returns what
`write` wrote, unchanged.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from data.pair_files.formats import AUTO, FORMATS, by_name
from data.pair_files.open_rows import open_rows
from data.pair_files.reading import Reading
from data.pair_files.verdicts import Verdict
from data.pairs import pairs
from data.pairs.pairs import Draft, Pair
from data.store.errors import Invalid


def read(path: Path, format: str = AUTO) -> Iterator[Verdict]:
    """The file's rows in order, as drafts or, where a row cannot be a pair, as bad rows.

    Raises NotFound, or Invalid if the file as a whole cannot be read: another encoding, or no
    usable CSV header."""
    with open_rows(Reading(path), format) as rows:
        for row in rows:
            yield row.found


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


def _draft(pair: Pair | Draft) -> Draft:
    """The part of a pair that is exported. A fact that its response implies is left out."""
    if isinstance(pair, Draft):
        return pair
    fact = "" if pair.fact == pairs.fact_of(pair.response) else pair.fact
    status = None if pair.status == "approved" else pair.status
    return Draft(pair.prompt, pair.response, pair.system, pair.turns, fact, pair.split, status)
