"""One `understudy serve` for each home folder: two would load and unload each other's adapters.

The lock is the kernel's (`flock`), so it ends with the process, however the process ends. A process
that holds it knows that no other process has engines of this home folder: engines die with the
process that started them.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from data.store.errors import Conflict, Unavailable

FILE_NAME = "serve.lock"


class ServesAlready(Conflict):
    """Another process runs the engines of this home folder."""


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the lock. Raises ServesAlready when another process has it, Unavailable when the file
    cannot be written."""
    try:
        file = (home / FILE_NAME).open("a+")
    except OSError as error:
        raise Unavailable(f"{home / FILE_NAME} cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ServesAlready(
                f"`understudy serve` already runs for {home} (process {file.read().strip()}). "
                "Stop it first. To run several engines, set `[serving] replicas`."
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
