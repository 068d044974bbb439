"""`python -m tests.simulation --seed 7`: repeat one episode, or run many."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.simulation.control_plane import Violation, simulate

MEMORY = Path("/dev/shm")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first episode")
    parser.add_argument("--steps", type=int, default=1, help="run episodes until so many steps")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        try:
            done = simulate(options.seed, options.steps, Path(folder))
        except Violation as violation:
            print(violation)
            if violation.__cause__ is not None:
                raise
            return 1
    steps = done.pop("steps")
    print(f"{steps:,} steps in {time.monotonic() - began:.0f} s from seed {options.seed}: all well")
    print(", ".join(f"{what}: {times:,}" for what, times in sorted(done.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
