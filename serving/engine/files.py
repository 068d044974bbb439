"""The files of an engine on this machine: its log, and the sockets between its processes.

vLLM never deletes its sockets and never rotates its log. So each engine has a folder for sockets,
which is emptied before a start and deleted after the end, and a large log is rotated. The folder is
not in the home folder: the kernel limits a socket's path to 107 bytes, and home folders may lie
deep.
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
    """The socket folder of engine `number` of a home folder. Raises Unavailable when the path of
    the folder for temporary files is too long."""
    whose = hashlib.sha256(f"{os.getuid()} {home.resolve()}".encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"understudy-{whose}-{number}"
    if len(os.fsencode(folder)) + 1 + SOCKET_NAME_BYTES > SOCKET_PATH_BYTES:
        raise Unavailable(
            f"The path {folder} is too long for an engine's sockets. Set TMPDIR to a shorter one."
        )
    return folder


def make_empty(folder: Path) -> None:
    """Create the folder, private to this user, without leftovers of a killed engine. Raises
    OSError, also when the folder belongs to another user."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)


def rotate(path: Path) -> None:
    """Rotate the log before a start: `engine.log` becomes `engine.log.1`, and so on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _shift(path)
    if path.exists():
        path.replace(_earlier(path, 1))


def shorten(path: Path) -> None:
    """Rotate a large log while the engine appends to it. A few lines may be lost, or all of them
    when there is no space for a copy. Failures are only logged: they are no reason to stop an
    engine that answers."""
    try:
        if path.stat().st_size <= LOG_BYTES:
            return
    except OSError:  # the file was deleted, so there is nothing to shorten
        return
    try:
        _shift(path)
        shutil.copyfile(path, _earlier(path, 1))
    except OSError as error:
        log.warning("%s is truncated without a copy: %s", path, error)
        with contextlib.suppress(OSError):
            _earlier(path, 1).unlink()
    try:
        os.truncate(path, 0)
    except OSError as error:
        log.warning("%s cannot be truncated: %s", path, error)


def last_lines(path: Path, count: int) -> str:
    """The end of a log, indented."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"  (it cannot be read: {error.strerror})"
    kept = [line[:300] for line in lines if line.strip()]
    return "\n".join(f"  {line}" for line in kept[-count:]) or "  (it is empty)"


def _shift(path: Path) -> None:
    for number in range(LOGS_KEPT - 1, 0, -1):
        if _earlier(path, number).exists():
            _earlier(path, number).replace(_earlier(path, number + 1))


def _earlier(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
