"""Rebuild the pocket base model: `python -m tools.pocket --out data/pocket --seed 0`."""

import argparse
import logging
import os
from pathlib import Path

# Threads that spin while they wait make a busy machine ten times slower. Torch reads this variable
# when it is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tools.pocket.build import PretrainingRecipe, build


def main() -> None:
    """Read the options and build the model."""
    parser = argparse.ArgumentParser(prog="python -m tools.pocket", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/pocket"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=PretrainingRecipe.steps)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    build(PretrainingRecipe(seed=options.seed, steps=options.steps), options.out)


if __name__ == "__main__":
    main()
