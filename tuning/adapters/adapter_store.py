"""The adapter store: one folder for each adapter of a domain, written completely or not at all.

Files are written to a hidden folder, which is renamed to `<version>-<digest>` in the transaction
that registers the adapter. Only one process can be in that transaction, so an unregistered folder
is left over from a crash, or the store is older than the folder. It is set aside under another name
and never deleted. A version number therefore always means the same content.
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
from data.bases import digest
from data.config.settings import Settings
from data.domains import Domain
from data.store.db import Store

log = logging.getLogger(__name__)

TEMPORARY = ".making-"  # prefix of unfinished folders
ASIDE = ".unregistered-"  # prefix of folders that the store does not know


@contextlib.contextmanager
def temporary(settings: Settings, domain: Domain, label: str) -> Iterator[Path]:
    """A new hidden folder, which is removed at the end unless it was renamed. Leftovers of earlier
    attempts with the same label are removed first."""
    parent = settings.adapters_path / domain.name
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.glob(f"{TEMPORARY}{label}-*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = parent / f"{TEMPORARY}{label}-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def install(
    store: Store,
    settings: Settings,
    domain: Domain,
    folder: Path,
    found: AdapterFiles,
    before: Callable[[Database], Adapter | None] = lambda _: None,
    **columns: Any,
) -> Adapter:
    """Move a checked temporary folder to its final path and register the adapter as the domain's
    next version. `columns` are those of `registry.register` that do not follow from the files.
    `before` is called first in the same transaction; it may raise, or return an adapter that exists
    already."""
    base_digest = columns.pop("base_digest", None) or digest.of_base(settings)
    final: Path | None = None
    try:
        with store.write() as db:
            if existing := before(db):
                return existing
            set_strays_aside(db, folder.parent, domain)
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
                base_digest=base_digest,
                rank=found.rank,
                size_bytes=found.size_bytes,
                **given,
            )
    except BaseException:
        if final is not None:
            shutil.rmtree(final, ignore_errors=True)
        raise


def set_strays_aside(db: Database, parent: Path, domain: Domain) -> list[Path]:
    """Rename the final folders of a domain that no adapter owns; returns their new paths. Call it
    only inside a write transaction: no other process is then between moving a folder and
    registering it."""
    if not parent.is_dir():
        return []
    owned = {Path(a.path).name for a in registry.list_adapters(db, domain)}
    stray = [
        path for path in parent.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in owned
    ]  # fmt: skip
    moved = []
    for path in stray:
        aside = path.with_name(f"{ASIDE}{path.name}")
        while aside.exists():
            aside = aside.with_name(f"{aside.name}+")
        path.rename(aside)
        log.warning(
            "The store knows no adapter in %s, so it was renamed to %s. It is left over from an "
            "interrupted run, or the store is older. Delete it once it is not needed.",
            path, aside.name,
        )  # fmt: skip
        moved.append(aside)
    return moved


def sync_folder(folder: Path) -> None:
    """Flush the files of a folder, and its directory entry list, to the disk."""
    for path in [*folder.iterdir(), folder]:
        if path.is_dir() and path != folder:
            continue
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
