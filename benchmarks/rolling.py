"""Restarts engines one after another while long answers stream: is any answer cut?

    python benchmarks/rolling.py --replicas 2 --restarts 2

Runs the whole service in a folder of its own. `--streams` people ask for long answers all the time,
over HTTP, from an adapter that never stops on its own; one more asks short questions of an adapter
that knows one word. Meanwhile `understudy replicas restart --wait` restarts all engines,
`--restarts` times. The exit code is 1 if an answer was refused, cut, short or from another adapter.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import load
import one_word
import report
import service
from load import Asked, Client, Register
from service import Service

from data.adapters import placements, registry
from tests import adapter_maker

TOKENS = 300  # of a long answer: some seconds
SEEDS = range(100, 130)


@dataclass
class Outcome:
    """The outcome of the requests."""

    long: list[Asked] = field(default_factory=list)
    short: list[Asked] = field(default_factory=list)
    restarts_s: list[float] = field(default_factory=list)


async def endless(running: Service, client: Client) -> str:
    """The name of an adapter that never ends an answer: random weights, tried out."""
    for seed in SEEDS:
        tensors = adapter_maker.weights(seed=seed, scale=1.0)
        made = adapter_maker.register(
            running.store, running.settings, "long", seed=seed, tensors=tensors
        )
        await asyncio.to_thread(running.wait_held, made)
        asked = await client.ask("long", made.name, "Why?", "p", stream=True, tokens=TOKENS)
        if asked.finish_reason == "length":
            with running.store.write() as db:
                registry.promote(db, made, "benchmark")
            return made.name
        with running.store.write() as db:
            registry.retire(db, made, "benchmark")
    raise SystemExit("No random adapter talks without an end.")


async def keep_asking(running: Service, streams: int, restarts: int, register: Register) -> Outcome:
    outcome, done = Outcome(), asyncio.Event()
    async with Client(running.url, running.key) as client:
        name = await endless(running, client)

        async def long() -> None:
            while not done.is_set():
                outcome.long.append(
                    await client.ask("long", name, "Why?", "p", stream=True, tokens=TOKENS)
                )

        async def short() -> None:
            number = 0
            while not done.is_set():
                question = one_word.QUESTIONS[number % len(one_word.QUESTIONS)]
                number += 1
                outcome.short.append(
                    await client.ask("alpha", "alpha", question, f"q{number % 9}", stream=False)
                )

        tasks = [asyncio.create_task(long()) for _ in range(streams)]
        tasks.append(asyncio.create_task(short()))
        for _ in range(restarts):
            outcome.restarts_s.append(await asyncio.to_thread(_restart, running))
        done.set()
        await asyncio.gather(*tasks)
    return outcome


def _restart(running: Service) -> float:
    """Restart every engine with the operator's command; returns the seconds."""
    began = time.monotonic()
    command = [sys.executable, "-m", "bot", "replicas", "restart", "--wait"]
    environ = os.environ | {"UNDERSTUDY_CONFIG": str(running.settings.home / "understudy.toml")}
    done = subprocess.run(command, env=environ, text=True, capture_output=True, check=False)
    print(done.stdout, file=sys.stderr, end="")
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "one-word")
    options = parser.parse_args()
    trained = one_word.train_all(options.cache)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        with service.running(home, options.replicas, max_tokens=TOKENS) as running:
            register, word = Register(), one_word.WORDS[0]
            domain = running.domain("alpha", one_word.SYSTEM)
            made = one_word.register(running.store, running.settings, domain, trained[word])
            register.says[made.name] = one_word.said(word)
            running.wait_held(made)
            with running.store.write() as db:
                registry.promote(db, made, "benchmark")
            register.may_answer(domain.name, made.name)
            lives = sum(r.generation for r in placements.replicas(running.store.db))
            outcome = asyncio.run(keep_asking(running, options.streams, options.restarts, register))
            after = placements.replicas(running.store.db)
    cut = [a for a in outcome.long if a.error or a.finish_reason != "length"]
    wrong = [a for a in outcome.short if load.verdict(a, register) != "right"]
    figures = {
        "replicas": options.replicas,
        "restarts": options.restarts,
        "restart_median_s": round(report.median(outcome.restarts_s), 1),
        "long_answers": len(outcome.long),
        "cut": len(cut),
        "short_answers": len(outcome.short),
        "short_lost": len(wrong),
        "short_p99_ms": round(report.percentile([a.seconds for a in outcome.short], 0.99) * 1000),
        "ready_after": sum(r.state == "ready" for r in after),
    }
    report.table(("", "figure"), list(figures.items()))
    for asked in (cut + wrong)[:10]:
        print(f"lost: {asked}", file=sys.stderr)
    report.finish(benchmark="rolling", lives_before=lives, **figures)
    raise SystemExit(1 if cut or wrong else 0)


if __name__ == "__main__":
    main()
