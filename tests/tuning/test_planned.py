"""A run does what its dry run (`bot/commands/retrain_plan.py`) says."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from bot.commands import admin, retrain_plan
from data.adapters import registry
from data.config.settings import Settings
from data.domains import Domain
from data.pairs import datasets, pairs
from data.pairs.pairs import Draft, Split
from data.pairs.preference_sets import TooFewRated
from data.runs import runs
from data.store.db import Store
from data.store.errors import Conflict, Invalid
from tests.data.pairs.test_preference_pairs import corrected
from tests.tuning.conftest import teach
from tests.tuning.data.test_training_set import parent_of, training_set
from tuning.training.loop import total_steps


@pytest.mark.parametrize("count", [3, 40, 120])
def test_a_full_run_takes_the_steps_that_were_planned(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, count: int
) -> None:
    teach(store, domain, count)

    planned = retrain_plan.plan(store.db, settings, domain)

    made = training_set(store, settings, domain, tokenizer)
    assert planned.steps == total_steps(len(made.epoch(0)), made.recipe)
    assert planned.new - planned.held_out == made.new
    assert planned.why == made.recipe.why
    assert planned.recipe["learning_rate"] == made.recipe.learning_rate


@pytest.mark.parametrize("split", ["auto", "validation"])
def test_the_plan_promises_early_stopping_only_with_held_out_pairs(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, split: Split
) -> None:
    teach(store, domain, 5)
    with store.write() as db:
        extra = [Draft("Where is the lid?", "Off.", split=split)]
        pairs.add(db, domain, extra, source="test", status="approved")

    planned = retrain_plan.plan(store.db, settings, domain, overrides={"patience": 2})

    made = training_set(store, settings, domain, tokenizer, patience=2)
    assert planned.why == made.recipe.why
    assert ("there is no early stopping" in planned.why) is (split == "auto")


@pytest.mark.parametrize(("kind", "held"), [("none", "none"), ("bitsandbytes", "nf4")])
def test_the_plan_and_the_run_take_the_precision_of_the_engines(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any,
    kind: Literal["none", "bitsandbytes"], held: str,
) -> None:  # fmt: skip
    teach(store, domain, 3)
    serving = settings.serving.model_copy(update={"quantization": kind})
    settings = settings.model_copy(update={"serving": serving})

    planned = retrain_plan.plan(store.db, settings, domain)

    made = training_set(store, settings, domain, tokenizer)
    assert made.recipe.quantization == held
    assert planned.why == made.recipe.why
    assert "as the engines serve it" in planned.why


@pytest.mark.parametrize("count", [1, 5, 60])
def test_an_incremental_run_takes_the_steps_that_were_planned(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, count: int
) -> None:
    teach(store, domain, 50)
    parent = parent_of(store, settings, domain)
    with store.write() as db:
        registry.promote(db, parent, "ann")
    teach(store, domain, count, start=50)

    planned = retrain_plan.plan(store.db, settings, domain)

    made = training_set(store, settings, domain, tokenizer, parent)
    assert planned.parent == "helpdesk@1"
    assert planned.steps == total_steps(len(made.epoch(0)), made.recipe)
    assert planned.new - planned.held_out == made.new


def test_a_search_is_planned_with_the_number_of_its_trainings(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 40)
    asked = {"sweep": {"rank": [8, 16, 32]}, "folds": 2, "epochs": 3}

    planned = retrain_plan.plan(store.db, settings, domain, overrides=asked)

    assert (planned.trainings, planned.recipe["epochs"]) == (6, 3)
    assert "it would first train 6 times" in retrain_plan.describe(planned)[-1]


def test_a_cross_validation_is_planned_to_hold_nothing_out(
    store: Store, settings: Settings, domain: Domain
) -> None:
    held_out = replace(domain, validation_share=0.5)
    teach(store, domain, 60)

    planned = retrain_plan.plan(store.db, settings, held_out)
    crossed = retrain_plan.plan(store.db, settings, held_out, overrides={"folds": 2})

    assert planned.held_out > 0
    assert (crossed.new, crossed.held_out) == (60, 0)


def test_pairs_without_training_in_the_parent_are_planned_as_new(
    store: Store,
    settings: Settings,
    domain: Domain,
    tokenizer: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was held out from the parent, and is not held out any more."""
    held_out = replace(domain, validation_share=0.5)
    teach(store, domain, 40)
    monkeypatch.setattr(datasets, "VALIDATION_FACTS", 10)
    parent = parent_of(store, settings, held_out)
    monkeypatch.undo()
    with store.write() as db:
        registry.promote(db, parent, "ann")
    teach(store, domain, 1, start=40)

    planned = retrain_plan.plan(store.db, settings, held_out)

    made = training_set(store, settings, held_out, tokenizer, parent)
    assert made.new > 1
    assert planned.new - planned.held_out == made.new
    assert planned.steps == total_steps(len(made.epoch(0)), made.recipe)


