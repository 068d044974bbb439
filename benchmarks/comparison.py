"""How often comparisons err, and how many people they need, with a look after every rating.

    python benchmarks/comparison.py [TIMES]

Thousands of simulated comparisons (tests/bot/experiments/stats/simulation.py) go through the
functions with which the product decides. For contrast, they also go through what many people do
instead: a z-test of all ratings that is checked again and again, and stopping at a 95% chance to
win. TIMES multiplies the number of comparisons. The last part measures the cost of one look at
100,000 people.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from bot.experiments import stats
from bot.experiments.stats import srm
from data import domains
from data.experiments import experiments, metric_sums
from data.experiments.design import ExperimentDesign
from data.experiments.experiments import Experiment
from data.store.db import Store
from tests.bot.experiments.stats import simulated_stages, simulation
from tests.bot.experiments.stats.simulation import BETTER, WORSE, Looks, Outcomes, World, outcomes
from tests.data import given

TIMES = int(sys.argv[1]) if len(sys.argv) > 1 else 1
RAMP = ((0, 0.05), (800, 0.2), (1_600, 0.5))
PEOPLE, REPLIES = 100_000, 5

# Equal variants, five ratings per person with a correlation of .4, and every rule's first verdict
RULES: dict[str, Callable[[Looks], np.ndarray]] = {
    "ours: A/A, 5 ratings, correlation .4": lambda looks: simulation.states(
        looks, ExperimentDesign()
    ),
    "the same, with ratings as units": lambda looks: simulation.sequence_on_rows(
        looks, ExperimentDesign()
    ),
    "the same, z-test of ratings at .05": simulation.z_test_on_rows,
    "the same, stop at 95% chance to win": simulation.chance_to_win_on_rows,
}

EQUAL = {
    "ours: A/A, 1 rating per person": World(),
    "ours: A/A, 5 ratings, correlation .1": World(people=2_000, votes=5, correlation=0.1),
    "ours: A/A, 5 ratings, correlation 0": World(people=2_000, votes=5, correlation=0.0),
    "ours: A/A, 50 ratings, correlation 0": World(people=300, votes=50, correlation=0.0, gap=5.0),
    "ours: A/A, 2 ratings, ramp 5-20-50%, opinions fall": World(
        people=3_000, votes=2, stages=RAMP, drift=-0.2
    ),
    "ours: A/A, the same, B rates half as often": World(
        people=3_000, votes=2, stages=RAMP, drift=-0.2, b_votes=0.5
    ),
}
DIFFERENT = {
    ".70 against .78, 1 vote": World(b=0.78),
    ".70 against .78, 5 ratings": World(b=0.78, people=2_000, votes=5),
    ".70 against .78, 1 vote, 400 people at 5 and 20% first": World(
        b=0.78, stages=((0, 0.05), (200, 0.2), (400, 0.5))
    ),
    ".70 against .55, 1 vote": World(b=0.55, people=1_500),
    ".70 against .55, 5 ratings": World(b=0.55, people=1_500, votes=5),
}


def wrong(found: Outcomes) -> float:
    """How often one of several equal variants is called better."""
    return found.share(BETTER) + found.share(WORSE)


def equal_variants() -> dict[str, float]:
    """False winners of every rule, and of ours in other settings, in per cent."""
    found = rules(World(people=2_000, votes=5), 2_000 * TIMES)
    found |= {name: 100 * wrong(outcomes(w, 2_000 * TIMES, 1)) for name, w in EQUAL.items()}
    found["ours: A/A/A/A, 1 vote"] = 100 * simulated_stages.several(3, 1_000 * TIMES, 4_000, 2)
    rising = simulated_stages.Adaptive(a=0.5, b=0.5, drift=0.4)
    adapted = simulated_stages.thompson(rising, 200 * TIMES, 3)
    found["ours: A/A, Thompson sampling, opinions rise"] = 100 * wrong(adapted.outcomes)
    found["the same, were stages added up"] = 100 * wrong(adapted.pooled)
    report.table(("equal variants", "false winners, %"), list(found.items()))
    return found


def rules(world: World, count: int) -> dict[str, float]:
    """Every rule's false winners in the same comparisons, in per cent."""
    found = dict.fromkeys(RULES, 0.0)
    for looks in simulation.simulated(world, count, 4):
        people = simulation.rated(looks)
        for name, rule in RULES.items():
            first = simulation.first(rule(looks), people)
            found[name] += 100 * wrong(first) * len(first.state) / count
    return found


