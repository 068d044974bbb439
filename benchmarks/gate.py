"""How often the gate rejects adapters with a known loss, by the number of golden questions.

    python benchmarks/gate.py [--trials 300]

Simulation: 60% of the live adapter's answers are right and score 1, the others score about 0.2, as
in the demo domain. The candidate gives new answers to a fifth of the questions, some better and
some worse, such that it loses a set amount of token F1 overall; chance decides which questions
these are. `nothing lost` shows wrong rejections. The last line is JSON.
"""

import argparse

import numpy as np
import report

from data.config.settings import GateSettings
from tuning.evaluation import gate

QUESTIONS = (12, 24, 48, 96)
LOST = (0.0, 0.02, 0.05, 0.1, 0.2)  # of token F1, in truth
RIGHT = 0.6  # share of the live adapter's answers
WRONG = 0.2  # token F1 of a wrong one
CHANGED = 0.2  # share of the answers that differ between two adapters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    trials = parser.parse_args().trials
    settings = GateSettings()
    random = np.random.default_rng(0)
    table = []
    for n in QUESTIONS:
        rejected = [
            sum(not passed(random, n, lost, settings) for _ in range(trials)) / trials
            for lost in LOST
        ]
        table.append([n, *(f"{share:.1%}" for share in rejected)])
    columns = ("questions", "nothing lost", *(f"{lost:g} lost" for lost in LOST[1:]))
    report.table(columns, table)
    report.finish(
        benchmark="gate", trials=trials, margin=settings.margin, chance=settings.chance,
        rejected={row[0]: row[1:] for row in table},
    )  # fmt: skip


def passed(random: np.random.Generator, n: int, lost: float, settings: GateSettings) -> bool:
    """One comparison on the golden questions."""
    live = np.where(random.random(n) < RIGHT, 1.0, WRONG)
    again = np.where(random.random(n) < _right_again(lost), 1.0, WRONG)
    candidate = np.where(random.random(n) < min(1.0, CHANGED + lost), again, live)
    rule = gate.not_worse(
        "golden", candidate.tolist(), live.tolist(), "live",
        margin=settings.margin, chance=settings.chance,
    )  # fmt: skip
    return bool(rule.passed)


def _right_again(lost: float) -> float:
    """How often a new answer has to be right for this loss overall."""
    changed = min(1.0, CHANGED + lost)
    return RIGHT - lost / changed / (1 - WRONG)


if __name__ == "__main__":
    main()
