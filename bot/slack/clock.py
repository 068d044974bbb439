"""The time that Slack's limits are kept by. Tests hand in one that runs faster."""

import asyncio
import time


class Clock:
    def now(self) -> float:
        """Seconds, from an arbitrary beginning."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Until `event` is set, but no longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
