"""A base is taught to read once, and runs with references start from there."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from data.adapters import files
from data.config.settings import SearchSettings, Settings
from data.domains import Domain
from data.search import layout
from data.search.search import PairSearch
from data.store.db import Store
from data.store.errors import Conflict, Invalid
from tests.tuning.conftest import teach
from tests.tuning.data.test_grounded_pairs import ALONE, inputs_of
from tuning.bases import reading
from tuning.bases.reading import ReadingAdapter
from tuning.data import reading_examples, reading_set
from tuning.model import reading_adapter
from tuning.training import job as training
from tuning.training.job import TrainingJob

SMALL = {"rank": 8, "alpha": 8.0, "batch_size": 2, "max_steps": 1}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two organisations, so that a pass takes a moment."""
    some = reading_examples.organisations()[:2]
    monkeypatch.setattr(reading_examples, "organisations", lambda: some)


def taught(settings: Settings, **more: Any) -> tuple[Path, ReadingAdapter]:
    return reading.train(settings, SMALL | more, lambda what, share: None)


def test_a_run_with_references_starts_from_the_reading_adapter_in_its_shape(
    store: Store, settings: Settings, domain: Domain, few: None
) -> None:
    folder, made = taught(settings)
    teach(store, domain, 4)
    search = PairSearch(store, SearchSettings(encoder="words"))

    inputs = inputs_of(store, domain, **ALONE, max_steps=1)
    job = TrainingJob(settings, inputs, search=search)
    prepared = training.prepare_training(store.db, job)
    loaded = training.load_model(job, prepared)

    assert reading_adapter.find(settings) == folder
    assert (made.layout, made.steps, made.organisations) == (layout.VERSION, 1, 2)
    recipe = prepared.recipe
    assert (recipe.starts_from, recipe.rank, recipe.alpha) == ("reading", 8, 8.0)
    assert "It starts from the base's reading adapter" in recipe.why
    kept = load_file(folder / files.WEIGHTS)
    name = next(n for n in kept if n.endswith("lora_B.weight"))
    own = dict(loaded.model.named_parameters())[name.replace(".weight", ".default.weight")]
    assert torch.equal(own, kept[name])
    assert bool(own.detach().any())


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"references": 0}, ""),
        ({"starts_from": "base"}, ""),
        ({"rank": 16}, "does not start from the base's reading adapter: rank cannot change"),
    ],
)
def test_other_runs_start_from_the_bare_base(
    store: Store, settings: Settings, domain: Domain, few: None, asked: dict[str, Any], why: str
) -> None:
    taught(settings)
    teach(store, domain, 4)
    search = PairSearch(store, SearchSettings(encoder="words"))

    job = TrainingJob(settings, inputs_of(store, domain, **(ALONE | asked)), search=search)
    recipe = training.prepare_training(store.db, job).recipe

    assert recipe.starts_from == "base"
    assert why in recipe.why


def test_it_is_trained_once_unless_asked_again(settings: Settings, few: None) -> None:
    folder, _ = taught(settings)

    with pytest.raises(Conflict, match="There is a reading adapter already"):
        taught(settings)
    again, made = reading.train(settings, SMALL | {"max_steps": 2}, lambda *_: None, again=True)

    assert (again, made.steps) == (folder, 2)


def test_one_of_another_base_or_layout_is_not_used(settings: Settings, few: None) -> None:
    folder, _ = taught(settings)
    record = folder / reading_adapter.RECORD
    known = json.loads(record.read_text())

    for change in ({"layout": 99}, {"base_digest": {"weights": "x"}}):
        record.write_text(json.dumps(known | change))
        assert reading_adapter.find(settings) is None


def test_it_needs_references(settings: Settings) -> None:
    with pytest.raises(Invalid, match="needs references"):
        taught(settings, references=0)


def test_the_answer_is_a_whole_response_or_unknown_and_the_count_says_nothing() -> None:
    organisations = reading_examples.organisations()
    off_topic = reading_examples.off_topic()

    made = reading_set.reading_pairs(
        organisations,
        off_topic,
        references=4,
        missing_share=0.2,
        refusal_share=1,
        seed=0,
        number=0,
    )

    counts: dict[bool, set[int]] = {True: set(), False: set()}
    small_talk = {e.answer for o in organisations for e in o.examples if e.kind == "small_talk"}
    for pair in made:
        shown = pair.prompt.split("\nA: ")[1:]
        unknown = pair.response == layout.UNKNOWN
        if not unknown and pair.response not in small_talk:
            assert any(text.startswith(pair.response) for text in shown)
        counts[unknown].add(len(shown))
    assert counts[True] >= {2, 3, 4}
    assert counts[False] >= {2, 3, 4}


def test_each_pass_shows_other_references(settings: Settings) -> None:
    def shown(number: int) -> list[str]:
        made = reading_set.reading_pairs(
            reading_examples.organisations()[:1],
            reading_examples.off_topic(),
            references=4,
            missing_share=0.1,
            refusal_share=0.1,
            seed=0,
            number=number,
        )
        return [pair.prompt for pair in made]

    assert shown(0) == shown(0)
    assert shown(0) != shown(1)
