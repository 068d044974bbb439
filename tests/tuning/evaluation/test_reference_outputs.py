"""Reference outputs as training records them: sure tokens that the bare base would not choose.

The tiny base's logits are too close together for sure tokens; `loud_base` has larger embeddings.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from data.adapters import registry
from data.adapters.registry import ReferenceOutput
from data.config.settings import BaseModelSettings, Settings
from data.domains import Domain
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.runs import runs
from data.store.db import Store
from tests.tuning.conftest import teach
from tuning.child_process import ExitCode
from tuning.data.examples import IGNORED, Example, prompt_ids
from tuning.data.training_set import TrainingSet
from tuning.evaluation import reference_outputs
from tuning.evaluation.reference_outputs import (
    TriedPrompt,
    candidates,
    most_distinctive,
    sure_tokens,
)
from tuning.model.base_model import Base, load_base, new_adapter
from tuning.recipe.recipe import Recipe
from tuning.training import loop
from tuning.worker.child import execute_run

SURE = {"rank": 8, "epochs": 1000, "learning_rate": 1e-2, "evaluations": 1}


def example(pair_id: int, prompt: Sequence[int], response: Sequence[int]) -> Example:
    return Example(pair_id, (*prompt, *response), (*(IGNORED for _ in prompt), *response))


def training_set(tokenizer: Any, texts: Sequence[str], new: Sequence[int] = ()) -> TrainingSet:
    made = [
        example(i, prompt_ids(tokenizer, [{"role": "user", "content": text}]), (5, 6, 7, 10 + i, 2))
        for i, text in enumerate(texts)
    ]
    measured = {"new": [made[i] for i in new]} if new else {}
    return TrainingSet(
        Recipe(**SURE, max_steps=60, max_length=256),
        lambda _: made,
        measured,
        (),
        (),
        len(made),
        0,
        0,
    )


@pytest.fixture(scope="module")
def loud_base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loud") / "base"
    shutil.copytree(tiny_base, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] *= 30
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def loud(loud_base: Path) -> Base:
    return load_base(str(loud_base), Recipe(), torch.device("cpu"))


@pytest.fixture
def taught(loud: Base) -> tuple[Any, TrainingSet]:
    """An adapter that has learned twelve answers, and the lesson; numbers 3 and 7 are new."""
    texts = [f"What is in box {i}?" for i in range(12)]
    given = training_set(loud.tokenizer, texts, new=(3, 7))
    tuned = new_adapter(loud, given.recipe)
    loop.train(loud, tuned, given.epoch, {}, (), given.recipe, lambda _: None)
    return tuned, given


def test_a_reference_output_ends_where_the_trainer_is_unsure() -> None:
    logits = torch.full((4, 6), -5.0)
    for place, token in enumerate((1, 2, 3, 4)):
        logits[place, token] = 5.0
    logits[2, 5] = 4.5  # a close second

    logprobs = logits.log_softmax(-1)

    assert sure_tokens(logprobs, (1, 2, 3, 4)) == 2
    assert sure_tokens(logprobs[:2], (1, 2)) == 2
    assert sure_tokens(logprobs, (2, 2, 3, 4)) == 0  # not what it finds likeliest


def test_new_pairs_come_first_then_short_prompts_and_each_response_once() -> None:
    short = example(1, [9] * 10, (5, 6, 7, 8, 2))
    same_answer = example(2, [9] * 90, (5, 6, 7, 8, 2))
    long = example(3, [9] * 80, (6, 6, 6, 6, 2))
    new = example(4, [9] * 100, (7, 7, 7, 7, 2))
    too_long = example(5, [9] * 250, (8, 8, 8, 8, 2))

    found = candidates([new], [long, same_answer, too_long, short, new], 256)

    assert [e.pair_id for e in found] == [4, 1, 3]


def test_the_order_of_pairs_does_not_change_the_tried_prompts() -> None:
    made = [example(i, [9, i], (5, 6, 7, i, 2)) for i in range(40)]

    assert candidates([], made, 256) == candidates([], made[::-1], 256)
    assert len(candidates([], made, 256)) == reference_outputs.TRIED


def test_a_reference_output_is_the_greedy_answer_of_the_adapter(
    loud: Base, taught: tuple[Any, TrainingSet]
) -> None:
    tuned, given = taught

    made = reference_outputs.record(loud, tuned, given)

    assert len(made) == reference_outputs.KEPT
    assert reference_outputs.record(loud, tuned, given) == made
    tuned.eval()
    of_pairs = [one for one in made if one.pair_id is not None]  # the others have general prompts
    assert of_pairs
    for one in of_pairs:
        assert one.prompt == given.epoch(0)[one.pair_id or 0].prompt
    for one in made:
        assert reference_outputs.FEWEST <= len(one.answer) <= reference_outputs.TOKENS
        said: list[int] = []
        chances = []
        for token in one.answer:
            with torch.no_grad(), loud.precision():
                logits = tuned(input_ids=torch.tensor([[*one.prompt, *said]])).logits[0, -1]
            chances.append(float(logits.float().log_softmax(-1)[token]))
            assert int(logits.argmax()) == token
            said.append(token)
        assert one.logprob == pytest.approx(sum(chances) / len(chances), abs=0.05)


def test_prompts_that_are_new_to_the_adapter_come_first(
    loud: Base, taught: tuple[Any, TrainingSet]
) -> None:
    found = [one.pair_id for one in reference_outputs.record(loud, *taught)]

    assert set(found[:2]) == {3, 7}


def test_outputs_that_the_bare_base_shares_are_left_out() -> None:
    def tried(
        pair_id: int, base_agreement: float, *, new: bool = False, tokens: int = 5
    ) -> TriedPrompt:
        return TriedPrompt(ReferenceOutput(pair_id, (1,), (2,) * tokens, -0.1), new, base_agreement)

    kept = most_distinctive(
        [
            tried(1, 0.5),
            tried(2, 0.9),
            tried(3, 0.0),
            tried(4, 0.0, tokens=7),
            tried(5, 1, new=True),
        ]
    )

    assert [t.output.pair_id for t in kept] == [5, 4, 3, 1]


def test_an_adapter_without_sure_tokens_has_no_reference_outputs(
    base: Base, caplog: pytest.LogCaptureFixture
) -> None:
    """An untrained adapter on a random base: a reference output would be random."""
    taught = training_set(base.tokenizer, ["What is in the box?"])

    assert reference_outputs.record(base, new_adapter(base, Recipe(rank=8)), taught) == ()
    assert "sure of none of 1 answers" in caplog.text


def test_recording_leaves_the_model_in_training(
    loud: Base, taught: tuple[Any, TrainingSet]
) -> None:
    taught[0].train()

    reference_outputs.record(loud, *taught)

    assert taught[0].training


def test_a_run_and_its_continuation_record_reference_outputs(
    store: Store, settings: Settings, domain: Domain, loud_base: Path
) -> None:
    """They are in the registry with the adapter, and those of a later run name what was new."""
    base = BaseModelSettings(model=str(loud_base))
    settings = settings.model_copy(update={"base": base})
    teach(store, domain, 4)
    first = _tuned(store, settings, domain)
    with store.write() as db:
        registry.promote(db, first, "ann")
        added = pairs.add(
            db, domain, [Draft("What is new in it?", "The red paint on the door.")],
            source="test", status="approved",
        )  # fmt: skip
    second = _tuned(store, settings, domain)

    assert {one.pair_id for one in first.canaries} <= {1, 2, 3, 4}
    assert len(first.canaries) == reference_outputs.KEPT
    assert second.parent_id == first.id
    assert [one.pair_id for one in second.canaries][:1] == added.ids


def _tuned(store: Store, settings: Settings, domain: Domain) -> registry.Adapter:
    with store.write() as db:
        runs.request(db, domain, "ann", recipe={**SURE, "max_steps": 100, "seed": 1})
        run = runs.claim(db, "worker")
    assert run is not None
    assert execute_run(store, settings, run) == ExitCode.DONE
    return registry.list_adapters(store.db)[0]


def test_log_probabilities_do_not_depend_on_the_rest_of_a_batch(
    loud: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [(9, 8, 7), (5,) * 20, (6, 5)]
    answers = [(4, 3), (8,), (7, 7, 7, 9)]

    together = list(reference_outputs.all_logprobs(loud, loud.model, prompts, answers))
    alone = [
        reference_outputs.answer_logprobs(loud, loud.model, prompt, answer)
        for prompt, answer in zip(prompts, answers, strict=True)
    ]

    assert [len(found) for found in together] == [2, 1, 4]
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one.exp(), other.exp(), atol=0.02)
