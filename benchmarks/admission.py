"""How long one greedy person makes everyone else wait: taking turns or first come, first served.

    python benchmarks/admission.py

Uses the bot's admission with simulated answers: PLACES at once, each 50 to 200 ms. One person keeps
GREEDY questions open all the time; PEOPLE others ask one question per second each. The table shows
how long these others wait, and the same with a plain queue in order of arrival, in one run.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from bot.answering.admission import Admission

PLACES = 16
GREEDY = 200
PEOPLE = 20
SECONDS = 15.0
ANSWER_S = (0.05, 0.2)

Place = Callable[[str], contextlib.AbstractAsyncContextManager[None]]


def by_turns() -> Place:
    admission = Admission(PLACES, 10 * GREEDY)

    @contextlib.asynccontextmanager
    async def place(person: str) -> AsyncIterator[None]:
        replica, began = await admission.enter(person, ["engine"]), time.perf_counter()
        try:
            yield
        finally:
            admission.leave(person, replica, time.perf_counter() - began)

    return place


def by_arrival() -> Place:
    places = asyncio.Semaphore(PLACES)

    @contextlib.asynccontextmanager
    async def place(_: str) -> AsyncIterator[None]:
        async with places:
            yield

    return place


async def waits(place: Place) -> tuple[list[float], int]:
    """How many seconds ordinary people waited, and how many answers the greedy person got."""
    draw, waited, got = random.Random(0), [], 0
    end = time.monotonic() + SECONDS

    async def ask(person: str) -> None:
        began = time.perf_counter()
        async with place(person):
            if person != "greedy":
                waited.append(time.perf_counter() - began)
            await asyncio.sleep(draw.uniform(*ANSWER_S))

    async def greedy() -> None:
        nonlocal got
        while time.monotonic() < end:
            await ask("greedy")
            got += 1

    async def ordinary(number: int) -> None:
        await asyncio.sleep(draw.random())
        while time.monotonic() < end:
            await asyncio.gather(ask(f"p{number}"), asyncio.sleep(1.0))

    await asyncio.gather(*[greedy() for _ in range(GREEDY)], *[ordinary(i) for i in range(PEOPLE)])
    return waited, got


async def measure() -> None:
    found = {"by turns": await waits(by_turns()), "by arrival": await waits(by_arrival())}
    report.table(
        ("queue", "questions", "wait p50, ms", "wait p99, ms", "answers to the greedy one"),
        [
            (
                name,
                len(waited),
                1000 * report.median(waited),
                1000 * report.percentile(waited, 0.99),
                got,
            )
            for name, (waited, got) in found.items()
        ],
    )
    (turns, turns_got), (arrival, arrival_got) = found.values()
    report.finish(
        benchmark="admission",
        turns_p50_ms=round(1000 * report.median(turns), 2),
        turns_p99_ms=round(1000 * report.percentile(turns, 0.99), 2),
        arrival_p50_ms=round(1000 * report.median(arrival), 1),
        arrival_p99_ms=round(1000 * report.percentile(arrival, 0.99), 1),
        greedy_share=round(turns_got / arrival_got, 3),
    )


if __name__ == "__main__":
    asyncio.run(measure())
