"""Which answers with a better one are trained on, and what a second stage takes over."""

from typing import Any

import pytest

from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.domains import Domain
from data.feedback import feedback
from data.pairs import datasets, preference_pairs, review_status
from data.runs import runs
from data.store.db import Store
from data.store.errors import Invalid
from tests.tuning.training.test_preference_set import live, rated
from tuning.data.run_inputs import RunInputs
from tuning.training import dpo_set, methods
from tuning.training.dpo_set import DpoSet

__all__ = ["live"]  # a fixture


def corrected(store: Store, domain: Domain, tokenizer: Any, question: str, **more: Any) -> None:
    reply = rated(store, domain, tokenizer, question, up=False, answer="No idea.", **more)
    with store.write() as db:
        found = feedback.correction(db, reply, "slack:T1/U1", f"It is {question}")
        review_status.set_status(db, found.pair_id or 0, "approved", "cli:ann")


def inputs_of(store: Store, domain: Domain, parent: Adapter, method: str) -> RunInputs:
    with store.write() as db:
        run = runs.request(db, domain, "ann", recipe={"method": method})
        preference_pairs.freeze(db, run.id, domain)
        return RunInputs(run, domain, datasets.freeze(db, domain), parent)


def made(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, parent: Adapter
) -> DpoSet:
    inputs = inputs_of(store, domain, parent, "dpo")
    return dpo_set.prepare_dpo_set(store.db, settings, inputs, tokenizer)


def test_both_answers_have_the_prompt_that_the_engine_got(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    for number in range(4):
        corrected(store, domain, tokenizer, f"Wrong {number}?")

    found = made(store, settings, domain, tokenizer, live)

    assert list(found.training_set.epoch(0)) == list(found.objective.rejected)
    for chosen, rejected in found.objective.rejected.items():
        assert chosen.prompt == rejected.prompt
        said = [tokenizer.decode(one.ids[-one.answered :]) for one in (chosen, rejected)]
        assert "It is Wrong" in said[0]
        assert "No idea." in said[1]
    assert "4 answers with a better one: DPO from helpdesk@1" in found.training_set.recipe.why


def test_an_answer_to_an_unknown_prompt_is_left_out(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    for number in range(4):
        corrected(store, domain, tokenizer, f"Wrong {number}?")
    corrected(store, domain, tokenizer, "A caller's own?", system="You are a pirate.")

    found = made(store, settings, domain, tokenizer, live)

    assert len(found.objective.rejected) == 4
    assert found.left_out == 1


def test_without_a_usable_pair_the_run_says_so(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    for number in range(4):
        corrected(store, domain, tokenizer, f"Wrong {number}?", system="You are a pirate.")
    with pytest.raises(Invalid, match="0 of 4 answers with a better one are usable"):
        made(store, settings, domain, tokenizer, live)


def test_the_second_stage_has_the_shape_of_the_first_and_a_small_rate(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    for number in range(4):
        corrected(store, domain, tokenizer, f"Wrong {number}?")
    inputs = inputs_of(store, domain, live, "sft+dpo")

    setup = methods.set_up(store.db, settings, inputs, tokenizer)

    assert setup.then is not None
    first, second = setup.training_set, setup.then.training_set
    assert (first.recipe.rank, second.recipe.rank) == (8, 8)
    assert second.recipe.learning_rate < first.recipe.learning_rate
    assert second.measured == first.measured
    assert (setup.objective, first.new, second.new) == (None, 4, 4)
    assert first.recipe.why.endswith(
        "Then DPO on 4 answers with a better one, with a small rate and few epochs."
    )
