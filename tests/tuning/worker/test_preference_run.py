"""Whole preference-tuning runs: from rated or corrected answers to a candidate."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from data.adapters import registry
from data.config.settings import Settings
from data.domains import Domain
from data.feedback import feedback
from data.pairs import pairs, preference_sets, review_status
from data.runs import runs
from data.runs.phases import Phase
from data.search.search import PairSearch
from data.store.db import Store
from tests.tuning.conftest import teach
from tests.tuning.training.test_preference_set import rated
from tuning.child_process import ExitCode
from tuning.data.run_inputs import RunInputs, freeze_dataset
from tuning.model.base_model import trainable
from tuning.progress import StepProgress
from tuning.recipe import search_space
from tuning.training import checkpoint, job
from tuning.training.job import TrainingJob, TrainingResult
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


def corrected(store: Store, domain: Domain, tokenizer: Any, number: int) -> None:
    """An answer with an approved correction."""
    reply = rated(store, domain, tokenizer, f"Wrong {number}?", up=False, answer="No idea.")
    with store.write() as db:
        found = feedback.correction(db, reply, "slack:T1/U1", f"It is {number}.")
        review_status.set_status(db, found.pair_id or 0, "approved", "cli:ann")


@pytest.mark.slow
def test_a_run_on_pairs_and_better_answers_ends_with_the_same_bytes_after_a_kill(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, tmp_path: Path
) -> None:
    """Whether it is killed in the first stage or in the second one."""
    parent = live(store, settings, domain)
    for number in range(6):
        corrected(store, domain, tokenizer, number)
    with store.write() as db:
        asked = {"method": "auto", "epochs": 1.0, "evaluations": 1, "batch_size": 8, "max_steps": 2}
        runs.request(db, domain, "ann", recipe=asked)
        run = runs.claim(db, "w1")
    assert run is not None
    assert run.method == "sft+dpo"
    inputs = freeze_dataset(store, run)
    inputs = replace(inputs, run=replace(run, recipe=search_space.overrides(run.recipe)))

    whole, expected, steps = trained(store, settings, inputs, tmp_path / "whole")
    assert steps == list(range(1, expected.outcome.steps + 1))
    assert len(steps) == 2 + 3
    moved = expected.scores["preferences"]["trained"]
    assert (moved["pairs"], moved["right"]) == (6, 1.0)
    assert "Then DPO on 6 answers with a better one" in expected.training_set.recipe.why
    assert inputs.parent == parent

    for step in (1, 2, 3):
        folder = tmp_path / str(step)
        with pytest.raises(Killed):
            trained(store, settings, inputs, folder, kill_after=step)
        again, outcome, left = trained(store, settings, inputs, folder)
        assert all(torch.equal(whole[name], again[name]) for name in whole), step
        assert outcome.scores == expected.scores
        assert left == list(range(step + 1, len(steps) + 1))

    folder = tmp_path / "rejected"
    with pytest.raises(Killed):
        trained(store, settings, inputs, folder, kill_after=4)
    with store.write() as db:
        for pair in pairs.list_pairs(db, domain, "approved"):
            if pair.response == "It is 3.":
                review_status.set_status(db, pair.id, "rejected", "cli:ann")
    fresh, _, _ = trained(store, settings, inputs, tmp_path / "fresh")
    again, _, left = trained(store, settings, inputs, folder)
    assert left == [3, 4, 5]  # the second stage begins anew without the answer that was rejected
    assert all(torch.equal(fresh[name], again[name]) for name in fresh)


class Killed(Exception):
    """Stands for SIGKILL."""


def trained(
    store: Store, settings: Settings, inputs: RunInputs, folder: Path, kill_after: int = 0
) -> tuple[dict[str, torch.Tensor], TrainingResult, list[int]]:
    """The weights, the result, and the steps that were done."""
    steps: list[int] = []

    class Progress:
        def phase(self, phase: Phase, detail: str = "") -> None:
            pass

        def step(self, now: StepProgress) -> None:
            steps.append(now.step)
            if now.step == kill_after:
                raise Killed

    todo = TrainingJob(settings, inputs, search=PairSearch(store, settings.search))
    prepared = job.prepare_training(store.db, todo)
    loaded = job.load_model(todo, prepared)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpoint.Checkpoints.__init__, "__defaults__", (0.0,))
        done = job.train_adapter(todo, prepared, loaded, folder, Progress())
    weights = {name: p.detach().clone() for name, p in trainable(loaded.model).items()}
    return weights, done, steps


@pytest.mark.slow
def test_a_dpo_run_produces_a_candidate(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    parent = live(store, settings, domain)
    for number in range(5):
        corrected(store, domain, tokenizer, number)
    with store.write() as db:
        recipe = {"method": "dpo", "learning_rate": 1e-3, "epochs": 2.0}
        runs.request(db, domain, "ann", recipe=recipe)
        asked = runs.claim(db, "w1")
        assert asked is not None

    assert execute_run(store, settings, asked) == ExitCode.DONE

    made = registry.by_id(store.db, runs.get(store.db, asked.id).adapter_id or 0)
    assert made.dataset_id == parent.dataset_id
    assert made.recipe["method"] == "dpo"
    assert "5 answers with a better one: DPO from helpdesk@1" in made.recipe["why"]
    assert made.scores["preferences"]["trained"]["right"] > 0.5
    (people,) = [rule for rule in made.scores["gate"]["rules"] if rule["name"] == "people"]
    assert people["sentence"].startswith("All judgements are one person's")


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
