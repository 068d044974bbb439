"""Keeps what people wrote from the other users of the machine: folders 0700, files 0600.

New files are private because every command sets the umask. `protect` mends what an earlier version
or another program left readable, at each start of a process of the service.
"""

import logging
import stat
from collections.abc import Iterator
from pathlib import Path

from data.config.settings import FILE_NAME, Settings

log = logging.getLogger(__name__)

FOLDER, FILE, PASSABLE = 0o700, 0o600, 0o711
LOGS = "logs"


def protect(settings: Settings) -> list[Path]:
    """Make the home folder, the settings file, the store, the logs and the folders of runs private.
    Returns what was changed, and logs it in one line.

    If you run the engine yourself (`[serving] url`), another user may need the adapters: the home
    folder can still be passed through, but not listed."""
    home = settings.home
    changed = []
    for path in (home, *_inside(settings)):
        wanted = FILE if path.is_file() else FOLDER
        if path == home and settings.serving.url:
            wanted = PASSABLE
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & ~wanted & 0o077:
                path.chmod(mode & ~0o077 | wanted & 0o077)
                changed.append(path)
        except OSError as error:
            log.warning("%s cannot be made private: %s", path, error.strerror)
    if changed:
        shown = ", ".join(str(path.relative_to(home.parent)) for path in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        log.warning("Other users could read %s%s. They no longer can.", shown, more)
    return changed


def _inside(settings: Settings) -> Iterator[Path]:
    store = settings.store_path
    files = [settings.home / FILE_NAME, *(Path(f"{store}{end}") for end in ("", "-wal", "-shm"))]
    yield from (path for path in files if path.exists())
    for folder in (settings.home / LOGS, settings.runs_path):
        if folder.is_dir() and not folder.is_symlink():
            yield folder
            yield from (path for path in folder.rglob("*") if not path.is_symlink())
