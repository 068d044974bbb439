"""Deletes the files of removed adapters, once no engine holds them.

An engine that holds an adapter may read its files again at any time, and vLLM dies when they are
gone. So a placement's row is a lease on them: it is written before the engine hears of the folder
and only deleted when the engine is known to have dropped it, and for a removed adapter no new one
is given. What has no lease here can therefore be deleted at leisure.
"""

import logging
import shutil

from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.store.db import Store
from data.store.errors import Invalid
from serving import lock

log = logging.getLogger(__name__)


def delete_files(store: Store, settings: Settings) -> list[Adapter]:
    """Delete what no engine holds; returns whose files are gone. What cannot be deleted now is
    tried again by the next call."""
    gone = []
    for adapter in registry.to_delete(store.db):
        try:
            shutil.rmtree(adapter.folder(settings.home))
        except FileNotFoundError:
            pass  # somebody was faster
        except (OSError, Invalid) as error:
            log.warning("The files of %s cannot be deleted: %s", adapter.name, error)
            continue
        with store.write() as db:
            registry.files_deleted(db, adapter)
        log.info("The files of %s are deleted.", adapter.name)
        gone.append(adapter)
    return gone


def delete_now(store: Store, settings: Settings, adapter: Adapter) -> bool:
    """Delete one adapter's files at once, which is possible while no `understudy serve` runs and
    no engine of somebody else holds them. False: the running one does it when it can."""
    try:
        with lock.only_one(settings.home):
            with store.write() as db:
                placements.release_ours(db, adapter.id)
            delete_files(store, settings)
    except lock.ServesAlready:
        return False
    return registry.by_id(store.db, adapter.id).removed_at is not None
