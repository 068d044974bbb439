"""Checks of a domain's pairs that run in the background, one after the other.

A check of a large domain takes half a minute in a process of its own; what it found is kept in the
store (`data/quality/check_results.py`), so a closed page loses nothing.
"""

import asyncio
import logging

from data.config.settings import Settings
from data.domains import Domain
from data.quality import check_process, check_results
from data.store.db import Store
from data.store.errors import Conflict, UnderstudyError

log = logging.getLogger(__name__)


class QualityChecks:
    """The checks that run in one service. Use it from one event loop."""

    def __init__(self, settings: Settings, store: Store, queue: asyncio.Semaphore) -> None:
        self._settings = settings
        self._store = store
        self._queue = queue
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._failed: dict[int, str] = {}

    def running(self, domain: Domain) -> bool:
        return domain.id in self._tasks

    def failed(self, domain: Domain) -> str:
        """Why the last check could not be made; '' if it could."""
        return self._failed.get(domain.id, "")

    async def start(self, domain: Domain, wait_s: float) -> None:
        """Begin a check, and wait a little for a small one. Raises Conflict if one runs already."""
        if self.running(domain):
            raise Conflict(f"The pairs of {domain.name} are being checked already.")
        self._failed.pop(domain.id, None)
        task = asyncio.create_task(self._check(domain))
        self._tasks[domain.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(domain.id, None))
        await asyncio.wait([task], timeout=wait_s)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _check(self, domain: Domain) -> None:
        try:
            async with self._queue:
                found = await check_process.check_domain(self._settings, domain.name)
            await asyncio.to_thread(check_results.keep, self._store, domain, found)
        except UnderstudyError as error:
            self._failed[domain.id] = str(error)
        except Exception:  # a defect, or an error from SQLite
            log.exception("the pairs of %s could not be checked", domain.name)
            self._failed[domain.id] = "The check failed; the server log has the details."
