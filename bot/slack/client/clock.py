"""The time that Slack's limits and the daily digest are kept by. Tests hand in one of their own."""

import asyncio
import time
from datetime import datetime


class Clock:
    def now(self) -> float:
        """Seconds, from an arbitrary beginning."""
        return time.monotonic()

    def local(self) -> datetime:
        """The date and time of day where this machine is."""
        return datetime.now().astimezone()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Until `event` is set, but no longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
