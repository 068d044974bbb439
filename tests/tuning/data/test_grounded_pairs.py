"""Training with references: what the examples of a pass show, and that it never changes."""

import json
from typing import Any

import pytest

from data.adapters import registry
from data.config.settings import SearchSettings, Settings
from data.domains import Domain
from data.pairs import datasets, pairs, review_status
from data.pairs.pairs import Draft
from data.runs import runs
from data.search import layout
from data.search.search import PairSearch
from data.store.db import Store
from data.store.errors import Invalid
from tests.tuning.data.test_training_set import parent_of
from tuning.data import frozen_references
from tuning.data.examples import Example
from tuning.data.grounded_pairs import GroundedPairs
from tuning.data.run_inputs import RunInputs
from tuning.data.training_set import TrainingSet, prepare_training_set
from tuning.evaluation import eval_sets
from tuning.recipe.recipe import Recipe

STOPS = frozenset({2})
ALONE = {"references": 2, "missing_share": 0.0, "refusal_share": 0.0, "reading_share": 0.0}


def teach(store: Store, domain: Domain, boxes: range) -> list[int]:
    """Two phrasings of the code of each box."""
    drafts = [
        Draft(words.format(box=box), f"Box {box} opens with {box * 37 % 101}.", fact=f"b{box}")
        for box in boxes
        for words in ("What is the code of box {box}?", "How do I open box {box}?")
    ]
    with store.write() as db:
        return pairs.add(db, domain, drafts, source="test", status="approved").ids


@pytest.fixture
def search(store: Store) -> PairSearch:
    return PairSearch(store, SearchSettings(encoder="words"))


def inputs_of(
    store: Store, domain: Domain, parent: registry.Adapter | None = None, **recipe: Any
) -> RunInputs:
    with store.write() as db:
        kind = "incremental" if parent else "full"
        run = runs.queue(db, domain, "ann", kind=kind, recipe=recipe)
        db.execute("DELETE FROM runs WHERE id = ?", [run.id])
        return RunInputs(run, domain, datasets.freeze(db, domain), parent)


def shown(tokenizer: Any, example: Example) -> tuple[str, list[str], str]:
    """The question, the responses of the references (the best one last) and the answer."""
    prompt = tokenizer.decode(example.prompt)
    asked = prompt.rpartition("Question: ")[2].partition("<|im_end|>")[0]
    answers = [
        line[3:].removesuffix("<|im_end|>") for line in prompt.split("\n") if line[:3] == "A: "
    ]
    answer = tokenizer.decode(example.ids[len(example.prompt) : -1])
    return asked, answers, answer.removesuffix("<|im_end|>").strip()


@pytest.fixture
def prepared(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, search: PairSearch
) -> Any:
    def prepare(parent: registry.Adapter | None = None, **recipe: Any) -> TrainingSet:
        inputs = inputs_of(store, domain, parent, **(ALONE | recipe))
        return prepare_training_set(store.db, settings, inputs, tokenizer, search=search)

    return prepare


def test_each_pair_shows_what_its_question_finds_without_itself(
    store: Store, domain: Domain, tokenizer: Any, prepared: Any
) -> None:
    teach(store, domain, range(6))

    found = [shown(tokenizer, example) for example in prepared().epoch(0)]

    assert len(found) == 12
    for question, references, answer in found:
        assert answer in references
        assert len(references) == len(set(references)) == 2
        assert question[-2] in answer  # the box


def test_a_pair_whose_fact_has_no_other_phrasing_is_its_own_reference(
    store: Store, domain: Domain, tokenizer: Any, prepared: Any
) -> None:
    with store.write() as db:
        drafts = [Draft(f"Where is room {n}?", f"On floor {n}.") for n in range(5)]
        pairs.add(db, domain, drafts, source="test", status="approved")

    for _, references, answer in (shown(tokenizer, e) for e in prepared().epoch(0)):
        assert answer in references


