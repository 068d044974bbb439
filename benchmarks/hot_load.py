"""What a hot load costs while people get answers, on the real engine.

    python benchmarks/hot_load.py

Two phases on one vLLM with the pocket model, with STREAMS answers streaming all the time: one phase
without loads, and one in which LOADS adapters are registered, loaded and retired one by one. The
table shows the load itself, the time from the registry's commit until the adapter can be routed to,
and the gaps between pieces of the running streams in both phases: their ratio is the cost.
"""

import asyncio
import contextlib
import sys
import tempfile
import threading
import time
from pathlib import Path

import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.adapters import placements
from data.adapters.registry import BASE_SERVED_NAME, Adapter
from data.config.settings import ServingSettings, Settings
from data.store.db import Store
from serving import serve
from serving.client import EngineClient, Sampling
from tests import adapter_maker
from tests.conftest import free_port

STREAMS = 4
LOADS = 30
PAUSE_S = 0.3
QUIET_S = 15.0


async def stream_until(done: asyncio.Event, url: str, gaps: list[float]) -> int:
    """Stream answers one after the other; collects the seconds between their pieces."""
    client, answers = EngineClient(), 0
    sampling = Sampling(max_tokens=60, temperature=1.0)
    messages = [{"role": "user", "content": "Tell me something."}]
    while not done.is_set():
        before = None
        stream = client.stream(url, BASE_SERVED_NAME, messages, sampling, f"bench-{answers}")
        async for _ in stream:
            now = time.perf_counter()
            if before is not None:
                gaps.append(now - before)
            before = now
        answers += 1
    await client.close()
    return answers


async def phase(url: str, work: "asyncio.Future[None]") -> tuple[list[float], int]:
    """Stream during `work`; returns the gaps and how many answers were complete."""
    gaps: list[float] = []
    done = asyncio.Event()
    streams = [asyncio.create_task(stream_until(done, url, gaps)) for _ in range(STREAMS)]
    await work
    done.set()
    return gaps, sum(await asyncio.gather(*streams))


def load_one(store: Store, settings: Settings, seed: int) -> tuple[float, float]:
    """Register one adapter and retire the previous one; milliseconds of the load and in total."""
    adapter = adapter_maker.register(store, settings, rank=32, seed=seed)
    began = time.perf_counter()
    with store.write() as db:
        db.execute("UPDATE adapters SET state = 'retired' WHERE id < ?", [adapter.id])
    while (held := placement(store, adapter)) is None or held.state == "loading":
        time.sleep(0.002)
    if held.state != "loaded" or held.load_ms is None:
        raise SystemExit(f"{adapter.name} was not loaded: {held.error}")
    return held.load_ms, (time.perf_counter() - began) * 1000


def placement(store: Store, adapter: Adapter) -> placements.Placement | None:
    return next(iter(placements.placements_of(store.db, adapter.id)), None)


async def measure(store: Store, settings: Settings, url: str) -> None:
    loads: list[tuple[float, float]] = []

    async def load_all() -> None:
        for seed in range(LOADS):
            loads.append(await asyncio.to_thread(load_one, store, settings, seed))
            await asyncio.sleep(PAUSE_S)

    await phase(url, asyncio.ensure_future(asyncio.sleep(3.0)))  # warm up
    quiet, quiet_answers = await phase(url, asyncio.ensure_future(asyncio.sleep(QUIET_S)))
    busy, busy_answers = await phase(url, asyncio.ensure_future(load_all()))
    load_ms = [ms for ms, _ in loads]
    routable_ms = [ms for _, ms in loads]
    report.table(
        ("", "p50", "p99"),
        [
            ("load, ms", report.median(load_ms), report.percentile(load_ms, 0.99)),
            (
                "registered to routable, ms",
                report.median(routable_ms),
                report.percentile(routable_ms, 0.99),
            ),
            ("gap in a stream, no load, ms", *_ms(quiet)),
            ("gap in a stream, while loading, ms", *_ms(busy)),
        ],
    )
    report.finish(
        benchmark="hot_load",
        loads=LOADS,
        streams=STREAMS,
        answers_quiet=quiet_answers,
        answers_while_loading=busy_answers,
        load_ms_p50=round(report.median(load_ms), 1),
        routable_ms_p50=round(report.median(routable_ms), 1),
        gap_p50_ratio=round(report.median(busy) / report.median(quiet), 2),
        gap_p99_ratio=round(report.percentile(busy, 0.99) / report.percentile(quiet, 0.99), 2),
    )


def _ms(gaps: list[float]) -> tuple[float, float]:
    return report.median(gaps) * 1000, report.percentile(gaps, 0.99) * 1000


def main() -> None:
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = Settings(home=home, serving=ServingSettings(port=free_port(), threads=1))
        store = stack.enter_context(Store(settings.store_path))
        stop = threading.Event()
        serving = threading.Thread(target=serve.run, args=(settings,), kwargs={"stop": stop})
        serving.start()
        try:
            while not placements.ready_urls(store.db):
                if not serving.is_alive():
                    raise SystemExit("The engine did not start.")
                time.sleep(0.2)
            asyncio.run(measure(store, settings, f"http://127.0.0.1:{settings.serving.port}"))
        finally:
            stop.set()
            serving.join()


if __name__ == "__main__":
    main()