def test_requests_that_a_run_would_refuse_are_refused_early(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 40)
    with pytest.raises(Invalid, match="rank is both set and swept"):
        retrain_plan.plan(
            store.db, settings, domain, overrides={"sweep": {"rank": [8, 16]}, "rank": 8}
        )
    small = settings.model_copy(
        update={"serving": settings.serving.model_copy(update={"max_lora_rank": 16})}
    )
    with pytest.raises(Invalid, match="this deployment serves at most 16"):
        retrain_plan.plan(store.db, small, domain, overrides={"rank": 32})


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"folds": 3}, "folds cannot be used with the method kto"),
        ({"sweep": {"epochs": [1, 2]}}, "sweep cannot be used with the method kto"),
        ({"packing": True}, "packing cannot be used with the method kto"),
        ({"learning_rate": "auto"}, "learning_rate=auto cannot be used with the method kto"),
        ({"ewc": 5}, "ewc cannot be used with the method kto"),
        ({"replay_answers": "adapter"}, "replay_answers=adapter cannot be used with the method"),
    ],
)
def test_settings_that_kto_does_not_support_are_refused_early(
    store: Store, settings: Settings, domain: Domain, asked: dict[str, Any], words: str
) -> None:
    rated = {"method": "kto"}
    with pytest.raises(Invalid, match=words):
        retrain_plan.plan(store.db, settings, domain, overrides=rated | asked)
    with store.write() as db, pytest.raises(Invalid, match=words):
        admin.retrain(db, domain, "ann", recipe=rated | asked)
    with pytest.raises(Invalid, match="Choose one of them"):
        retrain_plan.plan(store.db, settings, domain, overrides=rated, full=True)


@pytest.mark.parametrize(
    "asked",
    [{"rank": 16}, {"sweep": {"rank": [8, 16]}}, {"rank": 16, "method": "kto"}],
)
def test_another_shape_than_the_live_adapters_is_refused_at_the_request(
    store: Store, settings: Settings, domain: Domain, asked: dict[str, Any]
) -> None:
    teach(store, domain, 20)
    parent = parent_of(store, settings, domain)
    with store.write() as db:
        registry.promote(db, parent, "ann")
    teach(store, domain, 1, start=20)

    words = r"rank cannot change in a run that continues helpdesk@1 \(8\)"
    with pytest.raises(Invalid, match=words):
        retrain_plan.plan(store.db, settings, domain, overrides=asked)
    with store.write() as db, pytest.raises(Invalid, match=words):
        admin.retrain(db, domain, "ann", recipe=asked)
    assert runs.recent(store.db) == []
    if "method" not in asked:
        with store.write() as db:
            assert admin.retrain(db, domain, "ann", full=True, recipe=asked).kind == "full"


@pytest.mark.parametrize(
    "asked", [{"ewc": 10}, {"replay_answers": "adapter"}, {"sweep": {"ewc": [0, 10]}}]
)
def test_keeping_what_an_adapter_knows_is_refused_where_there_is_none(
    store: Store, settings: Settings, domain: Domain, asked: dict[str, Any]
) -> None:
    """Such a run would train as if nothing had been asked for."""
    teach(store, domain, 20)
    words = "keeps what the live adapter knows, and this run starts from the base model"
    with pytest.raises(Invalid, match=words):
        retrain_plan.plan(store.db, settings, domain, overrides=asked)
    with store.write() as db, pytest.raises(Invalid, match=words):
        admin.retrain(db, domain, "ann", recipe=asked)
    parent = parent_of(store, settings, domain)
    with store.write() as db:
        registry.promote(db, parent, "ann")
    teach(store, domain, 1, start=20)
    with pytest.raises(Invalid, match=words):
        retrain_plan.plan(store.db, settings, domain, overrides=asked, full=True)
    assert retrain_plan.plan(store.db, settings, domain, overrides=asked).new == 1


