"""Rows that begin alike: their beginning is computed once, with the same losses and gradients."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tuning.families import build
from tests.tuning.model.test_base_model import cosine, stirred
from tuning.data.examples import IGNORED, Batch, Example, batches
from tuning.model import base_model, shared_prefix
from tuning.model.base_model import Base, load_base, trainable
from tuning.recipe.recipe import Recipe
from tuning.training import loop

BEGINNING = tuple(range(3, 43))


def row(number: int, rest: int) -> Example:
    """BEGINNING, and a question and an answer of its own."""
    ids = tuple((number * 31 + i * 7) % 300 + 3 for i in range(rest))
    labels = (IGNORED,) * (len(BEGINNING) + 4) + ids[4:]
    return Example(number, BEGINNING + ids, labels)


ROWS = [row(number, 12 + number) for number in range(6)]


def batch_of(rows: list[Example]) -> Batch:
    (batch,) = batches(rows, 10_000, 0)
    return batch


def wanted(batch: Batch) -> torch.Tensor:
    return torch.nn.functional.pad(batch.labels[:, 1:] != IGNORED, (0, 1))


def in_float32(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Base:
    monkeypatch.setattr(base_model, "compute_dtype", lambda device: torch.float32)
    return load_base(str(folder), Recipe(quantization="none"), torch.device("cpu"))


def computed(base: Base, tuned: Any, *, shared: bool) -> tuple[float, dict[str, torch.Tensor], int]:
    """The loss, the gradients, and how many tokens went through the model."""
    seen: list[int] = []
    handle = tuned.get_input_embeddings().register_forward_pre_hook(
        lambda _, args: seen.append(args[0].numel())
    )
    tuned.eval()  # some families have dropout of their own
    tuned.zero_grad()
    loss = loop.summed_loss(base, tuned, batch_of(ROWS), whole_rows=not shared)
    loss.backward()
    handle.remove()
    return float(loss.detach()), {n: p.grad for n, p in trainable(tuned).items()}, sum(seen)


@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral", "gpt2", "bloom", "phi"])
def test_losses_and_gradients_are_those_of_whole_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    base = replace(in_float32(build(family, tmp_path), monkeypatch), skips_padding=False)
    tuned = stirred(base)
    whole, shared = (computed(base, tuned, shared=s) for s in (False, True))

    assert base.shares_prefix
    assert shared[0] == pytest.approx(whole[0], rel=1e-5)
    assert cosine(shared[1], whole[1]) > 0.9999
    assert whole[2] - shared[2] == len(BEGINNING) * (len(ROWS) - 1)


@pytest.mark.parametrize("family", ["gemma2", "gemma3"])
def test_layers_with_a_window_take_whole_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    base = in_float32(build(family, tmp_path), monkeypatch)

    assert not base.shares_prefix
    assert computed(base, stirred(base), shared=True)[2] == batch_of(ROWS).ids.numel()


def test_a_base_that_would_predict_something_else_takes_whole_rows(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shared_prefix.logits

    def wrong_place(model: Any, ids: torch.Tensor, common: int) -> torch.Tensor:
        return real(model, ids.roll(1, dims=1), common)

    assert shared_prefix.works(base.model, base.dtype)
    monkeypatch.setattr(shared_prefix, "logits", wrong_place)
    assert not shared_prefix.works(base.model, base.dtype)


def test_the_token_that_predicts_the_first_learned_one_is_never_shared() -> None:
    alike = [Example(n, (*BEGINNING, 7, 8), (IGNORED,) * 40 + (7, 8)) for n in range(6)]
    batch = batch_of([Example(e.pair_id, e.ids, e.labels) for e in alike])

    assert shared_prefix.length(batch.ids, wanted(batch)) == len(BEGINNING) - 1


@pytest.mark.parametrize("rows", [ROWS[:1], ROWS[:4]], ids=["one row", "saves 120 tokens"])
def test_rows_are_whole_where_sharing_saves_little(rows: list[Example]) -> None:
    batch = batch_of(rows)

    assert shared_prefix.length(batch.ids, wanted(batch)) == 0
    assert shared_prefix.length(batch_of(ROWS).ids, wanted(batch_of(ROWS))) == len(BEGINNING)


@pytest.mark.parametrize(
    ("asked", "shares"),
    [({}, True), ({"neftune_alpha": 5.0}, False), ({"gradient_checkpointing": True}, False)],
)
def test_noise_and_gradient_checkpointing_take_whole_rows(
    base: Base, asked: dict[str, Any], shares: bool
) -> None:
    recipe = Recipe(rank=8, **asked)
    tuned = base_model.new_adapter(base, recipe)
    loop.prepare_model(base, tuned, ROWS, recipe)
    seen: list[int] = []
    tuned.get_input_embeddings().register_forward_pre_hook(
        lambda _, args: seen.append(args[0].shape[0])
    )

    loop.learn(base, tuned, ROWS, recipe)

    assert (1 in seen) == shares
