"""Bounds for browsers that nobody signed in to: the questions of an address.

A session costs nothing, so an address gets a number of questions an hour, whatever its sessions.
Members and keys are not counted here; `bot/answering/admission.py` shares the engines between all,
and `bot/answering/storage_bounds.py` bounds what is stored.
"""

import time

from bot.answering.admission import TooBusy
from data.conversations import web_allowances
from data.people.identities import address_block
from data.store.db import Store


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
    """Counts questions in the store, for all bot processes. Use it from one event loop."""

    def __init__(self, store: Store, per_hour: int) -> None:
        """`per_hour` questions of an address."""
        self._store = store
        self._per_hour = per_hour
        self._refused: dict[str, float] = {}  # address -> until when; these are not looked up

    async def admit(self, address: str) -> None:
        """Count a question. Raises TooManyQuestions."""
        block, now = address_block(address), time.monotonic()
        until = self._refused.pop(block, 0.0)
        if until <= now:
            per_hour = self._per_hour
            waiting = await self._store.submit(lambda db: web_allowances.take(db, block, per_hour))
            if waiting == 0:
                return
            until = now + waiting / 1e6
        self._refused[block] = until
        if len(self._refused) > web_allowances.MAX_ADDRESSES:
            del self._refused[next(iter(self._refused))]
        raise TooManyQuestions(int(until - now) + 1)
