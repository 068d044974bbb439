"""Retrying what may fail for a moment: exponential backoff with a limit of attempts or of time.

`retry` calls a function, `retry_async` a coroutine function. Both pass the number of the attempt,
from 0, and raise the last error when they give up.
"""

import asyncio
import itertools
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
Errors = type[Exception] | tuple[type[Exception], ...]
OnError = Callable[[Exception, int], None]


@dataclass(frozen=True)
class Backoff:
    """Pauses between attempts: `first_s`, then `growth` times longer each, up to `longest_s`."""

    attempts: int | None = None  # in all; None: no limit
    first_s: float = 1.0
    growth: float = 2.0
    longest_s: float = math.inf
    deadline_s: float = math.inf  # since the first attempt; no attempt begins later

    def pause_s(self, attempt: int) -> float:
        """The pause after attempt number `attempt`, from 0."""
        try:
            return min(self.first_s * self.growth**attempt, self.longest_s)
        except OverflowError:
            return self.longest_s

    def pauses(self, clock: Callable[[], float] = time.monotonic) -> Iterator[float]:
        """The pauses that are due, one after each failed attempt; ends when it is time to give
        up."""
        began = clock()
        for attempt in itertools.count():
            pause = self.pause_s(attempt)
            if self.attempts is not None and attempt + 1 >= self.attempts:
                return
            if clock() + pause - began > self.deadline_s:
                return
            yield pause


def retry(
    attempt: Callable[[int], T],
    backoff: Backoff,
    *,
    on: Errors,
    on_error: OnError = lambda error, number: None,
    sleep: Callable[[float], Any] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Call `attempt` until it raises none of the errors `on`; returns its result.

    `on_error` is called after each failed attempt and may raise an error to stop at once. Raises
    the error of the last attempt when `backoff` allows no further one."""
    pauses = backoff.pauses(clock)
    for number in itertools.count():
        try:
            return attempt(number)
        except on as error:
            on_error(error, number)
            pause = next(pauses, None)
            if pause is None:
                raise
        sleep(pause)
    raise AssertionError("unreachable")


async def retry_async(
    attempt: Callable[[int], Awaitable[T]],
    backoff: Backoff,
    *,
    on: Errors,
    on_error: OnError = lambda error, number: None,
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """As `retry`, for a coroutine function."""
    pauses = backoff.pauses(clock)
    for number in itertools.count():
        try:
            return await attempt(number)
        except on as error:
            on_error(error, number)
            pause = next(pauses, None)
            if pause is None:
                raise
        await sleep(pause)
    raise AssertionError("unreachable")
