"""How an engine that hangs is told from one that is busy, and how soon it is back.

    python benchmarks/hung_engine.py

Measures, with the pocket model and the defaults: what a look at an idle engine costs;
how long a busy one stays silent, while 64 people get long answers to long questions and adapters
are loaded; and after SIGSTOP to the engine's core, how long until the engine counts as down, and
until a question is answered again.
"""

import asyncio
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import load
import one_word
import report
import service
from service import Service
from trouble import parts

from data.adapters import placements, registry
from serving.engine import liveness

LOOKS = 30
AT_ONCE = 64
BUSY_S = 60.0
LONG = "Where is the key? " * 60
TOKENS = 200
EVERY_S = 0.1
HANGS = 3


def silences(url: str, stop: threading.Event, found: list[float]) -> None:
    """The times between two signs of life of the engine's core, in seconds."""
    last, at = liveness.progress(url), time.monotonic()
    while not stop.wait(EVERY_S):
        now = liveness.progress(url)
        if now != last:
            found.append(time.monotonic() - at)
            last, at = now, time.monotonic()
    found.append(time.monotonic() - at)


async def keep_busy(running: Service, domain: str, seconds: float) -> int:
    until, answers = time.monotonic() + seconds, 0
    async with load.Client(running.url, running.key) as client:

        async def ask(number: int) -> None:
            nonlocal answers
            while time.monotonic() < until:
                question = f"{number} {time.monotonic()} {LONG}"
                await client.ask(domain, domain, question, f"p{number}", stream=True, tokens=TOKENS)
                answers += 1

        await asyncio.gather(*[ask(n) for n in range(AT_ONCE)])
    return answers


async def answered(running: Service, domain: str) -> None:
    async with load.Client(running.url, running.key) as client:
        while True:
            one = await client.ask(domain, domain, one_word.QUESTIONS[0], "p", stream=True)
            if not one.error and one.instead_of is None:
                return
            await asyncio.sleep(0.2)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, service.running(Path(folder)) as running:
        trained = one_word.train_all(Path(tempfile.gettempdir()) / "one-word")
        domain = running.domain("words", one_word.SYSTEM)
        made = one_word.register(running.store, running.settings, domain, trained["red"])
        running.wait_held(made)
        with running.store.write() as db:
            registry.promote(db, made, "benchmark")
        (url,) = placements.ready_urls(running.store.db)
        reading_ms, probing_ms = [], []
        for _ in range(LOOKS):
            began = time.perf_counter()
            before = liveness.progress(url)
            read = time.perf_counter()
            assert liveness.probe(url, 30, before) == ""
            reading_ms.append((read - began) * 1000)
            probing_ms.append((time.perf_counter() - read) * 1000)

        silent: list[float] = []
        stop = threading.Event()
        watching = threading.Thread(target=silences, args=(url, stop, silent))
        watching.start()
        asking = threading.Thread(
            target=lambda: asyncio.run(keep_busy(running, domain.name, BUSY_S))
        )
        asking.start()
        loads = 0
        while asking.is_alive():
            word = one_word.WORDS[loads % len(one_word.WORDS)]
            one_word.register(running.store, running.settings, domain, trained[word])
            loads += 1
            asking.join(5)
        stop.set()
        watching.join()

        down_s, back_s = [], []
        for _ in range(HANGS):
            asyncio.run(answered(running, domain.name))
            serve = running.supervisor.children["serve"].process.pid
            (core,) = parts(serve)["engine core"]
            began = time.monotonic()
            os.kill(core.pid, signal.SIGSTOP)
            service.wait_for(lambda: not placements.ready(running.store.db), "it to be noticed")
            down_s.append(time.monotonic() - began)
            asyncio.run(answered(running, domain.name))
            back_s.append(time.monotonic() - began)
    report.table(
        ("", "median", "most"),
        [
            ("reading its metrics, ms", report.median(reading_ms), max(reading_ms)),
            ("one token of an idle engine, ms", report.median(probing_ms), max(probing_ms)),
            (f"silence of a busy one ({loads} loads), s", report.median(silent), max(silent)),
            ("from the hang to `down`, s", report.median(down_s), max(down_s)),
            ("from the hang to the next answer, s", report.median(back_s), max(back_s)),
        ],
    )
    report.finish(
        benchmark="hung_engine",
        silence_max_s=round(max(silent), 2),
        down_s=[round(s, 1) for s in down_s],
        back_s=[round(s, 1) for s in back_s],
    )


if __name__ == "__main__":
    main()
