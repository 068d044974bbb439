"""Imports and exports pairs: JSON Lines, OpenAI chat messages and CSV.

Reading holds one row at a time, so memory use does not depend on the file's size. A row that cannot
be a pair is reported with its line and the reason, and reading continues. An import writes in
transactions of `TOGETHER` rows. An interrupted import can simply be run again, because pairs are
recognised by their fingerprint. `read` returns what `write` wrote, unchanged.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from sqlite_utils import Database

from data.domains import Domain
from data.pairs import pairs
from data.pairs.contamination import Guard, Leak
from data.pairs.formats import (
    AUTO,
    BOM,
    FORMATS,
    BadRow,
    Lines,
    NumberedRow,
    by_name,
    detect,
)
from data.pairs.pairs import Draft, Pair, Status
from data.store.db import Store
from data.store.errors import Invalid, NotFound

TOGETHER = 1_000  # rows in one transaction, so that others can write in between
SHOWN_BAD = 100  # bad rows that a report lists; all are counted


@dataclass(frozen=True)
class ImportReport:
    """The result of an import."""

    added: int
    duplicates: int  # already in the domain, or repeated in the file
    bad: tuple[BadRow, ...]  # the first `SHOWN_BAD` bad rows
    bad_total: int
    complete: bool = True  # False: stopped before the end of the file

    @property
    def rows(self) -> int:
        return self.added + self.duplicates + self.bad_total


def read(path: Path, format: str = AUTO) -> Iterator[Draft | BadRow]:
    """The file's rows in order, as drafts or, where a row cannot be a pair, as bad rows.

    Raises NotFound, or Invalid if the file as a whole cannot be read: another encoding, no usable
    CSV header, one JSON array instead of lines."""
    with _open(path) as file:
        for _, found in _numbered(Lines(file), path, format):
            yield found


def import_file(
    store: Store,
    domain: Domain,
    path: Path,
    *,
    format: str = AUTO,
    author: str = "",
    status: Status = "approved",
    golden: bool = False,
    progress: Callable[[int, ImportReport], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> ImportReport:
    """Add a file's pairs to the domain; with `golden`, all of them as golden questions. `progress`
    receives the number of bytes read, and what has been committed. `stop` is asked between
    transactions. A row whose question would be both trained on and evaluated is skipped like an
    unreadable one.

    Raises what `read` raises, and StoreFull or StoreBusy. Committed rows stay; running the import
    again adds the rest."""
    added = duplicates = bad_total = 0
    bad: list[BadRow] = []
    with _open(path) as file:
        lines = Lines(file)
        numbered = _numbered(lines, path, format)
        guard = Guard(store.db, domain)
        import_id = pairs.next_import(store.db)
        while batch := list(itertools.islice(numbered, TOGETHER)):
            if stop():
                return ImportReport(added, duplicates, tuple(bad), bad_total, complete=False)
            with store.write() as db:
                wrong = []
                for line, found in _naming_facts(db, domain, batch):
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
                        import_id=import_id,
                    )
                    for pair_id in result.ids:
                        guard.note(pair_id, draft)
                    added += len(result.ids)
                    duplicates += result.duplicates
            bad_total += len(wrong)
            bad += wrong[: SHOWN_BAD - len(bad)]
            if progress is not None:
                done = ImportReport(added, duplicates, tuple(bad), bad_total, complete=False)
                progress(lines.read, done)
    return ImportReport(added, duplicates, tuple(bad), bad_total)


def _naming_facts(
    db: Database, domain: Domain, batch: Sequence[NumberedRow]
) -> Iterator[NumberedRow]:
    """The rows; a draft without a fact has that of an approved pair that asks the same."""
    drafts = [found for _, found in batch if isinstance(found, Draft)]
    named = iter(pairs.naming_facts(db, domain, drafts))
    for line, found in batch:
        yield line, found if isinstance(found, BadRow) else next(named)


def write(found: Iterable[Pair | Draft], path: Path, format: str = AUTO) -> int:
    """Write pairs to `path`, whole or not at all; returns how many. `auto` chooses by the name:
    `.csv` is CSV, anything else JSON Lines."""
    chosen = by_name(path) if format == AUTO else FORMATS[format]
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


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror or error}") from error


def _numbered(lines: Lines, path: Path, format: str) -> Iterator[NumberedRow]:
    """Each row with the number of its first line. Checks the beginning of the file first."""
    start = _beginning(lines, path)
    if format != AUTO:
        return FORMATS[format].read(lines, path)
    found = detect(start.partition(b"\n")[0].decode("utf-8", "replace"))
    if found is None:
        raise Invalid(
            f"{path} is neither JSON Lines nor CSV: its first line is not a JSON object and has no "
            "columns prompt and response."
        )
    return found.read(lines, path)


def _beginning(lines: Lines, path: Path) -> bytes:
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


def _draft(pair: Pair | Draft) -> Draft:
    """The part of a pair that is exported. A fact that its response implies is left out."""
    if isinstance(pair, Draft):
        return pair
    fact = "" if pair.fact == pairs.fact_of(pair.response) else pair.fact
    return Draft(pair.prompt, pair.response, pair.system, pair.turns, fact, pair.split)
