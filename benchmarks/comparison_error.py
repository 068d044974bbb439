"""How often comparisons err when ratings mislead, and how many raters they need.

    python benchmarks/comparison_error.py [TIMES [PART ...]]

Simulated and seeded (tests/bot/experiments/stats/simulated_settings.py), through the functions with
which the product decides, beside the first version of its statistics on the same votes. TIMES
multiplies the number of comparisons. The parts are side_by_side, equal_variants, misleading,
few_rate and guardrails; without a name, all of them run.

`PYTHONPATH=FOLDER`, where `pip install --no-deps --target FOLDER gbstats` was run, adds the
sequential test of GrowthBook: gbstats asks for an old numpy, which the test does not need. It is
computed for all looks at once; the package itself confirms the look at which each comparison stops.
"""

import importlib.util
import sys
from collections.abc import Callable
from math import ceil, log
from pathlib import Path
from typing import Any

import numpy as np
import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.experiments.design import ExperimentDesign
from tests.bot.experiments.stats.simulated_settings import (
    Failing,
    Novelty,
    Seen,
    Setting,
    States,
    broken,
    outcomes,
    promoted,
    seen,
    states,
)
from tests.bot.experiments.stats.simulation import (
    BETTER,
    COLLECTING,
    WORSE,
    Outcomes,
    first,
)

TIMES = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
NOW, BEFORE = ExperimentDesign(), ExperimentDesign(version=1)
ROWS = (  # a, b, raters at most, comparisons, raters between two looks
    (0.52, 0.89, 600, 4_000, 1),
    (0.60, 0.80, 2_000, 4_000, 1),
    (0.70, 0.85, 3_000, 4_000, 2),
    (0.70, 0.78, 7_000, 2_000, 5),
    (0.70, 0.75, 16_000, 1_000, 20),
    (0.70, 0.73, 40_000, 1_000, 50),
)
EXPECTED = (100, 500, 1_000, 5_000)  # people
GB_TUNED, MSPRT_SPREAD, LEAST = 5_000.0, 0.05, 20


def times(count: int) -> int:
    return max(20, round(count * TIMES))


def wrong(found: Outcomes) -> float:
    return 100 * (found.share(BETTER) + found.share(WORSE))


def equal_variants() -> float:
    """Verdicts on equal variants, up to 20,000 raters, in per cent."""
    lines = []
    for liked in (0.5, 0.7, 0.9, 0.98):
        setting = Setting(liked, liked, raters=20_000, step=5)
        found = np.zeros(len(EXPECTED))
        for part in seen(setting, times(5_000), 41):
            for i, people in enumerate(EXPECTED):
                state = first(states(part, ExperimentDesign(expected_people=people)), part.raters)
                found[i] += np.isin(state.state, (BETTER, WORSE)).sum()
        lines.append((f"{liked:.0%} like both", *(100 * found / times(5_000)).tolist()))
    expected = [f"{people:,}" for people in EXPECTED]
    headers = ("false verdicts, %, with people expected:", *expected)
    report.table(headers, lines)
    return max(max(line[1:]) for line in lines)


def misleading() -> float:
    """Settings in which the ratings differ although the variants do not."""
    lines = []
    for rate in (0.1, 0.3, 0.5):
        for often in (1.2, 1.5, 2.0):
            setting = Setting(unhappy=often, rate=rate, raters=1_200, step=2)
            name = f"{rate:.0%} rate, unhappy people {often:g} times as often on B"
            lines.append(_both(name, setting, 1_000))
    for hard in (0.01, 0.02, 0.05, 0.1):
        lines.append(_both(f"B fails on the hardest {hard:.0%}", Setting(hard=hard, step=5), 1_000))
    print()
    report.table(("same quality", "wrong, %", "in version 1, %"), lines)
    lines = []
    for novelty in (
        Novelty(novelty=0.1, days=3),
        Novelty(novelty=0.15, days=7),
        Novelty(novelty=0.0, b=0.78),
        Novelty(novelty=0.0, b=0.8),
    ):
        called, confirmed = promoted(novelty, times(1_000), 43)
        name = f"+{100 * novelty.novelty:g} points for {novelty.days:g} days"
        if not novelty.novelty:
            name = f"lasting, .70 against {novelty.b:.2f}"
        each = [(100 * o.share(BETTER), f"{o.median:,.0f}") for o in (called, confirmed)]
        lines.append((name, each[0][0], each[1][0], each[0][1], each[1][1]))
    print()
    report.table(
        ("1,500 people, 5 ratings each", "better, %", "and promoted, %", "raters p50", "promoted"),
        lines,
    )
    return max(float(line[2]) for line in lines[:2])


