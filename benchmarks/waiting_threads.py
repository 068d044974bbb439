"""What a training step costs with two threads, by how long they spin while they wait.

    python benchmarks/waiting_threads.py --base FOLDER --rounds 12

OpenMP reads its policy when a process starts, so each policy has a process of its own, all loaded
at once. They take turns: in a round, each does one step while the others sleep. The second half of
the table is the same beside one process that keeps a core busy. The fastest round counts for the
quiet case, which other work on the machine only lengthens; the median counts beside the busy
process. Ratios are to the threads that spin as OpenMP has it.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import report

POLICIES = {
    "as OpenMP has it": {},
    "10,000 turns": {"GOMP_SPINCOUNT": "10000"},
    "3,000 turns": {"GOMP_SPINCOUNT": "3000"},
    "1,000 turns": {"GOMP_SPINCOUNT": "1000"},
    "never": {"OMP_WAIT_POLICY": "PASSIVE"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default=str(Path(__file__).parents[1] / "data" / "pocket"))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--busy-rounds", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=8, help="in a step, of 52 tokens on average")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--step", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        _steps(options.base, options.pairs)
        return
    runs = {name: _begin(options, policy) for name, policy in POLICIES.items()}
    try:
        quiet = _rounds(runs, options.rounds)
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            beside = _rounds(runs, options.busy_rounds)
        finally:
            busy.kill()
    finally:
        for run in runs.values():
            run.kill()
    fastest = {name: min(times) for name, times in quiet.items()}
    middle = {name: report.median(times) for name, times in beside.items()}
    first = next(iter(POLICIES))
    report.table(
        ("threads spin", "quiet, s", "times", "beside a busy process, s", "times"),
        [
            (name, fastest[name], fastest[name] / fastest[first], middle[name],
             middle[name] / middle[first])
            for name in POLICIES
        ],
    )  # fmt: skip
    report.finish(
        benchmark="waiting_threads", base=Path(options.base).name, threads=options.threads,
        pairs=options.pairs, quiet=quiet, busy=beside,
    )  # fmt: skip


def _begin(options: argparse.Namespace, policy: dict[str, str]) -> "subprocess.Popen[str]":
    """A process that does a step for each line that it is sent, and answers with its seconds."""
    mine = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    run = subprocess.Popen(
        [sys.executable, __file__, "--step", "--base", options.base, "--pairs", str(options.pairs)],
        env=mine | policy | {"OMP_NUM_THREADS": str(options.threads)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    _step(run)  # loads the base, and a first step
    return run


def _rounds(runs: dict[str, "subprocess.Popen[str]"], count: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(count):
        order = list(runs.items())
        for name, run in order if number % 2 else reversed(order):
            times[name].append(_step(run))
    return times


def _step(run: "subprocess.Popen[str]") -> float:
    assert run.stdin is not None
    assert run.stdout is not None
    run.stdin.write("step\n")
    run.stdin.flush()
    return float(run.stdout.readline())


def _steps(path: str, count: int) -> None:
    import train_step

    from tuning.model import base_model
    from tuning.recipe.recipe import Recipe
    from tuning.training import loop

    recipe = Recipe(rank=16, alpha=32, dropout=0.05, quantization="none")
    base = base_model.load_base(path, recipe)
    tuned = base_model.new_adapter(base, recipe)
    tuned.train()
    pairs = [train_step._pair(i, 48 + i % 9) for i in range(count)]
    for _ in sys.stdin:
        began = time.perf_counter()
        loop.learn(base, tuned, pairs, recipe)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
