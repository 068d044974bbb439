"""Files that somebody uploads: pairs in any format that `pairs import` reads.

The file is kept only while it is imported, in a temporary folder. It is first read without storing
anything, so that a file that holds no pair at all changes nothing.
"""

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from shutil import copyfileobj
from typing import TypeVar

from starlette.datastructures import UploadFile

from data.config.settings import Settings
from data.domains import Domain
from data.pair_files import files, importer
from data.pair_files.importer import ImportReport
from data.pair_files.staged_files import file_name
from data.pair_files.verdicts import BadRow, LeftOut
from data.pairs import pairs
from data.quality import token_counts
from data.quality.unusable import UnusableDrafts
from data.store import audit
from data.store.db import Store
from data.store.errors import Invalid, UnderstudyError

T = TypeVar("T")
LOOKED_AT = 1_000  # rows among which there must be a pair


def check(upload: UploadFile) -> None:
    """Raises Invalid for a file without a single pair among its first rows."""
    _with_file(upload, _check)


def import_pairs(
    store: Store,
    settings: Settings,
    domain: Domain,
    upload: UploadFile,
    author: str,
    status: pairs.Status,
) -> ImportReport:
    """Add the pairs of a file to the domain, and record it in the audit log. Blocks; raises what
    `importer.import_file` raises."""

    def add(path: Path) -> ImportReport:
        return import_path(store, settings, domain, path, author, status)

    return _with_file(upload, add)


def import_path(
    store: Store,
    settings: Settings,
    domain: Domain,
    path: Path,
    author: str,
    status: pairs.Status,
) -> ImportReport:
    """The same for a file of this machine."""
    around = token_counts.of_base(settings, domain)
    unusable = UnusableDrafts(domain, around, "quarantine")
    report = importer.import_file(
        store, domain, path, author=author, status=status, unusable=unusable
    )
    if report.batch is not None:
        detail = {"added": report.added, "import": report.batch}
        with store.write() as db:
            audit.record(db, author, "pairs import", domain.name, **detail)
    return report


def _check(path: Path) -> None:
    rows = list(itertools.islice(files.read(path), LOOKED_AT))
    if not rows:
        raise Invalid(f"{path.name} has no rows.")
    unusable = [row for row in rows if isinstance(row, BadRow | LeftOut)]
    if len(unusable) == len(rows):
        first = unusable[0]
        raise Invalid(f"{path.name} holds no pair. Line {first.line}: {first.reason}")


def _with_file(upload: UploadFile, use: Callable[[Path], T]) -> T:
    """Errors name the file as its owner knows it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file_name(upload.filename or "")
        upload.file.seek(0)
        with path.open("wb") as file:
            copyfileobj(upload.file, file)
        try:
            return use(path)
        except UnderstudyError as error:
            error.args = (str(error).replace(str(path), path.name),)
            raise
