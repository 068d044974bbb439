"""The time from an installed checkout to the first tuned answer, and for the whole loop.

    python benchmarks/first_answer.py

Runs `understudy demo --once` as a user would and reads its last line. `first_answer_s` counts from
the start of the command: store, import, tuning, evaluation, vLLM's start, hot load, answers.
"""

import json
import os
import subprocess
import sys

import report


def main() -> None:
    done = subprocess.Popen(
        [sys.executable, "-m", "bot", "demo", "--once"], stdout=subprocess.PIPE, text=True
    )
    assert done.stdout is not None
    output = done.stdout.read()
    _, status, used = os.wait4(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    result = json.loads(output.splitlines()[-1])
    cpu = used.ru_utime + used.ru_stime
    report.table(
        ("what", "measured"),
        [(key, value) for key, value in result.items() if isinstance(value, int | float)]
        + [("cpu_s (all processes)", cpu)],
    )
    report.finish(benchmark="first_answer", cpu_s=round(cpu, 1), **result)
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
