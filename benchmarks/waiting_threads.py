"""What a block of a model costs with two threads, by how long they spin while they wait.

    python benchmarks/waiting_threads.py --rounds 300
    python benchmarks/waiting_threads.py --base FOLDER --rounds 8 --busy-rounds 3

Forward and backward pass of one block with the layers of SmolLM2-135M (attention left out), in
bf16. OpenMP reads its policy when a process starts, so each policy has a process of its own. They
take turns: in a round, each does the block once while the others sleep. The fastest round counts
for the quiet case: a round takes a few milliseconds, and on a machine with other work some rounds
still get both cores. The second half of the table is the same beside one process that keeps a core
busy; the median counts. Ratios are to the threads that spin as OpenMP has it, and the last line is
that of the default (`tuning.threads.SPIN_TURNS`) on the quiet machine. With `--base`, a round is a
whole step of 8 pairs. After `--minutes`, no further round begins.
"""

import argparse
import os
import subprocess
import sys
import time

import report

from tuning.threads import SPIN_TURNS

POLICIES = {
    "as OpenMP has it": {},
    "10,000 turns": {"GOMP_SPINCOUNT": "10000"},
    "3,000 turns": {"GOMP_SPINCOUNT": "3000"},
    "1,000 turns": {"GOMP_SPINCOUNT": "1000"},
    "never": {"OMP_WAIT_POLICY": "PASSIVE"},
}
DEFAULT = f"{SPIN_TURNS:,} turns"
OF_STEPS = ("as OpenMP has it", DEFAULT, "never")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--busy-rounds", type=int, default=100)
    parser.add_argument("--rows", type=int, default=128, help="tokens that the block is given")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=8, help="for all rounds together")
    parser.add_argument("--base", help="do whole steps on this base model")
    parser.add_argument("--blocks", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.blocks:
        _steps(options.base) if options.base else _blocks(options.rows)
        return
    compared = OF_STEPS if options.base else tuple(POLICIES)
    ends = time.monotonic() + 60 * options.minutes
    half = time.monotonic() + 30 * options.minutes
    runs = {name: _begin(options, POLICIES[name]) for name in compared}
    try:
        quiet = _rounds(runs, options.rounds, half)
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            beside = _rounds(runs, options.busy_rounds, ends)
        finally:
            busy.kill()
    finally:
        for run in runs.values():
            run.kill()
    fastest = {name: min(times) for name, times in quiet.items()}
    middle = {name: report.median(times) for name, times in beside.items()}
    first = next(iter(POLICIES))
    report.table(
        ("threads spin", "quiet, ms", "times", "beside a busy process, ms", "times"),
        [
            (name, 1000 * fastest[name], fastest[name] / fastest[first],
             1000 * middle[name], middle[name] / middle[first])
            for name in compared
        ],
    )  # fmt: skip
    ratio = fastest[DEFAULT] / fastest[first]
    counts = [len(next(iter(times.values()))) for times in (quiet, beside)]
    print(f"\nquiet: {DEFAULT} take {ratio:.3f} times as long as OpenMP's own spinning")
    print(f"{counts[0]} quiet rounds, {counts[1]} beside a busy process")
    report.finish(
        benchmark="waiting_threads", threads=options.threads, rows=options.rows,
        base=options.base, quiet=fastest, busy=middle, quiet_ratio=ratio, rounds=counts,
    )  # fmt: skip


def _begin(options: argparse.Namespace, policy: dict[str, str]) -> "subprocess.Popen[str]":
    """A process that does a block, or a step, for each line that it is sent, and answers with its
    seconds."""
    mine = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    run = subprocess.Popen(
        [sys.executable, __file__, "--blocks", "--rows", str(options.rows),
         *(("--base", options.base) if options.base else ())],
        env=mine | policy | {"OMP_NUM_THREADS": str(options.threads)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in range(1 if options.base else 5):  # the first ones allocate memory
        _block(run)
    return run


def _rounds(
    runs: dict[str, "subprocess.Popen[str]"], count: int, ends: float
) -> dict[str, list[float]]:
    """The seconds of each run in at least one round; no round begins after `ends`, a time of
    `time.monotonic`."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(count):
        if number and time.monotonic() > ends:
            break
        order = list(runs.items())
        for name, run in order if number % 2 else reversed(order):
            times[name].append(_block(run))
    return times


def _block(run: "subprocess.Popen[str]") -> float:
    assert run.stdin is not None
    assert run.stdout is not None
    run.stdin.write("block\n")
    run.stdin.flush()
    return float(run.stdout.readline())


def _steps(base: str) -> None:
    import train_step

    from tuning.recipe.recipe import Recipe

    recipe = Recipe(dropout=0.05, batch_size=8, max_steps=1, epochs=1000, evaluations=1)
    pairs = [train_step._pair(i, 52 + i % 9 - 4) for i in range(recipe.batch_size)]
    step = train_step.understudy(base, recipe, pairs)
    for _ in sys.stdin:
        began = time.perf_counter()
        step()
        print(time.perf_counter() - began, flush=True)


def _blocks(rows: int) -> None:
    import torch
    from torch.nn.functional import linear, silu

    torch.manual_seed(0)
    width, inner, small = 576, 1536, 192

    def weight(out: int, of: int) -> torch.Tensor:
        return (torch.randn(out, of) / of**0.5).bfloat16().requires_grad_()

    q, k, v, o = (weight(n, width) for n in (width, small, small, width))
    gate, up, down = weight(inner, width), weight(inner, width), weight(width, inner)
    x = torch.randn(rows, width).bfloat16().requires_grad_()

    def norm(x: torch.Tensor) -> torch.Tensor:
        exact = x.float()
        return (exact * torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype)

    for _ in sys.stdin:
        began = time.perf_counter()
        h = norm(x)
        mixed = linear(h, q) + torch.cat([linear(h, k), linear(h, v), linear(h, v)], dim=-1)
        y = x + linear(mixed, o)
        h = norm(y)
        y = y + linear(silu(linear(h, gate)) * linear(h, up), down)
        y.float().square().mean().backward()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