def _both(name: str, setting: Setting, count: int) -> tuple[str, float, float]:
    return (
        name,
        wrong(outcomes(setting, times(count), 42, NOW)),
        wrong(outcomes(setting, times(count), 42, BEFORE)),
    )


def few_rate() -> dict[str, object]:
    """What the check against unequal rating costs when few people rate."""
    lines = []
    for a, b in ((0.52, 0.89), (0.60, 0.80), (0.70, 0.55), (0.70, 0.78)):
        cells: list[object] = []
        for rate in (0.1, 0.3, 0.6, 1.0):
            setting = Setting(a, b, rate=rate, raters=5_000, step=2)
            found = outcomes(setting, times(400), 44)
            right = found.share(BETTER if b > a else WORSE)
            cells.append(f"{found.median:,.0f} ({100 * right:.0f}%)")
        lines.append((f"{a:.2f} against {b:.2f}", *cells))
    print()
    report.table(("raters p50 (found of 5,000)", "10% rate", "30%", "60%", "all"), lines)
    return {}


def guardrails() -> dict[str, object]:
    """The guardrail of failures, with people weighed by their answers and not."""
    lines = []
    for b in (0.01, 0.03, 0.05, 0.06, 0.08):
        each = [100 * broken(Failing(b=b), times(400), 45, weighed) for weighed in (True, False)]
        lines.append((f"1% against {b:.0%}", *each))
    print()
    report.table(("failures, 1,500 people", "broken, %", "with equal weights, %"), lines)
    return {}


# Side by side


def side_by_side() -> dict[str, float]:
    """Median raters of several methods on the same votes, as multiples of a fixed sample."""
    rules: dict[str, Callable[[Seen], States]] = {
        "ours": lambda found: states(found, NOW),
        "ours, version 1": lambda found: states(found, BEFORE),
        "gbstats as shipped": lambda found: _sign(*_gbstats(found, GB_TUNED)),
        "gbstats tuned for 1,000": lambda found: _sign(*_gbstats(found, 1_000.0)),
        "mSPRT, spread 5 points": lambda found: _sign(*_msprt(found)),
    }
    lines, medians = [], {}
    for a, b, raters, count, step in ROWS:
        parts: dict[str, list[Outcomes]] = {name: [] for name in rules}
        for found in seen(Setting(a, b, raters=raters, step=step), times(count), 46):
            for name, rule in rules.items():
                parts[name].append(first(rule(found), found.raters))
                if name == "gbstats as shipped":
                    _confirm(found, rule(found))
        cells = []
        for name, outcomes_ in parts.items():
            median = float(np.median(np.concatenate([o.people for o in outcomes_])))
            medians[f"{name} {a} {b}"] = median
            cells.append(f"{median:,.0f}")
        state = np.concatenate([o.state for o in parts["ours"]])
        misses = 100 * float((state == WORSE).mean())
        lines.append((f"{a:.2f} against {b:.2f}", f"{_fixed(a, b):,}", *cells, misses))
    print()
    report.table(("raters p50", "fixed sample", *rules, "ours in the wrong direction, %"), lines)
    return medians


def _fixed(a: float, b: float) -> int:
    """The sample on both sides with which a z-test at .05 finds the difference 80 times in 100."""
    spread = a * (1 - a) + b * (1 - b)
    return 2 * ceil((1.959964 + 0.841621) ** 2 * spread / (b - a) ** 2)


