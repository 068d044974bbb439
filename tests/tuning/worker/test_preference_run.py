"""A whole preference-tuning run: from rated answers to a candidate."""

from typing import Any

from data.adapters import registry
from data.config.settings import Settings
from data.domains import Domain
from data.pairs import pairs, preference_sets
from data.runs import runs
from data.store.db import Store
from tests.tuning.conftest import teach
from tests.tuning.training.test_preference_set import rated
from tuning.child_process import ExitCode
from tuning.worker.child import execute_run

QUICK = {"rank": 8, "epochs": 1.0, "evaluations": 1, "max_steps": 2}


def live(store: Store, settings: Settings, domain: Domain) -> registry.Adapter:
    """An adapter that was trained here, whatever the gate says of it."""
    teach(store, domain, 6)
    with store.write() as db:
        runs.request(db, domain, "ann", recipe=QUICK)
        asked = runs.claim(db, "w1")
        assert asked is not None
    assert execute_run(store, settings, asked) == ExitCode.DONE
    with store.write() as db:
        db.execute("UPDATE adapters SET state = 'candidate'")
        return registry.promote(db, registry.get(db, "helpdesk@1"), "ann")


def test_a_kto_run_produces_a_candidate_that_has_learned_no_new_pair(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    parent = live(store, settings, domain)
    for number in range(6):
        rated(store, domain, tokenizer, f"Good {number}?", up=True)
        rated(store, domain, tokenizer, f"Bad {number}?", up=False)
    teach(store, domain, 1, start=90)  # a pair that only a run on pairs learns
    with store.write() as db:
        recipe = {"method": "kto", "learning_rate": 1e-3, "epochs": 2.0}
        runs.request(db, domain, "ann", recipe=recipe)
        asked = runs.claim(db, "w1")
        assert asked is not None

    assert execute_run(store, settings, asked) == ExitCode.DONE

    done = runs.get(store.db, asked.id)
    made = registry.by_id(store.db, done.adapter_id or 0)
    assert (done.state, made.parent_id) == ("done", parent.id)
    assert made.dataset_id == parent.dataset_id
    assert (made.recipe["method"], made.recipe["learning_rate"]) == ("kto", 1e-3)
    assert "method" not in made.recipe["why"]
    assert made.scores["thumbs"]["trained"]["answers"] == 12
    assert made.scores["thumbs"]["trained"]["right"] > 0.5
    assert pairs.new_since(store.db, domain, made.dataset_id) == 1
    assert len(preference_sets.of_run(store.db, asked.id, 6)) == 12
