"""One `understudy up` and one `understudy serve` for each home folder.

Two `serve` would load and unload each other's adapters; of two `up`, the engines of the second
would never start. The lock is the kernel's (`flock`), so it ends with the process, however the
process ends. Who holds that of `serve` knows that no other process has engines of this home folder:
engines die with the process that started them.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from data.store.errors import Conflict, Unavailable

Command = Literal["up", "serve"]
INSTEAD: dict[Command, str] = {
    "up": "",
    "serve": " To run several engines, set `[serving] replicas`.",
}


class RunsAlready(Conflict):
    """Another process runs this command for the home folder."""


@contextlib.contextmanager
def only_one(home: Path, command: Command) -> Iterator[None]:
    """Hold the lock. Raises RunsAlready when another process has it, Unavailable when the file
    cannot be written."""
    path = home / f"{command}.lock"
    try:
        file = path.open("a+")
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise RunsAlready(
                f"`understudy {command}` already runs for {home} (process {file.read().strip()}). "
                f"Stop it first.{INSTEAD[command]}"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
