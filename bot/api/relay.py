"""Passing an answer on, as it is written, to a caller who may leave at any moment.

- The status is sent after the engine's first word, so an error keeps its own status.
- Headers say which adapter answered, and in whose place.
- A caller who leaves, streaming or not, cancels the answer and with it the engine's work.
- An answer that breaks off ends with an error in the stream, and without the mark of a whole one.
- A reader who stops reading holds up nobody else, and only until the answer's time is over.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Protocol, TypeVar

from starlette.types import Receive, Scope, Send

from bot.answering.chat import Delta, Ended, Event, Started
from bot.api import problems
from data.store.errors import Invalid, Unavailable

log = logging.getLogger(__name__)
T = TypeVar("T")
GRACE_S = 5  # a reader has so long after the answer's own time limit
BODY_TIMEOUT_S = 30


class CallerGone(Exception):
    """The caller closed the connection; nobody is left to tell."""


class Encoder(Protocol):
    """How the events of an answer look on the wire."""

    content_type: bytes

    def begin(self, started: Started) -> bytes: ...
    def delta(self, text: str) -> bytes: ...
    def end(self, ended: Ended) -> bytes: ...
    def error(self, problem: problems.Problem) -> bytes: ...


async def body(receive: Receive) -> bytes:
    """The whole body of a request. Raises CallerGone; Invalid when it does not arrive."""
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise CallerGone
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise Invalid("The body of the request did not arrive.") from None


def who_answered(started: Started) -> list[tuple[bytes, bytes]]:
    """The headers that say it."""
    named = [(b"x-understudy-adapter", started.adapter.encode())]
    if started.instead_of is not None:
        named.append((b"x-understudy-instead-of", started.instead_of.encode()))
    return named


async def whole(events: AsyncGenerator[Event, None]) -> tuple[Started, str, Ended]:
    """Wait for the complete answer."""
    started: Started | None = None
    text: list[str] = []
    async with contextlib.aclosing(events):
        async for event in events:
            match event:
                case Started():
                    started = event
                case Delta():
                    text.append(event.text)
                case Ended() if started is not None:
                    return started, "".join(text), event
    raise Unavailable("The answer has no end. Please ask again.")


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do `work`, or cancel it and raise CallerGone when the caller leaves first.

    The body must have been read."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise CallerGone
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def stream(
    scope: Scope,
    send: Send,
    events: AsyncGenerator[Event, None],
    encoder: Encoder,
    limit_s: float,
) -> None:
    """Send an answer as it is written. Raises what goes wrong before the first word only."""
    try:
        async with contextlib.aclosing(events), asyncio.timeout(limit_s + GRACE_S):
            await _pump(scope, send, events, encoder)
    except TimeoutError:
        log.warning("%s: the reader stopped reading; its answer was given up", _id(scope))


async def _pump(
    scope: Scope, send: Send, events: AsyncGenerator[Event, None], encoder: Encoder
) -> None:
    started = await anext(events)
    event = await anext(events)  # decides the status
    if not isinstance(started, Started):
        raise TypeError(f"an answer began with {started!r}")
    await send(_head(encoder, started))
    await send(_part(encoder.begin(started)))
    try:
        while isinstance(event, Delta):
            await send(_part(encoder.delta(event.text)))
            event = await anext(events)
        if not isinstance(event, Ended):
            raise TypeError(f"an answer ended with {event!r}")  # noqa: TRY301
        last = encoder.end(event)
    except Exception as error:
        problem = problems.problem_of(error)
        if problem is None:
            log.exception("%s: an answer failed while it was sent", _id(scope))
            problem = problems.unexpected(_id(scope))
        last = encoder.error(problem)
    await send({"type": "http.response.body", "body": last, "more_body": False})


def _id(scope: Scope) -> str:
    return str(scope["state"]["request_id"])


def _head(encoder: Encoder, started: Started) -> dict[str, Any]:
    headers = [
        (b"content-type", encoder.content_type),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),  # a proxy in front must not collect it
        *who_answered(started),
    ]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _part(data: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
