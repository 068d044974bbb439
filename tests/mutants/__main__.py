"""`python -m tests.mutants MODULE`: which faults in a module would the tests not notice?"""

import argparse
import json
import os
import sys
import time
import tomllib
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported

from tests.mutants import equivalents, workers
from tests.mutants.generate import Mutant, mutants

TESTS = Path(__file__).with_name("tests.toml")
LAST = Path(".mutants.json")  # what survived the last run, by module
WANTED = 0.9


def main() -> int:
    given = _arguments()
    path = Path(given.module)
    tests = given.tests or tests_of(given.module)
    reasons = equivalents.of_module(given.module)
    everything = mutants(path.read_text())
    equivalent = [m for m in everything if m.key in reasons]
    chosen = [m for m in everything if m.key not in reasons]
    if given.again:
        last = [tuple(key) for key in _last().get(given.module, [])]
        chosen = [m for m in chosen if m.key in last]
    began = time.monotonic()
    base = workers.baseline(path.resolve(), tests)
    if base.failed:
        print(f"These fail without any mutant: {', '.join(base.failed)}")
        return 2
    print(f"{given.module}: {len(chosen)} mutants, {len(base.seconds)} tests that take "
          f"{sum(base.seconds.values()):.1f} s", flush=True)  # fmt: skip
    workers.load(base, path.resolve())
    survivors, timeouts = [], 0
    for number, mutant in enumerate(chosen, start=1):
        wanted = base.tests_for(mutant.first_line, mutant.last_line)
        by = workers.killed(path.resolve(), mutant.source, base, wanted) if wanted else None
        timeouts += by == "time-out"
        if given.verbose:
            print(f"{number} {mutant.function}:{mutant.first_line} killed by {by}", flush=True)
        if by is None:
            survivors.append(mutant)
            _show(given.module, mutant, "" if wanted else " (no test runs it)")
        elif sys.stdout.isatty():
            print(f"\r{number}/{len(chosen)}", end="\r", flush=True)
    if not given.again:
        _stale(reasons, everything)
    LAST.write_text(json.dumps(_last() | {given.module: [m.key for m in survivors]}))
    killed = len(chosen) - len(survivors)
    score = killed / len(chosen) if chosen else 1.0
    print(
        f"{given.module}: {len(chosen) + len(equivalent)} mutants, {killed} killed ({timeouts} by "
        f"time-out), {len(equivalent)} equivalent, {len(survivors)} survived, score {score:.1%}, "
        f"{time.monotonic() - began:.0f} s"
    )
    return 0 if score >= WANTED else 1


def tests_of(module: str) -> list[str]:
    """The tests that cover the module: those of tests.toml, or the one with its name."""
    listed: list[str] | None = tomllib.loads(TESTS.read_text()).get(module)
    path = Path(module)
    own = Path("tests") / path.parent / f"test_{path.name}"
    if listed is None and not own.exists():
        raise SystemExit(f"Name the tests of {module} in {TESTS.name}, or with --tests.")
    return listed or [str(own)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("module", help="a file, as tuning/evaluation/gate.py")
    parser.add_argument("--tests", nargs="+", help="test files, in place of those in tests.toml")
    parser.add_argument("--again", action="store_true", help="only what survived the last run")
    parser.add_argument("--verbose", action="store_true", help="name the test that kills each")
    return parser.parse_args()


def _last() -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = json.loads(LAST.read_text()) if LAST.exists() else {}
    return found


def _show(module: str, mutant: Mutant, note: str) -> None:
    print(f"\n{module}:{mutant.first_line} {mutant.function or 'at the top'}{note}")
    for sign, text in (("-", mutant.before), ("+", mutant.after)):
        for line in text.splitlines():
            print(f"  {sign} {line}")
    sys.stdout.flush()


def _stale(reasons: dict[equivalents.Key, str], everything: list[Mutant]) -> None:
    known = {m.key for m in everything}
    for function, before, _ in (key for key in reasons if key not in known):
        print(f"No such mutant any more: {equivalents.LIST.name}, {function}: {before}")


if __name__ == "__main__":
    raise SystemExit(main())
