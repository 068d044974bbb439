"""Retrying: the number of attempts, the pauses between them, and the final error."""

import asyncio
import itertools
from collections.abc import Callable

import pytest

from data.retry import Backoff, retry, retry_async

FEW = Backoff(attempts=4, first_s=1.0, longest_s=3.0)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


class Flaky:
    """Fails so many times before it succeeds."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.seen: list[int] = []

    def __call__(self, number: int) -> str:
        self.seen.append(number)
        if number < self.failures:
            raise ConnectionError(f"attempt {number}")
        return "done"

    async def call_async(self, number: int) -> str:
        return self(number)


Call = Callable[..., str]


def call(flaky: Flaky, backoff: Backoff, clock: Clock, **more: object) -> str:
    return retry(flaky, backoff, on=ConnectionError, sleep=clock.sleep, clock=clock, **more)  # type: ignore[arg-type]


def call_async(flaky: Flaky, backoff: Backoff, clock: Clock, **more: object) -> str:
    return asyncio.run(
        retry_async(
            flaky.call_async, backoff, on=ConnectionError, sleep=clock.sleep_async, clock=clock,
            **more,  # type: ignore[arg-type]
        )
    )  # fmt: skip


both = pytest.mark.parametrize("call", [call, call_async])


@both
def test_the_first_success_is_returned_without_a_pause(call: Call) -> None:
    flaky, clock = Flaky(0), Clock()
    assert call(flaky, FEW, clock) == "done"
    assert (flaky.seen, clock.slept) == ([0], [])


@both
def test_pauses_grow_up_to_the_longest(call: Call) -> None:
    flaky, clock = Flaky(3), Clock()
    assert call(flaky, FEW, clock) == "done"
    assert (flaky.seen, clock.slept) == ([0, 1, 2, 3], [1.0, 2.0, 3.0])


@both
def test_the_last_error_is_raised_when_the_attempts_are_used_up(call: Call) -> None:
    flaky, clock = Flaky(9), Clock()
    with pytest.raises(ConnectionError, match="attempt 3"):
        call(flaky, FEW, clock)
    assert clock.slept == [1.0, 2.0, 3.0], "no pause after the last attempt"


@both
def test_no_attempt_begins_after_the_deadline(call: Call) -> None:
    flaky, clock = Flaky(9), Clock()
    with pytest.raises(ConnectionError, match="attempt 2"):
        call(flaky, Backoff(first_s=1.0, deadline_s=3.0), clock)
    assert clock.slept == [1.0, 2.0], "an attempt at the deadline still counts"


@both
def test_errors_of_another_kind_are_raised_at_once(call: Call) -> None:
    class Wrong(Flaky):
        def __call__(self, number: int) -> str:
            raise KeyError(number)

    clock = Clock()
    with pytest.raises(KeyError):
        call(Wrong(0), FEW, clock)
    assert clock.slept == []


@both
def test_on_error_sees_every_failure_and_may_stop(call: Call) -> None:
    seen: list[tuple[str, int]] = []

    def stop_at_second(error: Exception, number: int) -> None:
        seen.append((str(error), number))
        if number == 1:
            raise TimeoutError("enough")

    flaky, clock = Flaky(9), Clock()
    with pytest.raises(TimeoutError, match="enough"):
        call(flaky, FEW, clock, on_error=stop_at_second)
    assert seen == [("attempt 0", 0), ("attempt 1", 1)]
    assert clock.slept == [1.0]


def test_without_a_limit_the_pauses_continue_at_the_longest() -> None:
    pauses = Backoff(first_s=1.0, longest_s=30.0).pauses()
    assert list(itertools.islice(pauses, 5000))[-1] == 30.0
