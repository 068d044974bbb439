"""What an engine leaves on the machine beside its answers: its log, and the sockets over which its
processes talk.

vLLM never deletes a socket, not even when it ends by itself, and never ends a log. So each engine
has a folder for its sockets, which is emptied before it starts and goes when it has ended, and its
log is begun anew when it has become large. The folder is not in the home folder, since the kernel
takes a socket's path of 107 bytes at most, and homes may lie deep.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

from data.store.errors import Unavailable

log = logging.getLogger(__name__)

LOGS_KEPT = 3
LOG_BYTES = 32 << 20
SOCKET_PATH_BYTES = 107
SOCKET_NAME_BYTES = 36  # vLLM's: a UUID


def sockets(home: Path, number: int) -> Path:
    """Where the sockets of a home's engine of this number lie. Raises Unavailable when the folder
    for temporary files is too deep for any."""
    whose = hashlib.sha256(f"{os.getuid()} {home.resolve()}".encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"understudy-{whose}-{number}"
    if len(os.fsencode(folder)) + 1 + SOCKET_NAME_BYTES > SOCKET_PATH_BYTES:
        raise Unavailable(
            f"The path {folder} is too long for an engine's sockets. Set TMPDIR to a shorter one."
        )
    return folder


def make_empty(folder: Path) -> None:
    """Make the folder, for us alone, without what a killed engine left in it. Raises OSError, also
    when it is somebody else's."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)


def rotate(path: Path) -> None:
    """Make room for a new log: `engine.log` becomes `engine.log.1`, and so on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _shift(path)
    if path.exists():
        path.replace(_earlier(path, 1))


def shorten(path: Path) -> None:
    """Begin a log anew that has become large, as `rotate` does, while it is being appended to. A
    few lines may be lost; all of them are when there is no space for a copy. What fails is only
    warned of: an engine that answers is not ended for its log."""
    try:
        if path.stat().st_size <= LOG_BYTES:
            return
    except OSError:  # somebody has deleted it: nobody can shorten it
        return
    try:
        _shift(path)
        shutil.copyfile(path, _earlier(path, 1))
    except OSError as error:
        log.warning("%s is begun anew without a copy: %s", path, error)
        with contextlib.suppress(OSError):
            _earlier(path, 1).unlink()
    try:
        os.truncate(path, 0)
    except OSError as error:
        log.warning("%s cannot be begun anew: %s", path, error)


def last_lines(path: Path, count: int) -> str:
    """The end of a log, indented."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"  (it cannot be read: {error.strerror})"
    said = [line[:300] for line in lines if line.strip()]
    return "\n".join(f"  {line}" for line in said[-count:]) or "  (it said nothing)"


def _shift(path: Path) -> None:
    for number in range(LOGS_KEPT - 1, 0, -1):
        if _earlier(path, number).exists():
            _earlier(path, number).replace(_earlier(path, number + 1))


def _earlier(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
