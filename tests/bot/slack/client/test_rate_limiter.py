"""The rate limiter, with a clock that advances only while a caller sleeps."""

import asyncio

from bot.slack.client.clock import Clock
from bot.slack.client.rate_limiter import Limit, RateLimiter


class Asleep(Clock):
    """A clock that advances only in `sleep`."""

    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.at += seconds


def test_progress_leaves_the_reserve_to_finishing() -> None:
    clock = Asleep()
    limiter = RateLimiter({"chat.update": Limit(5, reserve=2)}, clock)
    assert [limiter.try_acquire("chat.update") for _ in range(5)] == [True] * 3 + [False] * 2
    assert all(limiter.try_acquire("users.info") for _ in range(100))
    clock.at += 62
    assert limiter.try_acquire("chat.update")


async def test_acquire_waits_and_never_exceeds_the_window() -> None:
    clock = Asleep()
    limiter = RateLimiter({"chat.update": Limit(3)}, clock)
    made: list[float] = []
    for _ in range(10):
        await limiter.acquire("chat.update")
        made.append(clock.at)
    for n in range(len(made) - 3):
        assert made[n + 3] - made[n] > 60


async def test_acquire_is_served_in_order_and_before_progress() -> None:
    clock = Asleep()
    limiter = RateLimiter({"chat.update": Limit(1)}, clock)
    order: list[int] = []

    async def finish(number: int) -> None:
        await limiter.acquire("chat.update")
        order.append(number)

    waiting = [asyncio.create_task(finish(n)) for n in range(4)]
    while len(order) < 3:
        await asyncio.sleep(0)
        clock.at += 30
        assert not limiter.try_acquire("chat.update")
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2, 3]


async def test_nobody_calls_before_the_retry_after_time() -> None:
    clock = Asleep()
    limiter = RateLimiter(clock=clock)
    limiter.block("chat.startStream", "C1", 30)
    assert not limiter.try_acquire("chat.startStream")
    before = clock.at
    await limiter.acquire("chat.startStream")
    assert clock.at >= before + 30


def test_posts_are_limited_per_channel() -> None:
    limiter = RateLimiter(clock=Asleep())
    assert [limiter.try_acquire("chat.postMessage", c) for c in ("C1", "C1", "C2")] == [
        True,
        False,
        True,
    ]


async def test_a_stream_starts_only_if_its_stop_call_fits_the_window() -> None:
    clock = Asleep()
    limiter = RateLimiter({"chat.startStream": Limit(20), "chat.stopStream": Limit(3)}, clock)
    assert [limiter.may_stream() for _ in range(4)] == [True, True, True, False]
    await limiter.acquire("chat.stopStream")
    limiter.stream_ended()
    assert not limiter.may_stream()
    clock.at += 62
    assert limiter.may_stream()


def test_a_message_is_updated_only_if_all_others_can_still_end() -> None:
    clock = Asleep()
    limiter = RateLimiter({"chat.update": Limit(6, reserve=2)}, clock)
    grown = [limiter.may_update(f"C{n}") for n in range(6)]
    assert grown == [True] * 4 + [False] * 2
    limiter.updates_ended()
    assert limiter.may_update("C9")


def test_more_open_streams_are_appended_to_less_often() -> None:
    limiter = RateLimiter(clock=Asleep())
    assert limiter.may_stream()
    alone = limiter.append_interval_s()
    assert limiter.may_stream()
    assert limiter.append_interval_s() == 2 * alone
    for _ in range(50):
        limiter.try_acquire("chat.appendStream")
    assert limiter.append_interval_s() == 4 * alone


def test_windows_of_idle_channels_are_dropped() -> None:
    clock = Asleep()
    limiter = RateLimiter(clock=clock)

    async def post() -> None:
        for number in range(1_500):
            await limiter.acquire("chat.postMessage", f"C{number}")
            clock.at += 2

    asyncio.run(post())
    assert len(limiter._locks) < 1_100
