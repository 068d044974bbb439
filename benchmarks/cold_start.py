"""What a cold start of the engine costs, in CPU seconds, and where they go.

    python benchmarks/cold_start.py [--base /path/to/smollm2-135m] [--rounds 3]

Starts vLLM as `understudy serve` does and reads its log. At each line that ends a stage, the CPU
seconds of all its processes are read from /proc. They count less of what other programs do than the
clock does. After the last stage, one question is answered twice: the first answer is the engine's
first work. The figures are medians of the rounds.
"""

import argparse
import asyncio
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import report
from lora_operations import ask, cpu_seconds

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.config.settings import Settings
from serving.client import EngineClient
from serving.engine import lora_operations, ports
from serving.engine.capacity import SMALLEST
from serving.engine.command import BASE_MODEL_ID, HOST, command, environment, installed
from serving.engine.management_api import healthy
from tests.conftest import free_port

STAGES = {  # what the log says when a stage has ended
    "Python starts, vLLM is imported": "non-default args",
    "settings are read, the core is forked": "Initializing a V1 LLM engine",
    "imports of the core": "Starting to load model",
    "the model is built, weights are read": "Loading weights took",
    "layers get their adapter slots, operations are checked": "KV cache size",
    "memory for keys and values, warm-up": "init engine",
    "the HTTP server is set up": "Starting vLLM server",
}
READY = "the port is opened"
ANSWERS = ("first answer, 32 tokens", "second answer")
LONGEST_S = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    rounds = [one_start(chosen.base) for _ in range(chosen.rounds)]
    names = [*STAGES, READY]
    cpu = {name: report.median([found[name][0] for found in rounds]) for name in rounds[0]}
    wall = {name: report.median([found[name][1] for found in rounds]) for name in rounds[0]}
    total = sum(cpu[name] for name in names)
    lines = [(name, cpu[name], f"{cpu[name] / total:.0%}", wall[name]) for name in names]
    lines.append(("until it is ready", total, "100%", sum(wall[name] for name in names)))
    lines += [(name, cpu[name], "", wall[name]) for name in ANSWERS]
    report.table(("stage", "CPU s", "share", "wall s"), lines)
    report.finish(benchmark="cold_start", base=chosen.base, cpu_s=cpu, total_cpu_s=round(total, 1))


def one_start(base: str) -> dict[str, tuple[float, float]]:
    """CPU and wall seconds of each stage of one start."""
    build = installed()
    if build is None:
        raise SystemExit("No vLLM is installed.")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        serving = {"port": port, "threads": 1}
        settings = Settings(home=Path(folder), base={"model": base}, serving=serving)
        environ = environment(settings, build) | {
            "VLLM_RPC_BASE_PATH": folder,
            lora_operations.OUTCOME: str(Path(folder, "outcome")),
        }
        began = time.perf_counter()
        engine = subprocess.Popen(
            command(settings, build, SMALLEST, port),
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        assert engine.stdout is not None
        try:
            return watch(engine.pid, engine.stdout, port, began)
        finally:
            os.killpg(engine.pid, signal.SIGKILL)
            engine.wait()


def watch(leader: int, log: IO[str], port: int, began: float) -> dict[str, tuple[float, float]]:
    """The stages, from the log of the engine that `leader` leads."""
    at = [("", 0.0, began)]

    def reached(name: str) -> None:
        at.append((name, cpu_seconds(leader), time.perf_counter()))

    for name, words in STAGES.items():
        if not any(re.search(re.escape(words), line) for line in log):
            raise SystemExit(f"The engine ended before its log said “{words}”.")
        reached(name)
    url = f"http://{HOST}:{port}"
    while not (healthy(url) and ports.listens(leader, port)):
        if time.perf_counter() - began > LONGEST_S:
            raise SystemExit(f"The engine was not ready within {LONGEST_S} s.")
        time.sleep(0.05)
    reached(READY)
    asyncio.run(answer(url, reached))
    return {
        name: (cpu - before[1], wall - before[2])
        for before, (name, cpu, wall) in itertools.pairwise(at)
    }


async def answer(url: str, reached: Callable[[str], None]) -> None:
    client = EngineClient()
    for number, name in enumerate(ANSWERS):
        await ask(client, url, BASE_MODEL_ID, number)
        reached(name)
    await client.close()


if __name__ == "__main__":
    main()