def different_variants() -> dict[str, float]:
    """People needed, and decisions in the wrong direction."""
    lines, medians = [], {}
    for name, world in DIFFERENT.items():
        found = outcomes(world, 4_000 * TIMES, 5)
        right, other = (BETTER, WORSE) if world.b > world.a else (WORSE, BETTER)
        percentiles = [f"{p:,.0f}" for p in np.percentile(found.people, (10, 50, 90))]
        lines.append((name, *percentiles, 100 * found.share(right), 100 * found.share(other)))
        medians[name] = found.median
    print()
    report.table(("", "people p10", "p50", "p90", "found, %", "wrong direction, %"), lines)
    failing = simulation.guarded(World(a=0.01, b=0.1, people=1_500), 1_000 * TIMES, 9)
    print(
        "\n10% of the answers fail in place of 1%: the guardrail is broken after "
        f"{failing.median:.0f} people (p50)"
    )
    adapted = simulated_stages.thompson(simulated_stages.Adaptive(b=0.55), 100 * TIMES, 6)
    print(
        f".70 against .55 under Thompson sampling: {100 * adapted.on_b:.0f}% of the people got "
        f"the worse side, found after {adapted.outcomes.median:.0f} (p50), "
        f"wrong direction {100 * adapted.outcomes.share(BETTER):.2g}%"
    )
    return medians


def splits() -> dict[str, float]:
    """False alarms of our split test and of a chi-squared test, with a look after every person."""
    lines = []
    for shares in ((0.5, 0.5), (0.95, 0.05)):
        draw, ours, theirs, total = np.random.default_rng(7), 0, 0, 0
        for _ in range(20 * TIMES):
            on_b = draw.random((500, 4_000)) < shares[1]
            ours += int((_evidence(on_b, shares[1]) >= np.log(1 / 0.001)).any(1).sum())
            theirs += int((_chi_squared(on_b, shares[1]) > 10.83).any(1).sum())
            total += 500
        lines.append(
            (f"{shares[0]:.0%} and {shares[1]:.0%}", 100 * ours / total, 100 * theirs / total)
        )
    print()
    report.table(("a sound split of", "ours: false alarms, %", "chi-squared at .001, %"), lines)
    broken = np.random.default_rng(8).random((400, 20_000)) < 0.47
    at = (_evidence(broken, 0.5) >= np.log(1 / 0.001)).argmax(1)
    print(f"\n53% and 47% instead of halves: found after {np.median(at):.0f} people (p50)")
    return {"split_false_alarms_percent": max(line[1] for line in lines)}


def _evidence(on_b: np.ndarray, share: float) -> np.ndarray:
    found, before = [], np.arange(on_b.shape[1])
    for prior in srm.CONCENTRATIONS:
        gained = np.zeros(on_b.shape)
        for mine, agreed in ((on_b, share), (~on_b, 1 - share)):
            counts = np.cumsum(mine, 1) - mine
            bet = (prior * agreed + counts) / (prior + before)
            gained += np.where(mine, np.log(bet / agreed), 0)
        found.append(np.cumsum(gained, 1))
    return np.logaddexp.reduce(found, 0) - np.log(len(found))


def _chi_squared(on_b: np.ndarray, share: float) -> np.ndarray:
    n = np.arange(1, on_b.shape[1] + 1)
    found = (np.cumsum(on_b, 1) - n * share) ** 2 / (n * share * (1 - share))
    return np.where(n >= 40, found, 0)


def one_look() -> dict[str, float]:
    """CPU milliseconds for 100,000 people with ratings and five answers each."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "understudy.db") as store:
        experiment = _filled(store)
        reading, working = [], []
        for _ in range(5):
            began = time.process_time()
            collected = metric_sums.collect(store.db, experiment)
            read = time.process_time()
            stats.summary(collected, ExperimentDesign())
            working.append(1000 * (time.process_time() - read))
            reading.append(1000 * (read - began))
    reads, works = report.median(reading), report.median(working)
    print(
        f"\nOne look at {PEOPLE:,} people: {reads:.0f} ms of CPU to read the sums, "
        f"{works:.1f} ms to decide"
    )
    return {"collect_ms": round(reads, 1), "summary_ms": round(works, 2)}


def _filled(store: Store) -> Experiment:
    with store.write() as db:
        domain = domains.create(db, "helpdesk")
        variants = given.adapter(db, domain, "live"), given.adapter(db, domain)
        begun = experiments.start(db, domain, *variants, "cli:ann")
        thread = given.conversations.open_thread(db, "t", domain.id, "p").id
        people = [(f"http:key/{i:06d}", begun.variants[i % 2]) for i in range(PEOPLE)]
        db.conn.executemany(
            "INSERT INTO assignments (experiment_id, person, variant_id, at) VALUES (?, ?, ?, ?)",
            [(begun.id, person, v.id, begun.started_at + 1) for person, v in people],
        )
        db.conn.executemany(
            "INSERT INTO ratings (variant_id, person, up, down) VALUES (?, ?, ?, ?)",
            [(v.id, person, 1 + i % 3, i % 2) for i, (person, v) in enumerate(people)],
        )
        db.conn.executemany(
            "INSERT INTO replies (id, conversation_id, domain_id, person, adapter_id, variant_id, "
            "status, latency_us, created_at) VALUES (?, ?, ?, ?, ?, ?, 'done', 900000, ?)",
            [
                (f"{k}:{i}", thread, domain.id, person, v.adapter_id, v.id, begun.started_at + k)
                for k in range(REPLIES)
                for i, (person, v) in enumerate(people)
            ],
        )
    return begun


def measure() -> None:
    figures = equal_variants() | different_variants() | splits() | one_look()
    report.finish(benchmark="comparison", **figures)


if __name__ == "__main__":
    measure()
