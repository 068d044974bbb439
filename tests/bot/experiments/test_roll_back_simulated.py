"""How many people a bad candidate meets before it is rolled back, through the real code.

Every person is assigned, answered, exposed and rated in a store, and the comparison is looked at
after each rating. `tests/bot/stats` has the same of the pure statistics, over many more seeds.
"""

import random
import statistics
from pathlib import Path

import pytest
from sqlite_utils import Database

from bot.experiments import comparisons, decider
from data import domains
from data.domains import Domain
from data.experiments import assignments, experiments, policies
from data.experiments.experiments import Experiment
from data.feedback import feedback
from data.store.db import Store
from tests.data import given

LIKES = {"A": 0.70, "B": 0.55}
MOST = 1_200  # people, after which a seed is given up
SEEDS = range(15)


def until_rolled_back(db: Database, domain: Domain, running: Experiment, seed: int) -> int:
    """How many rated people it took."""
    rng = random.Random(seed)
    for n in range(1, MOST + 1):
        person = f"slack:T{seed}/U{n}"
        variant = assignments.variant_for(running, person)
        assignments.expose(db, running.id, person, variant.id, running.stage)
        reply = given.reply(db, domain, person, variant=variant)
        feedback.thumb(db, reply, person, rng.random() < LIKES[variant.label])
        found = decider.evaluate_experiment(db, running) if n >= 2 * 20 else None
        made = decider.apply_verdict(db, found) if found else None
        if made is not None:
            assert made.action == "roll back", made
            assert experiments.running(db, domain.id) is None
            return n
    return MOST


@pytest.mark.slow
def test_a_candidate_15_points_worse_is_rolled_back_after_a_median_of_400_people_at_most(
    tmp_path: Path,
) -> None:
    taken = []
    for seed in SEEDS:
        with Store(tmp_path / f"{seed}.db") as store, store.write() as db:
            domain = domains.create(db, "helpdesk")
            given.adapter(db, domain, "live")
            given.adapter(db, domain)
            policies.set_policy(db, domain, "auto-roll-back", "cli:ann")
            begun = comparisons.begin(db, domain, ["1", "2"], "cli:ann")
            db.execute("UPDATE experiments SET salt = ?", [f"salt {seed}"])  # the same every time
            running = experiments.get(db, begun.id)
            taken.append(until_rolled_back(db, domain, running, seed))
    assert statistics.median(taken) <= 400, sorted(taken)
