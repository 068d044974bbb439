"""The clock of the rate limits and the daily digest. Tests replace it."""

import asyncio
import time
from datetime import datetime


class Clock:
    def now(self) -> float:
        """Monotonic time in seconds, from an arbitrary start."""
        return time.monotonic()

    def local(self) -> datetime:
        """Date and time in this machine's time zone."""
        return datetime.now().astimezone()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait until `event` is set, but no longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
