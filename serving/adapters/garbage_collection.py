"""Deletes the files of removed adapters, once no engine holds them.

An engine that holds an adapter may read its files again at any time, and vLLM crashes when they are
gone. So each placement is a lease on the files: it is written before the engine learns about the
folder, and deleted only when the engine has certainly unloaded the adapter. A removed adapter gets
no new lease. Files without a lease can therefore be deleted at any time.
"""

import logging
import shutil

from data import home_lock
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.store.db import Store
from data.store.errors import Invalid

log = logging.getLogger(__name__)


def delete_files(store: Store, settings: Settings) -> list[Adapter]:
    """Delete the files of removed adapters that no engine holds; returns those adapters. Files that
    cannot be deleted now are tried again by the next call."""
    gone = []
    for adapter in registry.to_delete(store.db):
        try:
            shutil.rmtree(adapter.folder(settings.home))
        except FileNotFoundError:
            pass  # another process was faster
        except (OSError, Invalid) as error:
            log.warning("The files of %s cannot be deleted: %s", adapter.name, error)
            continue
        with store.write() as db:
            registry.files_deleted(db, adapter)
        log.info("The files of %s are deleted.", adapter.name)
        gone.append(adapter)
    return gone


def delete_now(store: Store, settings: Settings, adapter: Adapter) -> bool:
    """Delete the files of one adapter at once. That is possible while no `understudy serve` runs
    and no external engine holds them. Returns False when the running one deletes them later."""
    try:
        with home_lock.only_one(settings.home, "serve"):
            with store.write() as db:
                placements.release_local_leases(db, adapter.id)
            delete_files(store, settings)
    except home_lock.RunsAlready:
        return False
    return registry.by_id(store.db, adapter.id).removed_at is not None
