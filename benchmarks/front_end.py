"""What the bot adds to asking the engine directly: time to an answer, and CPU.

    python benchmarks/front_end.py

A small fake vLLM answers at once, so the bot is what is measured. The same request goes in turn to
the fake and to `understudy bot` in front of it, over one connection each. Answers are recorded in
the store as usual (an answer is given after its commit). CPU is that of the bot's process alone.
Then CONCURRENT requests at once give the number of requests per core-second of the bot.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from data import domains
from data.adapters import placements
from data.adapters.registry import BASE_SERVED_NAME
from data.people import keys
from data.store.db import Store
from tests.conftest import free_port

REQUESTS = 400
WARM_UP = 50
CONCURRENT = 32
MESSAGES = [{"role": "user", "content": "How do I start a retrain?"}]
ENGINE = """
import threading
from tests.serving.fake_vllm import FakeVllm, running
with running(FakeVllm()) as fake:
    print(fake.url, flush=True)
    threading.Event().wait()
"""


async def ask(session: aiohttp.ClientSession, url: str, body: bytes, key: str) -> float:
    """Milliseconds until the whole answer was read."""
    began = time.perf_counter()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with session.post(url, data=body, headers=headers) as response:
        content = await response.read()
        if response.status != 200:
            raise SystemExit(f"{url} answered {response.status}: {content[:300]!r}")
    return (time.perf_counter() - began) * 1000


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def side_by_side(
    session: aiohttp.ClientSession, engine: str, bot: str, key: str, pid: int, stream: bool
) -> dict[str, float]:
    """The same question to both in turn; what the bot adds, in milliseconds, and its CPU."""
    direct = {"model": BASE_SERVED_NAME, "messages": MESSAGES, "stream": True}
    ours = {"model": "bench", "messages": MESSAGES, "stream": stream}
    bodies = orjson.dumps(direct), orjson.dumps(ours)
    alone: list[float] = []
    through: list[float] = []
    used = 0.0
    for number in range(WARM_UP + REQUESTS):
        if number == WARM_UP:
            used = cpu_s(pid)
            alone.clear()
            through.clear()
        alone.append(await ask(session, engine, bodies[0], key))
        through.append(await ask(session, bot, bodies[1], key))
    return {
        "p50": report.median(through) - report.median(alone),
        "p99": report.percentile(through, 0.99) - report.percentile(alone, 0.99),
        "ratio": report.median(through) / report.median(alone),
        "cpu_us": (cpu_s(pid) - used) / REQUESTS * 1e6,
    }


async def at_once(session: aiohttp.ClientSession, bot: str, key: str, pid: int) -> float:
    """Requests per core-second of the bot with CONCURRENT of them in flight."""
    body = orjson.dumps({"model": "bench", "messages": MESSAGES})
    used, left = cpu_s(pid), iter(range(REQUESTS * 4))

    async def worker() -> None:
        for _ in left:
            await ask(session, bot, body, key)

    await asyncio.gather(*(worker() for _ in range(CONCURRENT)))
    return REQUESTS * 4 / (cpu_s(pid) - used)


async def beat_until_cancelled(store: Store, url: str) -> None:
    """Report the fake engine as ready, as `understudy serve` would."""
    while True:
        with store.write() as db:
            placements.record_heartbeat(db, "local", url, "pocket", "ready")
        await asyncio.sleep(3)


@contextlib.asynccontextmanager
async def everything(home: Path) -> AsyncIterator[tuple[str, str, str, int]]:
    """Run the fake engine and the bot; yields both chat URLs, a key and the bot's process id."""
    port = free_port()
    (home / "understudy.toml").write_text(f'[bot]\nport = {port}\n[answers]\nmode = "adapter"\n')
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert engine.stdout is not None
    url = engine.stdout.readline().strip()
    with Store(home / "understudy.db") as store:
        with store.write() as db:
            domains.create(db, "bench", system_prompt="Answer briefly.")
            _, key = keys.create(db, "bench", "member", "cli:bench")
        beats = asyncio.create_task(beat_until_cancelled(store, url))
        bot = subprocess.Popen(
            [sys.executable, "-m", "bot", "bot"],
            env={**os.environ, "UNDERSTUDY_CONFIG": str(home / "understudy.toml")},
        )
        try:
            await healthy(f"http://127.0.0.1:{port}/health", bot)
            chat = "/v1/chat/completions"
            yield f"{url}{chat}", f"http://127.0.0.1:{port}{chat}", key, bot.pid
        finally:
            beats.cancel()
            bot.terminate()
            bot.wait()
            engine.kill()
            engine.wait()


async def healthy(url: str, bot: "subprocess.Popen[bytes]") -> None:
    async with aiohttp.ClientSession() as session:
        while bot.poll() is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise SystemExit("The bot did not start.")


async def main() -> None:
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home:
        async with (
            everything(Path(home)) as (engine, bot, key, pid),
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):
            for name, stream in (("whole", False), ("streamed", True)):
                figures[name] = await side_by_side(session, engine, bot, key, pid, stream)
            per_core = await at_once(session, bot, key, pid)
    report.table(
        ("answer", "added p50, ms", "added p99, ms", "times direct, p50", "CPU, us"),
        [(name, f["p50"], f["p99"], f["ratio"], f["cpu_us"]) for name, f in figures.items()],
    )
    print(f"\nRequests per core-second of the bot, {CONCURRENT} at once: {per_core:.0f}")
    report.finish(
        benchmark="front_end",
        requests=REQUESTS,
        added_p50_ms=round(figures["whole"]["p50"], 3),
        added_p99_ms=round(figures["whole"]["p99"], 3),
        streamed_added_p50_ms=round(figures["streamed"]["p50"], 3),
        cpu_us=round(figures["whole"]["cpu_us"]),
        per_core_second=round(per_core),
    )


if __name__ == "__main__":
    asyncio.run(main())