def _sums(found: Seen) -> tuple[Any, Any, Any, Any]:
    """People and likes of both sides, (comparisons, looks)."""
    a, b = found.rating
    return a.people[..., 0], a.wy[..., 0], b.people[..., 0], b.wy[..., 0]


def _gbstats(found: Seen, tuned: float) -> tuple[Any, Any]:
    """The relative difference and the half-width of its interval, by the formulas of the package:
    eq. 9 with the variances of proportions."""
    n_a, up_a, n_b, up_b = _sums(found)
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = up_a / n_a, up_b / n_b
        variance = b * (1 - b) / (a**2 * n_b) + a * (1 - a) * b**2 / (a**4 * n_a)
        total = n_a + n_b
        rho2 = (-2 * log(0.05) + log(-2 * log(0.05) + 1)) / tuned
        x = total * rho2
        half = np.sqrt(variance * total * 2 * (x + 1) * np.log(np.sqrt(x + 1) / 0.05) / (total * x))
        return _enough(found, (b - a) / a), half


def _msprt(found: Seen) -> tuple[Any, Any]:
    """The mixture sequential probability ratio test of Johari et al. (2017), as an interval."""
    n_a, up_a, n_b, up_b = _sums(found)
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = up_a / n_a, up_b / n_b
        v = a * (1 - a) / n_a + b * (1 - b) / n_b
        t2 = MSPRT_SPREAD**2
        half = np.sqrt(v * (v + t2) / t2 * (2 * log(1 / 0.05) + np.log((v + t2) / v)))
        return _enough(found, b - a), half


def _enough(found: Seen, difference: Any) -> Any:
    n_a, _, n_b, _ = _sums(found)
    return np.where(np.minimum(n_a, n_b) >= LEAST, difference, np.nan)


def _sign(difference: Any, half: Any) -> States:
    conditions = [difference - half > 0, difference + half < 0]
    return np.select(conditions, [BETTER, WORSE], COLLECTING)


def _confirm(found: Seen, state: States) -> None:
    """That the package stops where the formulas stop, in the first comparisons."""
    if importlib.util.find_spec("gbstats") is None:
        return
    from gbstats.frequentist.tests import SequentialTwoSidedTTest
    from gbstats.models.statistics import ProportionStatistic

    def outside(comparison: int, look: int) -> bool:
        n_a, up_a, n_b, up_b = (int(x[comparison, look]) for x in _sums(found))
        sides = ProportionStatistic(n=n_a, sum=up_a), ProportionStatistic(n=n_b, sum=up_b)
        low, high = SequentialTwoSidedTTest(*sides).confidence_interval
        return bool(low > 0 or high < 0)

    for comparison in range(min(20, len(state))):
        decided = np.flatnonzero(state[comparison] != COLLECTING)
        if len(decided) and decided[0] > 0:
            if not outside(comparison, decided[0]):
                raise AssertionError("gbstats does not stop where its formula stops.")
            n_a, _, n_b, _ = (int(x[comparison, decided[0] - 1]) for x in _sums(found))
            if min(n_a, n_b) >= LEAST and outside(comparison, decided[0] - 1):
                raise AssertionError("gbstats stops before its formula stops.")


PARTS: dict[str, Callable[[], dict[str, object]]] = {
    "side_by_side": lambda: {"medians": side_by_side()},
    "equal_variants": lambda: {"false_verdicts_percent": round(equal_variants(), 2)},
    "misleading": lambda: {"promoted_by_novelty_percent": round(misleading(), 2)},
    "few_rate": few_rate,
    "guardrails": guardrails,
}


def measure() -> None:
    figures: dict[str, object] = {}
    for name in sys.argv[2:] or PARTS:
        figures |= PARTS[name]()
        print(flush=True)
    report.finish(benchmark="comparison_error", **figures)


if __name__ == "__main__":
    measure()
