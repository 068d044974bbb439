"""Bounds for browsers that nobody signed in to: questions of an address, and stored text.

A session costs nothing, so an address gets a number of questions an hour, whatever its sessions.
Members and keys are not counted here; `bot/answering/admission.py` shares the engines between all.
"""

import time

from sqlite_utils import Database

from bot.answering.admission import TooBusy
from data.conversations import conversations
from data.people.identities import address_block
from data.store.db import Store
from data.store.errors import Unavailable

HOUR_S = 3600.0
MAX_ADDRESSES = 10_000  # that are remembered
LOOK_EVERY_S = 60.0
MIB = 1 << 20


class TooManyQuestions(TooBusy):
    """An address has asked too much in the last hour."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        minutes = -(-retry_after // 60)
        self.args = (
            f"Too many questions came from your network. Try again in {minutes} minutes, or use "
            "an API key.",
        )


class WebBounds:
    """The counts of one bot process. Use it from one event loop."""

    def __init__(self, store: Store, per_hour: int, storage_mib: int) -> None:
        """`per_hour` questions of an address; `storage_mib` MiB of questions of all browsers."""
        self._store = store
        self._per_hour = per_hour
        self._storage = storage_mib * MIB
        self._stored = 0
        self._looked_at = -LOOK_EVERY_S
        self._left: dict[str, tuple[float, float]] = {}  # address -> questions left, as of when

    async def admit(self, address: str) -> None:
        """Count a question. Raises TooManyQuestions, or Unavailable if the web chat is full."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._stored = await self._store.read(_stored_bytes)
        if self._stored > self._storage:
            raise Unavailable(
                "The web chat has stored as much as its operator allows. The operator can raise "
                "[bot] web_storage_mib, or erase old conversations with `understudy forget`."
            )
        block = address_block(address)
        left, since = self._left.pop(block, (float(self._per_hour), now))
        left = min(self._per_hour, left + (now - since) * self._per_hour / HOUR_S)
        self._left[block] = (left - 1 if left >= 1 else left), now
        if len(self._left) > MAX_ADDRESSES:
            del self._left[next(iter(self._left))]
        if left < 1:
            raise TooManyQuestions(int((1 - left) * HOUR_S / self._per_hour) + 1)


def _stored_bytes(db: Database) -> int:
    return conversations.stored_characters(db, "web")
