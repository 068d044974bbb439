"""The shelf of a domain: one folder for each of its adapters, all or nothing.

Files are written to a hidden folder beside their place, which is renamed to `<version>-<digest>` in
the transaction that registers the adapter. Whoever holds that transaction is alone, so what lies
there unregistered is left over from a crash and is removed: a version number names one content,
ever.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from data.adapters import registry
from data.adapters.files import AdapterFiles
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.domains import Domain
from data.store.db import Store

log = logging.getLogger(__name__)

TEMPORARY = ".making-"  # how a folder begins that is not finished


@contextlib.contextmanager
def temporary(settings: Settings, domain: Domain, label: str) -> Iterator[Path]:
    """A folder for one making alone, gone afterwards unless it was renamed. What an earlier
    attempt under the same label left is removed first."""
    shelf = settings.adapters_path / domain.name
    shelf.mkdir(parents=True, exist_ok=True)
    for old in shelf.glob(f"{TEMPORARY}{label}-*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = shelf / f"{TEMPORARY}{label}-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place(
    store: Store,
    settings: Settings,
    domain: Domain,
    folder: Path,
    found: AdapterFiles,
    before: Callable[[Database], Adapter | None] = lambda _: None,
    **columns: Any,
) -> Adapter:
    """Move a temporary folder, which was checked, to its place and register the adapter as the
    domain's next; `columns` are those of `adapters.register` that the files do not tell. `before`
    is called first in the same transaction, and may raise, or give the adapter that is there."""
    final: Path | None = None
    try:
        with store.write() as db:
            if there := before(db):
                return there
            sweep(db, folder.parent, domain)
            version = registry.next_version(db, domain)
            final = folder.with_name(f"{version}-{found.sha256[:12]}")
            folder.rename(final)
            sync_folder(final)
            sync_folder(final.parent)
            given: dict[str, Any] = {"scores": {}, **columns}
            return registry.register(
                db,
                domain,
                version=version,
                sha256=found.sha256,
                path=str(final.relative_to(settings.home)),
                base_model=settings.base.model,
                rank=found.rank,
                size_bytes=found.size_bytes,
                **given,
            )
    except BaseException:
        if final is not None:
            shutil.rmtree(final, ignore_errors=True)
        raise


def sweep(db: Database, shelf: Path, domain: Domain) -> list[Path]:
    """Remove the finished folders of a domain that no adapter owns. Only inside a transaction of
    the caller's: nobody else is between moving a folder and registering it then."""
    if not shelf.is_dir():
        return []
    owned = {Path(a.path).name for a in registry.list_adapters(db, domain)}
    stray = [
        path for path in shelf.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in owned
    ]  # fmt: skip
    for path in stray:
        log.warning("removing %s, left over from a run that did not finish", path)
        shutil.rmtree(path)
    return stray


def sync_folder(folder: Path) -> None:
    """Force the files of a folder, and its list of them, to the disk."""
    for path in [*folder.iterdir(), folder]:
        if path.is_dir() and path != folder:
            continue
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
