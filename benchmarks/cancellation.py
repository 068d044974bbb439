"""How soon the engine stops generating for a caller who disconnects.

    python benchmarks/cancellation.py

Runs the whole service in a folder of its own. One person at a time asks for a long answer over
HTTP, streamed or whole, from an adapter that never stops on its own, and closes the connection in
the middle of it. The benchmark measures the time until vLLM reports no running request. The exit
code is 1 if the slowest of a hundred takes half a second or more.
"""

import argparse
import asyncio
import random
import re
import tempfile
import time
from pathlib import Path

import aiohttp
import report
import rolling
import service
from load import Client
from service import Service

LIMIT_S = 0.5
TOKENS = 600
POLL_S = 0.005


async def running(session: aiohttp.ClientSession, url: str) -> float:
    """Requests that vLLM is answering."""
    async with session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    found = re.findall(r"^vllm:num_requests_running{.*} (\S+)$", text, re.MULTILINE)
    return sum(float(number) for number in found)


async def until(session: aiohttp.ClientSession, url: str, count: int) -> None:
    while await running(session, url) != count:
        await asyncio.sleep(POLL_S)


async def leave(subject: Service, model: str, *, stream: bool) -> float:
    """Ask and disconnect in the middle; returns the seconds until the engine runs nothing."""
    (replica,) = subject.ready()
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Why?"}],
        "max_tokens": TOKENS,
        "stream": stream,
    }
    headers = {"Authorization": f"Bearer {subject.key}"}
    async with aiohttp.ClientSession() as watch:
        async with aiohttp.ClientSession(headers=headers) as person:
            url = f"{subject.url}/v1/chat/completions"
            asking = asyncio.ensure_future(person.post(url, json=body))
            await until(watch, replica.url, 1)
            await asyncio.sleep(random.uniform(0, 0.2))
            left = time.perf_counter()
            if asking.done():
                asking.result().close()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        await until(watch, replica.url, 0)
    return time.perf_counter() - left


async def measure(subject: Service, rounds: int) -> dict[str, list[float]]:
    async with Client(subject.url, subject.key) as client:
        model = await rolling.endless(subject, client)
    found: dict[str, list[float]] = {"streamed": [], "whole": []}
    for _ in range(rounds):
        for kind, seconds in found.items():
            seconds.append(await leave(subject, model, stream=kind == "streamed"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        service.running(Path(folder).resolve(), max_tokens=TOKENS) as subject,
    ):
        found = asyncio.run(measure(subject, options.rounds))
    report.table(
        ("answer", "p50, ms", "p99, ms", "slowest, ms"),
        [
            (kind, *(1000 * report.percentile(seconds, share) for share in (0.5, 0.99, 1.0)))
            for kind, seconds in found.items()
        ],
    )
    slowest = max(second for seconds in found.values() for second in seconds)
    report.finish(
        benchmark="cancellation",
        rounds=options.rounds,
        streamed_p50_ms=round(1000 * report.median(found["streamed"]), 1),
        whole_p50_ms=round(1000 * report.median(found["whole"]), 1),
        slowest_ms=round(1000 * slowest, 1),
    )
    raise SystemExit(0 if slowest < LIMIT_S else 1)


if __name__ == "__main__":
    main()
