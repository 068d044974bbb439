"""Bounds for how much is asked and written in an hour: by an address in the web chat, and by a key.

A session costs nothing, so an address gets a number of questions an hour, whatever its sessions,
and ten times as many other writes: feedback, and changes to what is kept of a person. A key gets a
number of such writes too, whatever its users. A long text counts as several writes. Members of a
workspace are not counted here. `bot/answering/admission.py` shares the engines between all, and
`bot/answering/storage_bounds.py` bounds what is stored.
"""

import time
from typing import Annotated, Literal

from fastapi import Depends
from starlette.requests import Request

from bot.answering.admission import TooBusy
from bot.api import auth
from data.config.settings import BotSettings
from data.conversations import web_allowances
from data.people.identities import address_block
from data.people.keys import Key
from data.store.db import Store

WRITES_EACH = 10  # for each question: two thumbs, a reason, a correction and a few changes of mind
WRITE_BYTES = 1024  # of a body; each further 1,024 count as another write
Use = Literal["questions", "writes", "key"]


class TooMany(TooBusy):
    """Too much was asked or written in the last hour."""

    def __init__(self, use: Use, retry_after: int) -> None:
        super().__init__(retry_after)
        minutes = -(-retry_after // 60)
        when = "in a minute" if minutes == 1 else f"in {minutes} minutes"
        self.args = (
            f"Too many requests came with this key. Try again {when}."
            if use == "key"
            else f"Too many {'questions' if use == 'questions' else 'requests'} came from your "
            f"network. Try again {when}, or use an API key.",
        )


class RateBounds:
    """Counts in the store, for all bot processes. Use it from one event loop."""

    def __init__(self, store: Store, questions: int, key_writes: int) -> None:
        """`questions` of an address and `key_writes` of a key, an hour."""
        self._store = store
        self._per_hour = {
            "questions": questions,
            "writes": questions * WRITES_EACH,
            "key": key_writes,
        }
        self._refused: dict[tuple[str, str], float] = {}  # until when; these are not looked up

    @classmethod
    def of(cls, store: Store, settings: BotSettings) -> "RateBounds":
        return cls(store, settings.web_questions_per_hour, settings.key_writes_per_hour)

    async def question(self, address: str) -> None:
        """Count a question of the web chat. Raises TooMany."""
        await self._count("questions", address_block(address))

    async def write(self, address: str, size: int = 0) -> None:
        """Count a body of `size` bytes that a browser sent. Raises TooMany."""
        await self._count("writes", address_block(address), size)

    async def key_write(self, key_id: int, size: int = 0) -> None:
        """Count a body of `size` bytes that was sent with a key. Raises TooMany."""
        await self._count("key", str(key_id), size)

    async def _count(self, use: Use, who: str, size: int = 0) -> None:
        now = time.monotonic()
        until = self._refused.pop((use, who), 0.0)
        if until <= now:
            per_hour = self._per_hour[use]
            cost = min(per_hour, max(1, -(-size // WRITE_BYTES)))
            waiting = await self._store.submit(
                lambda db: web_allowances.take(db, use, who, per_hour, cost)
            )
            if waiting == 0:
                return
            until = now + waiting / 1e6
            if cost > 1:  # a shorter text may still be written
                raise TooMany(use, int(until - now) + 1)
        self._refused[use, who] = until
        if len(self._refused) > web_allowances.MAX_ADDRESSES:
            del self._refused[next(iter(self._refused))]
        raise TooMany(use, int(until - now) + 1)


async def bound_writes(request: Request, _: Annotated[str, Depends(auth.visitor)]) -> None:
    """A dependency of routes for browsers: count the request if it writes. It is counted only for
    this service's own pages, so that no other site can use up a visitor's share."""
    if request.method != "GET":
        bounds: RateBounds = request.app.state.rate_bounds
        await bounds.write(auth.client_address(request), len(await request.body()))


async def bound_key_writes(request: Request, key: Annotated[Key, Depends(auth.member)]) -> None:
    """A dependency of routes for members' keys: count the request if it writes."""
    if request.method != "GET":
        bounds: RateBounds = request.app.state.rate_bounds
        await bounds.key_write(key.id, len(await request.body()))
