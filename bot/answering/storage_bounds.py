"""Bounds for what is stored: the questions, answers and feedback of browsers, and of API keys.

Neither can fill the disk, and what one of them stores leaves the other its room. Members of a
workspace have no bound of their own; if the disk is full, answers are refused, and there is an
alert before. The totals are those of the store, so they hold for all bot processes together.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from data.conversations.stored_bytes import Newest, stored_bytes
from data.store.db import Store
from data.store.errors import Unavailable

MIB = 1 << 20
LOOK_EVERY_S = 10.0  # for what is new
RECOUNT_EVERY_S = 3_600.0  # because of what was erased


@dataclass(frozen=True)
class StorageBound:
    mib: int
    who: str
    setting: str


class StorageBounds:
    """Use it from one event loop."""

    def __init__(self, store: Store, web_mib: int, key_mib: int) -> None:
        self._store = store
        self._bounds = {
            "web": StorageBound(web_mib, "The web chat has", "web_storage_mib"),
            "http": StorageBound(key_mib, "The API keys have", "key_storage_mib"),
        }
        self._stored: Counter[str] = Counter()
        self._newest = Newest()
        self._looked_at = self._counted_at = -RECOUNT_EVERY_S
        self._looking = asyncio.Lock()

    async def check(self, person: str) -> None:
        """Raises Unavailable if people of this kind have stored as much as they may."""
        kind = person.partition(":")[0]
        bound = self._bounds.get(kind)
        if bound is None:
            return
        await self._look()
        if self._stored[kind] > bound.mib * MIB:
            raise Unavailable(
                f"{bound.who} stored as many questions, answers and corrections as the operator "
                f"allows. The operator can raise [bot] {bound.setting}, or erase old "
                "conversations with `understudy forget`."
            )

    async def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            if self._counted_at < 0:  # whoever asks during the first count waits for it
                async with self._looking:
                    pass
            return
        self._looked_at = now
        recount = now - self._counted_at >= RECOUNT_EVERY_S
        after = Newest() if recount else self._newest
        async with self._looking:
            found, newest = await self._store.read(lambda db: stored_bytes(db, after))
        if recount:
            self._counted_at, self._stored = now, found
        else:
            self._stored.update(found)
        self._newest = newest
