"""Keeps track of the tasks that run after an acknowledgement, so that none is lost.

The event loop keeps only weak references to tasks, and Bolt keeps none. Without this registry, a
task could be garbage-collected half-way, and a shutdown would interrupt all of them.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


class BackgroundTasks:
    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """How many tasks are running."""
        return len(self._running)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` as a task. An exception that it raises is logged as a bug."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def drain(self, grace_s: float) -> None:
        """Wait for the running tasks. After `grace_s` seconds, cancel the rest and wait for
        them."""
        deadline = asyncio.get_running_loop().time() + grace_s
        while self._running:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await asyncio.wait(self._running, timeout=left)
        for task in self._running:
            task.cancel()
        while self._running:
            await asyncio.wait(self._running)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)
