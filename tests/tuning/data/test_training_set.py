"""The training set: separate parts, the parent's shape, and useless runs that are refused."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data import domains
from data.adapters import registry
from data.config.settings import ServingSettings, Settings
from data.domains import Domain
from data.pairs import datasets, pairs
from data.pairs.pairs import Draft, Split, Turn
from data.runs import runs
from data.store.db import Store
from data.store.errors import Invalid, NotFound
from tests.tuning.conftest import teach
from tuning.data.run_inputs import RunInputs
from tuning.data.training_set import TrainingSet, prepare_training_set


def add(
    store: Store, domain: Domain, *words: tuple[str, str], fact: str = "", split: Split = "auto"
) -> list[int]:
    drafts = [Draft(prompt, response, fact=fact, split=split) for prompt, response in words]
    with store.write() as db:
        return pairs.add(db, domain, drafts, source="test", status="approved").ids


def training_set(
    store: Store,
    settings: Settings,
    domain: Domain,
    tokenizer: Any,
    parent: registry.Adapter | None = None,
    **recipe: Any,
) -> TrainingSet:
    with store.write() as db:
        kind = "incremental" if parent else "full"
        run = runs.queue(db, domain, "ann", kind=kind, recipe=recipe)
        db.execute("DELETE FROM runs WHERE id = ?", [run.id])
        dataset = datasets.freeze(db, domain)
    return prepare_training_set(
        store.db, settings, RunInputs(run, domain, dataset, parent), tokenizer
    )


def parent_of(
    store: Store,
    settings: Settings,
    domain: Domain,
    targets: Sequence[str] = ("v_proj", "q_proj"),
    version: int = 1,
    before: registry.Adapter | None = None,
    **differs: Any,
) -> registry.Adapter:
    """An adapter trained on what is approved now, on from the one `before`."""
    folder = settings.adapters_path / "helpdesk" / f"{version}-x"
    folder.mkdir(parents=True)
    shape = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": [*targets]}
    (folder / "adapter_config.json").write_text(json.dumps(shape))
    with store.write() as db:
        adapter = registry.register(
            db, domain, version=version, sha256="x", path=f"adapters/helpdesk/{version}-x",
            base_model=settings.base.model, rank=8, size_bytes=1, recipe={}, scores={},
            dataset_id=datasets.freeze(db, domain).id, parent_id=before.id if before else None,
        )  # fmt: skip
    return replace(adapter, **differs)


def test_golden_and_validation_pairs_are_measured_and_never_trained_on(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    trained = add(store, domain, ("a", "one"), ("b", "two"))
    add(store, domain, ("c", "three"), split="golden")
    held_out = add(store, domain, ("d", "four"), split="validation")

    made = training_set(store, settings, domain, tokenizer)

    assert {e.pair_id for n in range(3) for e in made.epoch(n)} == set(trained)
    assert [e.pair_id for e in made.measured["validation"]] == held_out


@pytest.mark.parametrize(("patience", "judges"), [(2, ("validation",)), (0, ())])
def test_held_out_facts_select_the_weights_only_with_early_stopping(
    store: Store,
    settings: Settings,
    domain: Domain,
    tokenizer: Any,
    patience: int,
    judges: tuple[str, ...],
) -> None:
    """A tiny base learns by rote, for many passes: it would be cut short after the first few."""
    add(store, domain, ("a", "one"), ("b", "two"))
    add(store, domain, ("c", "three"), split="validation")

    assert training_set(store, settings, domain, tokenizer, patience=patience).selected_by == judges


def test_the_probe_selects_the_weights_if_there_is_one(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    for fact in "abcdefghijklmnop":
        add(store, domain, *((f"{fact} {i}?", f"It is {fact}.") for i in range(5)), fact=fact)

    made = training_set(store, settings, domain, tokenizer)

    assert made.selected_by == ("probe",)
    assert not {e.pair_id for e in made.measured["probe"]} & {e.pair_id for e in made.epoch(0)}


@pytest.mark.parametrize("split", ["auto", "validation"])
def test_a_run_that_cannot_stop_early_says_so(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, split: Split
) -> None:
    add(store, domain, ("a", "one"), ("b", "two"))
    add(store, domain, ("c", "three"), split=split)

    why = training_set(store, settings, domain, tokenizer, patience=2).recipe.why

    assert ("Nothing is held out, so there is no early stopping." in why) is (split == "auto")


def test_an_incremental_run_has_every_new_pair_and_some_old_ones_in_each_epoch(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    old = add(store, domain, *((f"old {i}", f"answer {i}") for i in range(20)))
    parent = parent_of(store, settings, domain)
    new = add(store, domain, ("new", "answer new"))

    made = training_set(store, settings, domain, tokenizer, parent, replay_share=0.75, batch_size=4)

    for number in range(3):
        ids = [e.pair_id for e in made.epoch(number)]
        assert set(new) <= set(ids)
        assert len(set(ids) & set(old)) == 3
    assert made.selected_by[0] == "new"
    assert [e.pair_id for e in made.measured["new"]] == new


def test_pairs_of_adapters_before_the_parent_are_not_held_out(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    """Below 50 facts all were learned; with the next ones some of these are held out."""
    held_out = replace(domain, validation_share=0.5)
    teach(store, domain, 40)
    first = parent_of(store, settings, held_out)
    teach(store, domain, 20, start=40)
    second = parent_of(store, settings, held_out, version=2, before=first)
    teach(store, domain, 20, start=60)

    made = training_set(store, settings, held_out, tokenizer, second)

    seen = registry.pairs_learned(store.db, second)
    assert len(seen) > 40
    assert made.measured["validation"]
    assert not seen & {example.pair_id for example in made.measured["validation"]}


@pytest.mark.parametrize("named", ["place", ""])
def test_a_correction_changes_the_training_pairs_of_its_fact(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, named: str
) -> None:
    add(store, domain, ("Where a?", "Upstairs."), ("Where b?", "Upstairs."), fact="place")
    add(store, domain, ("Where c?", "Upstairs."), fact="place", split="golden")
    add(store, domain, ("Where a?", "Downstairs."), fact=named)

    made = training_set(store, settings, domain, tokenizer)

    assert {tokenizer.decode(e.ids[-e.trained :]) for e in made.epoch(0)} == {
        "Downstairs.<|im_end|>"
    }
    assert (made.superseded, made.reworded) == (1, 2)


def test_the_shape_of_a_parent_is_kept(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    add(store, domain, ("a", "one"))
    parent = parent_of(store, settings, domain)
    add(store, domain, ("b", "two"))

    recipe = training_set(store, settings, domain, tokenizer, parent).recipe

    assert (recipe.rank, recipe.alpha, recipe.target_modules) == (8, 16, ("q_proj", "v_proj"))


def test_a_parents_shape_cannot_be_changed(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    add(store, domain, ("a", "one"))
    parent = parent_of(store, settings, domain)
    add(store, domain, ("b", "two"))

    with pytest.raises(Invalid, match=r"rank cannot change .* helpdesk@1 \(8\)"):
        training_set(store, settings, domain, tokenizer, parent, rank=16)


@pytest.mark.parametrize(
    "asked", [{"rank": 8, "target_modules": "v_proj, q_proj"}, {"dropout": 0.3}]
)
def test_a_parents_shape_may_be_named_and_its_dropout_be_changed(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, asked: dict[str, Any]
) -> None:
    add(store, domain, ("a", "one"))
    parent = parent_of(store, settings, domain)
    add(store, domain, ("b", "two"))

    recipe = training_set(store, settings, domain, tokenizer, parent, **asked).recipe

    assert (recipe.rank, recipe.target_modules) == (8, ("q_proj", "v_proj"))
    assert recipe.dropout == asked.get("dropout", 0.0)


def test_layer_groups_are_resolved_in_the_base(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    add(store, domain, ("a", "one"))
    mlp = ["up_proj", "down_proj", "gate_proj"]
    parent = parent_of(store, settings, domain, targets=mlp)
    add(store, domain, ("b", "two"))

    recipe = training_set(store, settings, domain, tokenizer, parent, target_modules="mlp").recipe

    assert recipe.target_modules == tuple(sorted(mlp))
    with pytest.raises(Invalid, match="target_modules cannot change"):
        training_set(store, settings, domain, tokenizer, parent, target_modules="all-linear")


def test_no_pair_may_be_longer_than_the_context_of_the_base(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    add(store, domain, ("a", "one"))
    serving = settings.serving.model_copy(update={"max_model_len": 1024})
    long = settings.model_copy(update={"serving": serving})

    assert training_set(store, long, domain, tokenizer).recipe.max_length == 512
    with pytest.raises(Invalid, match="max_length is 600, and the base model reads at most 512"):
        training_set(store, long, domain, tokenizer, max_length=600)


def test_a_run_learns_the_requested_turns_and_is_evaluated_on_the_last(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    turns = (Turn("user", "Hi"), Turn("assistant", "Hello!"))
    with store.write() as db:
        for prompt, split in (("Where is it?", "auto"), ("Who has it?", "validation")):
            draft = Draft(prompt, f"Below {split}.", turns=turns, split=split)  # type: ignore[arg-type]
            pairs.add(db, domain, [draft], source="test", status="approved")

    def learned(part: str, **recipe: Any) -> str:
        made = training_set(store, settings, domain, tokenizer, **recipe)
        (one,) = made.epoch(0) if part == "train" else made.measured[part]
        return str(tokenizer.decode([t for t in one.labels if t >= 0]))

    end = "<|im_end|>"
    assert learned("train") == f"Below auto.{end}"
    assert learned("train", loss_turns="all") == f"Hello!{end}Below auto.{end}"
    assert learned("validation", loss_turns="all") == f"Below validation.{end}"


def test_a_question_that_an_earlier_turn_answers_does_not_measure_the_run(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    turns = (Turn("user", "who has the key"), Turn("assistant", "Ann."))
    held_out = [
        Draft("Who has the key?", "Ann Berg.", split="validation"),
        Draft("When do you close?", "At six.", split="validation"),
    ]
    told = Draft("And where is she?", "Upstairs.", turns=turns)
    with store.write() as db:
        pairs.add(db, domain, [*held_out, told], source="test", status="approved")

    def measured(**recipe: Any) -> list[int]:
        made = training_set(store, settings, domain, tokenizer, **recipe)
        return [example.pair_id for example in made.measured["validation"]]

    assert measured() == [1, 2]
    assert measured(loss_turns="all") == [2]


@pytest.mark.parametrize(
    ("before", "alone"),
    [((), "Where is it kept?"), (("Hi", "Hello!"), "where is it kept"), (("Hi", "Hello!"), "")],
)
def test_an_earlier_answer_to_a_golden_question_is_not_learned(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, before: tuple[str, ...],
    alone: str,
) -> None:  # fmt: skip
    """It stands in a conversation: alone, after other turns, or after the golden one's own."""
    started = tuple(
        Turn(role, text)
        for role, text in zip(("user", "assistant")[: len(before)], before, strict=True)
    )
    gold = Draft("Where is it kept?", "Below.", split="golden", turns=() if alone else started)
    turns = (*started, Turn("user", alone or "Where is it kept?"), Turn("assistant", "Below."))
    told = Draft("And who has the key?", "Ann.", turns=turns)
    with store.write() as db:
        first, second = pairs.add(
            db, domain, [gold, told], source="test", status="approved"
        ).ids  # fmt: skip

    assert training_set(store, settings, domain, tokenizer).new == 1
    words = rf"in an earlier turn pair {second} .* golden question {first}.*loss_turns=last"
    with pytest.raises(Invalid, match=words):
        training_set(store, settings, domain, tokenizer, loss_turns="all")