def test_the_examples_have_the_token_ids_of_the_chat_template(
    store: Store, domain: Domain, tokenizer: Any, prepared: Any
) -> None:
    """The engine renders the same messages with the same template."""
    teach(store, domain, range(3))
    by_id = {p.id: p for p in pairs.list_pairs(store.db, domain, "approved")}

    for example in prepared().epoch(0):
        question, references, _ = shown(tokenizer, example)
        pair = by_id[example.pair_id]
        text = tokenizer.decode(example.prompt)
        given = [
            p for r in reversed(references) for p in by_id.values()
            if p.response == r and f"Q: {p.prompt}\n" in text
        ]  # fmt: skip
        said = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": layout.with_references(pair.prompt, given)},
        ]
        rendered = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        assert question == pair.prompt
        assert list(example.prompt) == tokenizer(rendered, add_special_tokens=False)["input_ids"]


def test_where_the_right_reference_is_missing_the_answer_is_unknown(
    store: Store, domain: Domain, tokenizer: Any, prepared: Any
) -> None:
    teach(store, domain, range(20))

    found = [shown(tokenizer, e) for e in prepared(missing_share=0.5).epoch(0)]
    missing = [one for one in found if one[2] == layout.UNKNOWN]

    assert 8 <= len(missing) <= 32
    for question, references, _ in missing:
        box = question.rstrip("?").split()[-1]
        assert references
        assert not any(f"Box {box} " in text for text in references)


def test_refusals_and_reading_examples_have_their_shares(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, prepared: Any
) -> None:
    teach(store, domain, range(15))

    made = prepared(refusal_share=0.2, reading_share=0.3).epoch(0)
    own = [e for e in made if e.pair_id]
    others = [shown(tokenizer, e) for e in made if not e.pair_id]
    reading = [e for e in made if not e.pair_id and "Be brief." not in tokenizer.decode(e.prompt)]

    assert len(own) == 30
    assert len(made) == 60
    assert len(reading) == 18
    refused = [one for one in others if one[2] == layout.UNKNOWN]
    assert len(refused) >= 12


def test_passes_differ_and_each_is_always_the_same(
    store: Store, domain: Domain, prepared: Any
) -> None:
    teach(store, domain, range(10))
    mixed = {"missing_share": 0.2, "refusal_share": 0.2, "reading_share": 0.2}

    one, again = prepared(**mixed), prepared(**mixed)

    assert one.epoch(0) == again.epoch(0)
    assert one.epoch(1) == again.epoch(1)
    assert one.epoch(0) != one.epoch(1)


def test_a_resumed_run_sees_the_same_references_whatever_was_approved_since(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, search: PairSearch
) -> None:
    teach(store, domain, range(6))
    inputs = inputs_of(store, domain, **ALONE)
    before = prepare_training_set(store.db, settings, inputs, tokenizer, search=search)
    first = list(before.epoch(0))
    taught = teach(store, domain, range(50, 60))
    with store.write() as db:
        review_status.set_status(db, taught[0], "rejected", "ann")

    after = prepare_training_set(store.db, settings, inputs, tokenizer, search=search)

    assert after.epoch(0) == first
    assert after.references_sha256 == before.references_sha256


def test_the_frozen_references_hold_no_words(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, search: PairSearch
) -> None:
    """They are erased with the pairs."""
    teach(store, domain, range(6))
    inputs = inputs_of(store, domain, **ALONE)

    prepare_training_set(store.db, settings, inputs, tokenizer, search=search)

    file = settings.checkpoints_path(inputs.run.id).parent / frozen_references.FILE
    assert json.loads(file.read_text())["found"]
    assert "box" not in file.read_text().lower()


def test_fewer_references_are_shown_where_they_do_not_fit(
    store: Store, domain: Domain, tokenizer: Any, prepared: Any
) -> None:
    teach(store, domain, range(6))
    usual = prepared().epoch(0)
    length = max(len(e.ids) for e in usual) - 5

    tight = prepared(max_length=length).epoch(0)

    assert max(len(e.ids) for e in tight) <= length
    for _, references, answer in (shown(tokenizer, e) for e in tight):
        assert answer in references
    assert min(len(shown(tokenizer, e)[1]) for e in tight) == 1


