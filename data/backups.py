"""Backups: a snapshot of the store and every adapter in one tar file, while the service runs."""

import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from data.adapters import placements, registry
from data.config.settings import Settings
from data.store.db import Store, sqlite3
from data.store.errors import Conflict, Unavailable


@dataclass(frozen=True)
class WrittenBackup:
    """A backup that is complete."""

    file: Path
    size: int  # bytes
    missing: tuple[str, ...]  # a sentence for each adapter that has no folder


def write(store: Store, settings: Settings, file: Path) -> WrittenBackup:
    """Save the store and the adapters that it knows at this moment to a new file, which appears
    once it is complete. Blocks. Raises Conflict if the file exists, and Unavailable if it cannot be
    written."""
    if file.exists():
        raise Conflict(f"{file} already exists; nothing was changed.")
    unfinished = file.with_name(file.name + ".unfinished")
    try:
        with tempfile.TemporaryDirectory(dir=file.resolve().parent) as scratch:
            snapshot = Path(scratch) / settings.store_path.name
            store.db.execute("VACUUM INTO ?", [str(snapshot)])
            unfinished.touch(mode=0o600)
            with tarfile.open(unfinished, "w") as tar:
                folders, missing = _adapters(snapshot, settings)
                tar.add(snapshot, snapshot.name)
                for folder in folders:
                    tar.add(folder, folder.relative_to(settings.home))
        unfinished.rename(file)
    except (OSError, sqlite3.Error) as error:  # SQLite itself writes the copy of the store
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Unavailable(f"{file} could not be written: {reason}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return WrittenBackup(file, file.stat().st_size, missing)


def _adapters(snapshot: Path, settings: Settings) -> tuple[list[Path], tuple[str, ...]]:
    """The folders of the adapters that the copy of the store knows, and which are missing. What is
    being made or deleted at this moment is not among them. The copy forgets the engines: where it
    is restored, none runs."""
    with Store(snapshot) as store:
        with store.write() as db:
            placements.delete_others(db, ())
        known = [a for a in registry.list_adapters(store.db) if a.removal_asked_at is None]
    found, missing = [], []
    for adapter in reversed(known):
        folder = adapter.folder(settings.home)
        if folder.is_dir():
            found.append(folder)
        else:
            missing.append(f"{adapter.name} is left out: there is no folder {folder}.")
    return found, tuple(missing)