@pytest.mark.parametrize("method", ["kto", "dpo"])
def test_the_plan_and_the_request_refuse_judgements_without_an_adapter_alike(
    store: Store, settings: Settings, domain: Domain, method: str
) -> None:
    words = "no live adapter to improve with people's judgements. Tune it on pairs first"
    with pytest.raises(Conflict, match=words):
        retrain_plan.plan(store.db, settings, domain, overrides={"method": method})
    with store.write() as db, pytest.raises(Conflict, match=words):
        admin.retrain(db, domain, "ann", recipe={"method": method})


def test_the_plan_of_a_run_on_judgements_shows_what_was_asked_for(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 3)
    parent = parent_of(store, settings, domain)
    with store.write() as db:
        registry.promote(db, parent, "ann")
        for number in range(4):
            corrected(db, domain, number)
    asked = {"method": "dpo", "preference_beta": 0.3, "epochs": 2}
    planned = retrain_plan.plan(store.db, settings, domain, overrides=asked)
    assert planned.recipe == {"preference_beta": 0.3, "epochs": 2}
    assert retrain_plan.describe(planned)[1] == (
        "Asked for: preference beta 0.3, epochs 2. The rest is decided when it runs."
    )
    plain = retrain_plan.plan(store.db, settings, domain, overrides={"method": "dpo"})
    assert "Asked for" not in " ".join(retrain_plan.describe(plain))


def test_nothing_is_planned_while_a_run_is_open(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 3)
    with store.write() as db:
        runs.request(db, domain, "ann")
    with pytest.raises(Conflict, match="Run 1 of helpdesk is already queued"):
        retrain_plan.plan(store.db, settings, domain)


def test_a_plan_changes_nothing(store: Store, settings: Settings, domain: Domain) -> None:
    before = store.db.conn.total_changes
    retrain_plan.plan(store.db, settings, domain)
    assert store.db.conn.total_changes == before


def test_a_plan_without_anything_to_learn_says_what_auto_looked_for(
    store: Store, settings: Settings, domain: Domain
) -> None:
    found = retrain_plan.plan(store.db, settings, domain, overrides={"method": "auto"})
    nothing, why = retrain_plan.describe(found)
    assert nothing == "A retrain of helpdesk would do nothing: there are no new approved pairs."
    assert why.startswith("The method sft was chosen: there are 0 new approved pairs to train on")


def test_a_plan_says_which_method_was_chosen_and_why(
    store: Store, settings: Settings, domain: Domain
) -> None:
    teach(store, domain, 3)
    with store.write() as db:
        for number in range(4):
            corrected(db, domain, number)
    found = retrain_plan.plan(store.db, settings, domain, overrides={"method": "auto"})
    assert (found.method, found.new, found.judged) == ("sft+dpo", 7, 4)
    said = retrain_plan.describe(found)
    assert said[-2:] == [
        "Then it would learn from 4 answers with a better one (DPO).",
        "The method sft+dpo was chosen: there are 7 new approved pairs to train on, 4 answers with "
        "a better one, 0 liked and 0 disliked answers; either kind of judgement needs at least 4.",
    ]
    with pytest.raises(TooFewRated, match="has 0 liked"):
        retrain_plan.plan(store.db, settings, domain, overrides={"method": "sft+kto"})
    with pytest.raises(Invalid, match="method_why cannot be set"):
        retrain_plan.plan(store.db, settings, domain, overrides={"method_why": "I like it"})
    with pytest.raises(
        Invalid, match=r"the method sft\+dpo \(.*The method sft\+dpo was chosen: .*"
    ):
        retrain_plan.plan(store.db, settings, domain, overrides={"method": "auto", "folds": 3})