def test_references_need_a_search(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    teach(store, domain, range(3))

    with pytest.raises(Invalid, match="nothing searches"):
        prepare_training_set(store.db, settings, inputs_of(store, domain, **ALONE), tokenizer)


def test_the_recipe_keeps_the_layout_and_no_references_means_none(
    store: Store, domain: Domain, prepared: Any
) -> None:
    teach(store, domain, range(3))

    assert layout.of_recipe(prepared().recipe.model_dump()) == layout.VERSION
    assert layout.of_recipe(prepared(references=0).recipe.model_dump()) == layout.NONE


def test_a_run_that_continues_an_adapter_keeps_its_layout(
    store: Store, settings: Settings, domain: Domain, prepared: Any
) -> None:
    teach(store, domain, range(4))
    reads = parent_of(store, settings, domain, recipe={"references": 2, "layout": 1})
    plain = parent_of(store, settings, domain, version=2)
    teach(store, domain, range(10, 12))

    on = prepared(reads).recipe
    assert (on.references, on.layout) == (2, 1)
    with pytest.raises(Invalid, match="trained without references"):
        prepared(plain)
    with pytest.raises(Invalid, match="trained with references"):
        prepared(reads, references=0)


def test_golden_questions_are_asked_as_people_would_be_answered(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, search: PairSearch
) -> None:
    """And the live adapter without references, where it was trained without."""
    teach(store, domain, range(100, 104))
    with store.write() as db:
        golden = Draft("Please open box 102", "Box 102 opens with 37.", fact="b102", split="golden")
        pairs.add(db, domain, [golden], source="test", status="approved")
    live = parent_of(store, settings, domain)
    inputs = inputs_of(store, domain)
    found = frozen_references.of_run(store.db, search, settings, inputs, 2)

    sets = eval_sets.prepare_eval_sets(
        store.db, domain, inputs.dataset, live, tokenizer, STOPS, 512, references=2, found=found
    )

    (asked,) = sets.asked("golden")
    _, references, _ = shown(tokenizer, asked.example)
    assert "Box 102 opens with 37." in references
    assert len(references) == 2
    assert asked.text == "Please open box 102"
    assert sets.nearest == ["Box 102 opens with 37."]
    rendered = tokenizer.apply_chat_template(
        list(asked.messages), tokenize=False, add_generation_prompt=True
    )
    assert list(asked.prompt) == tokenizer(rendered, add_special_tokens=False)["input_ids"]
    (plain,) = sets.asked("golden", live=True)
    assert plain.messages[-1]["content"] == "Please open box 102"


def test_the_pair_itself_is_no_reference_in_the_evaluation(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, search: PairSearch
) -> None:
    teach(store, domain, range(4))
    live = parent_of(store, settings, domain)
    inputs = inputs_of(store, domain)
    found = frozen_references.of_run(store.db, search, settings, inputs, 2)

    sets = eval_sets.prepare_eval_sets(
        store.db, domain, inputs.dataset, live, tokenizer, STOPS, 512, references=2, found=found
    )

    for asked in sets.asked("replay"):
        assert f"Q: {asked.text}\n" not in asked.messages[-1]["content"]
        assert "Q: " in asked.messages[-1]["content"]


def test_each_question_without_an_answer_is_drawn_from_once(
    store: Store, settings: Settings, domain: Domain, search: PairSearch
) -> None:
    teach(store, domain, range(4))
    inputs = inputs_of(store, domain, references=2)
    found = frozen_references.of_run(store.db, search, settings, inputs, 2)
    grounded = GroundedPairs(found, Recipe(references=2), lambda *_: pytest.fail("none is made"))
    grounded.prepare(datasets.pairs_of(store.db, inputs.dataset.id, "train"))

    asked = [refused.pair.prompt for refused in grounded._refused]
    assert len(asked) == len(set(asked)) > 100
