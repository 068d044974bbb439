"""How long the command line takes to start, compared with a bare Python.

    python benchmarks/start_time.py

Each command runs RUNS times, all of them in turn, so that a busy moment affects all alike. The
figures are medians of CPU seconds and wall seconds of the whole process.
"""

import os
import subprocess
import sys
import time

import report

RUNS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import bot": [sys.executable, "-c", "import bot"],
    "understudy --help": [sys.executable, "-m", "bot", "--help"],
    "understudy tune --help": [sys.executable, "-m", "bot", "tune", "--help"],
    "understudy adapters --help": [sys.executable, "-m", "bot", "adapters", "--help"],
    "understudy pairs --help": [sys.executable, "-m", "bot", "pairs", "--help"],
}


def once(command: list[str]) -> tuple[float, float]:
    """CPU seconds and wall seconds of one run."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, time.perf_counter() - began


def main() -> None:
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS + 1):
        for name, command in COMMANDS.items():
            measured[name].append(once(command))
    cpu = {name: report.median([c for c, _ in runs[1:]]) for name, runs in measured.items()}
    wall = {name: report.median([w for _, w in runs[1:]]) for name, runs in measured.items()}
    bare = cpu["python -c pass"]
    report.table(
        ("command", "CPU s", "wall s", "times a bare Python"),
        [(name, cpu[name], wall[name], cpu[name] / bare) for name in COMMANDS],
    )
    report.finish(
        benchmark="start_time",
        runs=RUNS,
        help_cpu_s=round(cpu["understudy --help"], 4),
        help_wall_s=round(wall["understudy --help"], 4),
        ratio=round(cpu["understudy --help"] / bare, 2),
    )


if __name__ == "__main__":
    main()
