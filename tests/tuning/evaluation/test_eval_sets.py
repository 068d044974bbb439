"""The questions that an adapter is evaluated on, in sets that do not overlap."""

from dataclasses import replace
from typing import Any

import pytest

from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.pairs import datasets, pairs
from data.pairs.pairs import Draft
from data.store.db import Store
from tests.tuning.conftest import teach
from tuning.evaluation import eval_sets
from tuning.evaluation.eval_sets import EvalSets
from tuning.model.chat_template import stop_ids


def add(store: Store, domain: Domain, *drafts: Draft) -> None:
    with store.write() as db:
        pairs.add(db, domain, list(drafts), source="test", status="approved")


def frozen(store: Store, domain: Domain) -> datasets.Dataset:
    with store.write() as db:
        return datasets.freeze(db, domain)


def live(store: Store, domain: Domain, version: int = 1, parent_id: int | None = None) -> Adapter:
    """An adapter that was trained on what there is now."""
    dataset = frozen(store, domain)
    with store.write() as db:
        adapter = registry.register(
            db, domain, version=version, sha256="a" * 64, path=f"adapters/helpdesk/{version}",
            rank=8, base_model="pocket", size_bytes=1, recipe={}, scores={},
            dataset_id=dataset.id, parent_id=parent_id,
        )  # fmt: skip
        return registry.promote(db, adapter, "ann")


def prepared(
    store: Store,
    domain: Domain,
    tokenizer: Any,
    beside: Adapter | None = None,
    parent: Adapter | None = None,
) -> EvalSets:
    dataset, stops = frozen(store, domain), stop_ids(tokenizer)
    return eval_sets.prepare_eval_sets(
        store.db, domain, dataset, beside, tokenizer, stops, 512, parent
    )


def test_a_first_adapter_is_asked_golden_and_held_out_questions(
    store: Store, domain: Domain, tokenizer: Any
) -> None:
    teach(store, domain, 8)
    add(
        store,
        domain,
        Draft("And box 5?", "Box 5 opens with 84.", split="golden"),
        Draft("Where is the cellar?", "Below.", split="validation"),
        *(Draft(f"Which key is it, {who}?", "The red one.", fact="key") for who in "abcdefgh"),
    )

    found = prepared(store, domain, tokenizer)

    assert found.of["golden"] == found.of["validation"] == 1
    assert set(found.sets) <= {"golden", "validation", "probe"}
    assert [q.text for q in found.answered("golden")] == ["And box 5?"]
    (question,) = found.sets["validation"]
    assert question.expected == "Below."
    assert question.messages[0] == {"role": "system", "content": "Be brief."}
    rendered = tokenizer.apply_chat_template(
        list(question.messages), tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    assert question.prompt == tuple(ids)
    assert question.most_tokens > question.expected_tokens


def test_with_a_live_adapter_there_are_also_new_and_replay_questions(
    store: Store, domain: Domain, tokenizer: Any
) -> None:
    teach(store, domain, 8)
    parent = live(store, domain)
    add(store, domain, Draft("What is new?", "The paint."))

    found = prepared(store, domain, tokenizer, parent)

    assert [q.text for q in found.sets["new"]] == ["What is new?"]
    assert found.of["replay"] == 8


def test_pairs_that_were_trained_before_they_were_held_out_are_replay_questions(
    store: Store, domain: Domain, tokenizer: Any
) -> None:
    held_out = replace(domain, validation_share=0.5)
    teach(store, domain, 40)
    first = live(store, held_out)
    teach(store, domain, 20, start=40)
    second = live(store, held_out, version=2, parent_id=first.id)
    teach(store, domain, 20, start=60)

    found = prepared(store, held_out, tokenizer, second)

    old = {f"What is the code of box {i}?" for i in range(40)}
    assert found.sets["validation"]
    assert not old & {question.text for question in found.sets["validation"]}
    assert old <= {question.text for question in found.sets["replay"]}


def test_a_full_run_may_hold_out_training_pairs_of_the_live_adapter(
    store: Store, domain: Domain, tokenizer: Any
) -> None:
    held_out = replace(domain, validation_share=0.5)
    teach(store, domain, 40)
    first = live(store, held_out)
    teach(store, domain, 20, start=40)
    dataset = frozen(store, held_out)
    spared = {p.id for p in datasets.pairs_of(store.db, dataset.id, "validation")}

    full = prepared(store, held_out, tokenizer, first)
    further = prepared(store, held_out, tokenizer, first, parent=first)

    assert full.withheld == spared & registry.pairs_learned(store.db, first)
    assert full.withheld
    assert not further.withheld


def test_a_corrected_answer_is_new_and_the_wrong_one_is_not_replayed(
    store: Store, domain: Domain, tokenizer: Any
) -> None:
    teach(store, domain, 4)
    parent = live(store, domain)
    add(store, domain, Draft("What is the code of box 2?", "Box 2 has a new code."))

    found = prepared(store, domain, tokenizer, parent)

    assert [q.expected for q in found.sets["new"]] == ["Box 2 has a new code."]
    assert "What is the code of box 2?" not in [q.text for q in found.sets["replay"]]


def test_every_adapter_is_asked_the_same_sample(
    store: Store, domain: Domain, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(eval_sets.ANSWERED, "golden", 5)
    monkeypatch.setattr(eval_sets, "MEASURED", 9)
    teach(store, domain, 4)
    add(store, domain, *(Draft(f"golden {i}", f"gold {i}", split="golden") for i in range(20)))
    first = prepared(store, domain, tokenizer)
    add(store, domain, Draft("What is new?", "The paint."))

    again = prepared(store, domain, tokenizer)

    assert first.sets["golden"] == again.sets["golden"]
    assert (len(first.answered("golden")), len(first.sets["golden"]), first.of["golden"]) == (
        5,
        9,
        20,
    )


def test_golden_questions_are_in_no_other_set(store: Store, domain: Domain, tokenizer: Any) -> None:
    teach(store, domain, 8)
    parent = live(store, domain)
    add(store, domain, Draft("golden?", "gold", split="golden"), Draft("What is new?", "Paint."))

    found = prepared(store, domain, tokenizer, parent)

    others = [q.text for name, some in found.sets.items() if name != "golden" for q in some]
    assert "golden?" not in others


def test_a_correction_of_a_golden_fact_changes_what_is_expected(
    store: Store, domain: Domain, tokenizer: Any
) -> None:
    add(
        store,
        domain,
        Draft("Where a?", "Upstairs.", fact="place"),
        Draft("Where c?", "Upstairs.", fact="place", split="golden"),
    )
    add(store, domain, Draft("Where a?", "Downstairs."))

    found = prepared(store, domain, tokenizer)

    assert [q.expected for q in found.sets["golden"]] == ["Downstairs."]


def test_a_golden_question_expects_the_newest_answer_of_its_fact(
    store: Store, domain: Domain, tokenizer: Any
) -> None:
    add(
        store,
        domain,
        Draft("Where is it?", "Upstairs.", fact="place"),
        Draft("On which floor?", "Upstairs.", fact="place", split="golden"),
    )
    before = live(store, domain)
    add(store, domain, Draft("Where is it?", "Downstairs.", fact="place"))

    found = prepared(store, domain, tokenizer, before)

    assert [q.expected for q in found.sets["golden"]] == ["Downstairs."]
    assert [q.expected for q in found.sets["new"]] == ["Downstairs."]
    assert "replay" not in found.sets
