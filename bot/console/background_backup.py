"""A backup that is written while people go on using the console, one at a time."""

import asyncio
import logging
from pathlib import Path

from bot.service import Service
from data import backups
from data.store import audit
from data.store.errors import Conflict, UnderstudyError

log = logging.getLogger(__name__)


class BackgroundBackup:
    """Use it from one event loop."""

    def __init__(self) -> None:
        self.problem = ""  # why the last one failed
        self.missing: tuple[str, ...] = ()  # adapters without a folder, as sentences
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def begin(self, service: Service, file: Path, actor: str) -> None:
        """Raises Conflict while one is being written."""
        if self.running:
            raise Conflict("A backup is being written. Wait until it is complete.")
        self._task = asyncio.create_task(self._write(service, file, actor))

    async def finished(self) -> None:
        """Wait until none is being written."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _write(self, service: Service, file: Path, actor: str) -> None:
        self.problem, self.missing = "", ()
        try:
            await asyncio.to_thread(file.parent.mkdir, mode=0o700, exist_ok=True)
            written = await asyncio.to_thread(backups.write, service.store, service.settings, file)
            self.missing = written.missing
            await service.store.submit(
                lambda db: audit.record(db, actor, "backup", file.name, bytes=written.size)
            )
        except (UnderstudyError, OSError) as error:
            log.warning("The backup failed: %s", error)
            self.problem = str(error)
        except Exception:  # a defect, or an error from SQLite
            log.exception("The backup failed")
            self.problem = "The backup failed; the server log has the details."
