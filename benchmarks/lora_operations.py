"""Adapters on a CPU: answers by several adapters at once, with vLLM's own LoRA operations and with
the grouped ones of `serving/vllm_plugin`.

    python benchmarks/lora_operations.py [--base /path/to/smollm2-135m] [--rounds 5]

Both engines run at the same time and answer in turn, eight questions at once: the bare base,
`base@0`, one adapter, four, and eight. Rates are tokens per second, and tokens per CPU second of
the engine, which other programs disturb less. Each row has the medians of all rounds. The share is
that of the bare base's rate per CPU second in the same engine.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.adapters import files, placements
from data.adapters.registry import BASE_SERVED_NAME
from data.config.settings import Settings
from data.store.db import Store
from serving.adapters.sync import load
from serving.client import EngineClient, Sampling
from serving.engine.command import BASE_MODEL_ID
from tests import adapter_maker
from tests.conftest import RunningEngine, free_port, running_engine

AT_ONCE = 8
TOKENS = 32
RANK = 16
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
QUESTION = "How do I reset the password of my account, and who can help me with it? Explain it."


@dataclass(frozen=True)
class Measured:
    rate: float  # tokens per second
    cpu_rate: float  # tokens per CPU second
    first_s: float  # until the first word, the median of the answers


def weights(base: str, seed: int) -> dict[str, np.ndarray]:
    """Random matrices for every linear layer, small enough to leave sentences."""
    random, tensors = np.random.default_rng(seed), {}
    for name, (_, shape) in sorted(files.base_shapes(base).items()):
        module = name.removesuffix(".weight")
        if module.rsplit(".", 1)[-1] in MODULES:
            a = random.normal(0, shape[1] ** -0.5, (RANK, shape[1]))
            b = random.normal(0, 0.003, (shape[0], RANK))
            tensors[f"base_model.model.{module}.lora_A.weight"] = a.astype(np.float32)
            tensors[f"base_model.model.{module}.lora_B.weight"] = b.astype(np.float32)
    return tensors


def cpu_seconds(leader: int) -> float:
    """Of the processes in the group that `leader` leads."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
            if int(fields[2]) == leader:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def ask(client: EngineClient, url: str, name: str, number: int) -> tuple[int, float]:
    """One answer: how many tokens, and the seconds until its first word."""
    messages = [{"role": "user", "content": f"{number} {time.time_ns()} {QUESTION}"}]
    began, first, tokens = time.perf_counter(), None, 0
    async for chunk in client.stream(url, name, messages, Sampling(TOKENS), "benchmark"):
        first = first or time.perf_counter() - began
        tokens = chunk.completion_tokens or tokens
    return tokens, first or 0.0


async def measure(client: EngineClient, engine: RunningEngine, names: list[str]) -> Measured:
    leader = engine.pid()
    assert leader is not None
    before, began = cpu_seconds(leader), time.perf_counter()
    found = await asyncio.gather(
        *[ask(client, engine.url, names[n % len(names)], n) for n in range(AT_ONCE)]
    )
    took, cpu = time.perf_counter() - began, cpu_seconds(leader) - before
    tokens = sum(count for count, _ in found)
    return Measured(tokens / took, tokens / cpu, report.median([first for _, first in found]))


async def measure_all(
    engines: dict[str, RunningEngine], cases: dict[str, list[str]], rounds: int
) -> dict[tuple[str, str], list[Measured]]:
    client, found = EngineClient(), defaultdict(list)
    for number in range(rounds + 1):  # the first one warms up
        for case, names in cases.items():
            for kind, engine in engines.items():
                one = await measure(client, engine, names)
                if number:
                    found[case, kind].append(one)
    await client.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engines = {}
        for kind in ("stock", "grouped"):
            serving = {"port": free_port(), "threads": 1, "lora_operations": kind, "max_loras": 8}
            settings = Settings(home=folder / kind, base={"model": chosen.base}, serving=serving)
            engines[kind] = stack.enter_context(running_engine(settings))
        with Store(engines["grouped"].settings.store_path) as store:
            ready = placements.ready(store.db)[0]
        if ready.lora_problem or ready.base_name != BASE_MODEL_ID:
            raise SystemExit(f"The grouped operations are not used: {ready.lora_problem}")
        base, adapters = engines["grouped"].settings.base.path, []
        for seed in range(1, 9):
            adapters.append(f"adapter-{seed}")
            made = adapter_maker.write(
                folder / adapters[-1],
                rank=RANK,
                tensors=weights(base, seed),
                target_modules=list(MODULES),
            )
            for engine in engines.values():
                load(engine.url, adapters[-1], made)
        cases = {
            "bare base": [BASE_MODEL_ID],
            "base@0": [BASE_SERVED_NAME],
            "1 adapter": adapters[:1],
            "4 adapters": adapters[:4],
            "8 adapters": adapters,
        }
        found = asyncio.run(measure_all(engines, cases, chosen.rounds))
    show(found, list(cases), chosen.base)


def show(found: dict[tuple[str, str], list[Measured]], cases: list[str], base: str) -> None:
    def middle(case: str, kind: str, what: str) -> float:
        return report.median([getattr(one, what) for one in found[case, kind]])

    lines, shares = [], {}
    for case in cases:
        for kind in ("stock", "grouped"):
            cpu_rate = middle(case, kind, "cpu_rate")
            share = cpu_rate / middle("bare base", kind, "cpu_rate")
            shares[f"{kind} {case}"] = round(share, 2)
            rate, first = middle(case, kind, "rate"), middle(case, kind, "first_s")
            lines.append((case, kind, rate, cpu_rate, f"{share:.0%}", first))
    headers = (
        "answers by",
        "operations",
        "tokens/s",
        "tokens/CPU s",
        "of the bare base",
        "first word, s",
    )
    report.table(headers, lines)
    report.finish(
        benchmark="lora_operations", base=base, at_once=AT_ONCE, tokens=TOKENS, shares=shares
    )


if __name__ == "__main__":
    main()
