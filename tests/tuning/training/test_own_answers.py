"""On-policy replay: old questions are replayed with the adapter's own answers."""

from typing import Any

import pytest
from pydantic import ValidationError

from data.adapters import registry
from data.config.settings import Settings
from data.domains import Domain
from data.pairs import datasets
from data.runs import runs
from data.runs.phases import Phase
from data.store.db import Store
from tests.tuning.data.test_training_set import add, parent_of
from tests.tuning.training.test_ewc import NEW, OLD, RECIPE, taught
from tuning.data.examples import check
from tuning.data.run_inputs import RunInputs
from tuning.model import greedy_answers
from tuning.model.base_model import Base, new_adapter
from tuning.recipe.recipe import Recipe
from tuning.training import methods
from tuning.training.own_answers import OwnAnswers


def test_old_examples_get_the_answers_that_the_adapter_gives(base: Base) -> None:
    tuned = taught(base)
    own = OwnAnswers(OLD)
    assert own.of([*OLD, *NEW]) == [*OLD, *NEW]  # nothing was asked yet

    own.prepare(base, tuned, RECIPE)

    tuned.eval()
    assert own.answered
    for old, answered in own.answered.items():
        (said,) = greedy_answers.generate(base, tuned, [old.prompt], old.answered + 16)
        assert answered.ids == (*old.prompt, *said)
        assert answered.pair_id == old.pair_id
    check(list(own.answered.values()), base.stops)
    assert own.of(NEW) == NEW


def test_an_answer_that_does_not_end_is_replaced_by_the_approved_one(base: Base) -> None:
    untaught = new_adapter(base, RECIPE)
    own = OwnAnswers(OLD)
    own.prepare(base, untaught, RECIPE)
    unended = [one for one in OLD if one not in own.answered]
    assert unended
    assert own.of(unended) == unended


def set_up(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, **recipe: Any
) -> methods.MethodSetup:
    add(store, domain, ("a", "one"), ("b", "two"))
    parent = parent_of(store, settings, domain)
    add(store, domain, ("c", "three"))
    with store.write() as db:
        registry.promote(db, parent, "ann")
        run = runs.request(db, domain, "ann", recipe=recipe)
        inputs = RunInputs(run, domain, datasets.freeze(db, domain), parent)
    return methods.set_up(store.db, settings, inputs, tokenizer)


def test_a_run_asks_the_adapter_only_when_the_recipe_says_so(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    found = set_up(store, settings, domain, tokenizer, replay_answers="adapter", ewc=2.0)
    assert found.begin is not None
    assert found.begin_phase is Phase.ASKING_ABOUT_OLD_PAIRS
    assert found.objective is not None
    assert len(found.training_set.old) == 2


def test_the_usual_run_asks_nothing(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    found = set_up(store, settings, domain, tokenizer)
    assert (found.begin, found.objective) == (None, None)


def test_own_answers_and_references_are_not_combined() -> None:
    with pytest.raises(ValidationError, match="replay_answers=adapter and references"):
        Recipe(replay_answers="adapter", references=2)


def test_own_answers_need_something_to_be_replayed() -> None:
    with pytest.raises(ValidationError, match="needs a replay_share above 0"):
        Recipe(replay_answers="adapter", replay_share=0)
