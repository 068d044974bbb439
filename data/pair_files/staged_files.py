"""Uploaded files that wait to be imported, each in a folder of its own in the home folder.

A file is looked at first (a preview) and imported later, perhaps by somebody who has closed the
browser meanwhile. `about.json` says what is known of it; it is replaced as a whole. Files hold what
people wrote, so they are deleted once they are imported, and all of it a day later.
"""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

import orjson

from data.domains import Domain
from data.pair_files import open_rows
from data.pairs.pairs import Status
from data.store.clock import now_us
from data.store.errors import Conflict, Invalid, NotFound, Unavailable, UnderstudyError

FOLDER = "uploads"  # in the home folder
KEPT_S = 24 * 3600
SILENT_S = 60  # without progress: its process has ended
MOST_WAITING = 20  # files of a domain
MAX_NAME = 200  # bytes of a file's name
State = Literal["reading", "waiting", "importing", "done", "failed"]
BUSY = ("reading", "importing")


@dataclass(frozen=True)
class ImportOptions:
    """How a file is to be imported."""

    format: str = "auto"
    status: Status = "approved"
    golden: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)  # column -> part of a pair
    name: str = ""  # of the import; '': that of the file


@dataclass(frozen=True)
class StagedFile:
    """An uploaded file, with the last preview or the result of its import."""

    id: str
    domain_id: int
    file: str  # its name
    size: int  # bytes
    author: str
    at: int
    state: State
    options: ImportOptions = field(default_factory=ImportOptions)
    columns: tuple[str, ...] = ()  # of its first row
    read: int = 0  # bytes, while it is read or imported
    report: Mapping[str, Any] | None = None  # an `ImportReport` as JSON
    error: str = ""  # why it could not be read or imported

    @property
    def busy(self) -> bool:
        return self.state in BUSY

    @property
    def progress(self) -> float:
        """The part that was read, from 0 to 1."""
        return min(1.0, self.read / self.size) if self.size else 1.0


class StagedFiles:
    """The staged files of a home folder."""

    def __init__(self, home: Path) -> None:
        self.folder = home / FOLDER
        self.running: Callable[[str], bool] = lambda number: False  # known to be worked on

    def add(self, domain: Domain, name: str, file: IO[bytes], author: str) -> StagedFile:
        """Copy a file here; the next step is a preview. Raises Conflict if too many wait, Invalid
        for an empty one, and Unavailable if the disk is full."""
        self.remove_old()
        if len([one for one in self.of(domain) if one.state != "done"]) >= MOST_WAITING:
            raise Conflict(f"{MOST_WAITING} files wait already. Import or discard one of them.")
        number = secrets.token_hex(8)
        place = self.folder / number / "file"
        try:
            place.mkdir(parents=True, mode=0o700)
            path = place / file_name(name)
            with path.open("wb") as copy:
                shutil.copyfileobj(file, copy, 1024 * 1024)
            size = path.stat().st_size
            if not size:
                raise Invalid(f"{path.name} is empty.")
            columns = open_rows.column_names(path)
        except OSError as error:
            shutil.rmtree(place.parent, ignore_errors=True)
            raise Unavailable(f"The file cannot be stored here: {error.strerror}.") from error
        except UnderstudyError as error:
            shutil.rmtree(place.parent, ignore_errors=True)
            raise type(error)(str(error).replace(str(path), path.name)) from error
        staged = StagedFile(
            number, domain.id, path.name, size, author, now_us(), "waiting", columns=columns
        )
        self.save(staged)
        return staged

    def get(self, domain: Domain, number: str) -> StagedFile:
        """Raises NotFound, also for a file of another domain."""
        found = self._read(number) if number.isalnum() else None
        if found is None or found.domain_id != domain.id:
            raise NotFound("There is no such file any more. Files are kept for a day.")
        return found

    def reload(self, staged: StagedFile) -> StagedFile:
        """What is known of a file now. Raises NotFound if it was discarded."""
        found = self._read(staged.id)
        if found is None:
            raise NotFound("There is no such file any more. Files are kept for a day.")
        return found

    def of(self, domain: Domain) -> list[StagedFile]:
        """The files of a domain, the newest first."""
        try:
            numbers = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        found = [staged for number in numbers if (staged := self._read(number)) is not None]
        return sorted((s for s in found if s.domain_id == domain.id), key=lambda s: -s.at)

    def path(self, staged: StagedFile) -> Path:
        return self.folder / staged.id / "file" / staged.file

    def save(self, staged: StagedFile) -> None:
        place = self.folder / staged.id / "about.json"
        part = place.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(orjson.dumps(asdict(staged), default=dict))
        part.replace(place)

    def finish(self, staged: StagedFile) -> None:
        """Keep the result of an import, and delete the file."""
        self.save(staged)
        shutil.rmtree(self.path(staged).parent, ignore_errors=True)

    def remove(self, staged: StagedFile) -> None:
        """Discard a file. Raises Conflict while it is imported."""
        if staged.busy:
            raise Conflict(f"{staged.file} is being read. Wait until that has ended.")
        shutil.rmtree(self.folder / staged.id, ignore_errors=True)

    def remove_old(self) -> None:
        """Delete what was uploaded more than a day ago."""
        for place in self.folder.glob("*"):
            try:
                old = time.time() - place.stat().st_mtime > KEPT_S
            except FileNotFoundError:
                continue
            if old:
                shutil.rmtree(place, ignore_errors=True)

    def _read(self, number: str) -> StagedFile | None:
        place = self.folder / number / "about.json"
        try:
            found = orjson.loads(place.read_bytes())
            silent = time.time() - place.stat().st_mtime > SILENT_S
        except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
            return None
        options = ImportOptions(**found.pop("options"))
        columns = tuple(found.pop("columns"))
        staged = StagedFile(options=options, columns=columns, **found)
        ended = staged.busy and silent and not self.running(number)
        return interrupted(staged) if ended else staged


def interrupted(staged: StagedFile) -> StagedFile:
    """A file whose process has ended before its work."""
    if staged.state == "reading":
        return replace(staged, state="waiting", error="Reading it was interrupted. Try again.")
    error = "The import was interrupted. Import the file again to add the rest of its pairs."
    return replace(staged, state="failed", error=error)


def file_name(given: str) -> str:
    """A name that a file can have here: no folder, and not too long."""
    last = Path(given.replace("\\", "/")).name
    printable = "".join(c for c in last if c.isprintable())
    name = printable.encode()[-MAX_NAME:].decode(errors="ignore")
    return name if name.strip(".") else "pairs"
