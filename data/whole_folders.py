"""Folders that are there completely or not at all: everything is written to a hidden folder beside
the final one, which is renamed at the end."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from data.store.errors import Conflict, Unavailable

TEMPORARY = ".making-"  # prefix of unfinished folders


@contextlib.contextmanager
def making(place: Path, name: str) -> Iterator[Path]:
    """An empty folder in `place` to write to, which is removed at the end. Raises Unavailable when
    the disk is full."""
    place.mkdir(parents=True, exist_ok=True)
    remove_unfinished(place)
    folder = place / f"{TEMPORARY}{name}-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Unavailable(f"The disk of {place} is full; nothing was added.") from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def finish(folder: Path, final: Path, exists: str) -> None:
    """Give the written folder its name. Raises Conflict with the sentence `exists` when another
    process was faster."""
    for file in folder.iterdir():
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    try:
        folder.rename(final)
    except OSError as error:
        raise Conflict(exists) from error


def remove_unfinished(place: Path) -> None:
    """Remove the unfinished folders of processes that have ended."""
    for path in place.glob(f"{TEMPORARY}*"):
        process = path.name.rpartition("-")[2]
        if not process.isdigit() or not Path(f"/proc/{process}").exists():
            shutil.rmtree(path, ignore_errors=True)
