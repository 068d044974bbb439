"""Sends an answer while it is written, to a caller who may disconnect at any moment.

- The status is sent only after the engine's first word, so that an earlier error keeps its status.
- Headers name the adapter that answered and, for a fallback, the adapter that should have answered.
- A caller who disconnects, streaming or not, cancels the answer and the engine's work.
- A stream that is interrupted ends with an error event and without the mark of completion.
- A caller who stops reading delays nobody else, and is dropped after the answer's time limit.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from starlette.types import Receive, Scope, Send

from bot.answering.events import Ended, Started
from bot.api import problems
from data.store.errors import Invalid

log = logging.getLogger(__name__)
T = TypeVar("T")
D = TypeVar("D")
D_contra = TypeVar("D_contra", contravariant=True)
GRACE_S = 5  # how long a reader may take after the answer's time limit
BODY_TIMEOUT_S = 30


class CallerDisconnected(Exception):
    """The caller closed the connection, so no response can be sent."""


class Encoder(Protocol[D_contra]):
    """Encodes the events of an answer for the wire. `D_contra`: what comes between its start and
    its end."""

    content_type: bytes

    def begin(self, started: Started) -> bytes: ...
    def delta(self, delta: D_contra, /) -> bytes: ...
    def end(self, ended: Ended) -> bytes: ...
    def error(self, problem: problems.Problem) -> bytes: ...


async def body(receive: Receive) -> bytes:
    """The complete body of a request. Raises CallerDisconnected, or Invalid when the body does not
    arrive in time."""
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise CallerDisconnected
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise Invalid("The request body did not arrive in time.") from None


def adapter_headers(started: Started) -> list[tuple[bytes, bytes]]:
    """The headers that name the adapter, if one writes the answer, and the one that could not."""
    headers = []
    if started.adapter:
        headers.append((b"x-understudy-adapter", started.adapter.encode()))
    if started.instead_of is not None:
        headers.append((b"x-understudy-instead-of", started.instead_of.encode()))
    return headers


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Run `work`; if the caller disconnects first, cancel it and raise CallerDisconnected.

    Read the request body before calling this."""
    task = asyncio.create_task(work)
    disconnect = asyncio.create_task(_wait_for_disconnect(receive))
    try:
        await asyncio.wait({task, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise CallerDisconnected
    finally:
        disconnect.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def stream(
    scope: Scope,
    send: Send,
    events: AsyncGenerator[Started | D | Ended, None],
    encoder: Encoder[D],
    limit_s: float,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Send an answer while it is written. Only errors before the first word are raised. `headers`:
    more headers of the response."""
    try:
        async with contextlib.aclosing(events), asyncio.timeout(limit_s + GRACE_S):
            await _pump(scope, send, events, encoder, headers)
    except TimeoutError:
        log.warning("The caller stopped reading; the answer was cancelled")


async def _pump(
    scope: Scope,
    send: Send,
    events: AsyncGenerator[Started | D | Ended, None],
    encoder: Encoder[D],
    headers: Sequence[tuple[bytes, bytes]],
) -> None:
    started = await anext(events)
    event = await anext(events)  # decides the status
    if not isinstance(started, Started):
        raise TypeError(f"an answer began with {started!r}")
    await send(_head(encoder, started, headers))
    await send(_part(encoder.begin(started)))
    try:
        while not isinstance(event, Ended | Started):
            await send(_part(encoder.delta(event)))
            event = await anext(events)
        if not isinstance(event, Ended):
            raise TypeError(f"an answer ended with {event!r}")  # noqa: TRY301
        last = encoder.end(event)
    except Exception as error:
        problem = problems.problem_of(error)
        if problem is None:
            log.exception("An answer failed while it was being sent")
            problem = problems.unexpected(_id(scope))
        last = encoder.error(problem)
    await send({"type": "http.response.body", "body": last, "more_body": False})


def _id(scope: Scope) -> str:
    return str(scope["state"]["request_id"])


def _head(
    encoder: Encoder[D], started: Started, more: Sequence[tuple[bytes, bytes]]
) -> dict[str, Any]:
    headers = [
        (b"content-type", encoder.content_type),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),  # tells proxies not to buffer the stream
        *adapter_headers(started),
        *more,
    ]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _part(data: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