def test_new_pairs_that_are_only_for_evaluation_are_nothing_to_train_on(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    add(store, domain, ("a", "one"))
    parent = parent_of(store, settings, domain)
    add(store, domain, ("b", "two"), split="validation")

    with pytest.raises(Invalid, match="There is nothing new to train since helpdesk@1"):
        training_set(store, settings, domain, tokenizer, parent)


def test_a_parent_of_another_base_is_refused(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    add(store, domain, ("a", "one"))
    parent = parent_of(store, settings, domain, base_model="another")

    with pytest.raises(Invalid, match="tuned on the base model another"):
        training_set(store, settings, domain, tokenizer, parent)


def test_missing_files_of_the_parent_are_reported(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    add(store, domain, ("a", "one"))
    parent = parent_of(store, settings, domain, path=str(Path("adapters") / "gone"))

    with pytest.raises(NotFound, match="The files of helpdesk@1 are missing"):
        training_set(store, settings, domain, tokenizer, parent)


def test_the_rank_the_engine_was_started_with_is_the_limit(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    add(store, domain, ("a", "one"))
    serving = ServingSettings(max_lora_rank=64)
    settings = settings.model_copy(update={"serving": serving})

    with pytest.raises(Invalid, match="serves at most 64"):
        training_set(store, settings, domain, tokenizer, rank=128)


def test_domains_do_not_see_each_others_pairs(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    mine = add(store, domain, ("a", "one"))
    with store.write() as db:
        add_to = domains.create(db, "other")
    add(store, add_to, ("b", "two"))

    made = training_set(store, settings, domain, tokenizer)

    assert [e.pair_id for e in made.epoch(0)] == mine
