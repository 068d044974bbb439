"""The LoRA layers for CPUs: the results of PEFT's layers, and gradients that are as exact."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tuning.families import build
from tests.tuning.model.test_base_model import EXAMPLE, cosine, gradients, stirred
from tuning.data.examples import batches
from tuning.model import base_model, cpu_lora
from tuning.model.base_model import Base, continued_adapter, load_base, new_adapter, trainable
from tuning.model.cpu_lora import CpuLoraLinear, dropped_positions
from tuning.recipe.recipe import Recipe
from tuning.training.loop import summed_loss

CPU = torch.device("cpu")


def adapted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, *, fast: bool
) -> Any:
    """A base with an adapter that computes in `dtype`: with our layers, or with PEFT's."""
    with monkeypatch.context() as patch:
        patch.setattr(base_model, "compute_dtype", lambda device: dtype)
        if not fast:
            patch.setattr(cpu_lora, "use", lambda config, model: None)
        base = load_base(str(folder), Recipe(), CPU)
        tuned = stirred(base)
    assert any(isinstance(m, CpuLoraLinear) for m in tuned.modules()) == fast
    return base, tuned


def loss(base: Base, tuned: Any) -> float:
    (batch,) = batches([EXAMPLE], 1000, 0)
    with torch.no_grad():
        return float(summed_loss(base, tuned, batch)) / batch.tokens


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2"])
def test_float32_results_equal_those_of_pefts_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    folder = build(family, tmp_path)
    ours, theirs = (adapted(folder, monkeypatch, torch.float32, fast=f) for f in (True, False))

    assert loss(*ours) == pytest.approx(loss(*theirs), abs=1e-5)
    assert cosine(gradients(*ours), gradients(*theirs)) > 0.99999


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_bf16_gradients_are_as_close_to_float32_as_pefts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    folder = build(family, tmp_path)
    truth = gradients(*adapted(folder, monkeypatch, torch.float32, fast=False))
    ours, theirs = (adapted(folder, monkeypatch, torch.bfloat16, fast=f) for f in (True, False))

    mine, reference = cosine(gradients(*ours), truth), cosine(gradients(*theirs), truth)
    assert mine > 0.99
    assert mine >= reference - 0.001
    assert loss(*ours) == pytest.approx(loss(*theirs), abs=0.01)


def test_weights_and_gradients_stay_float32(base: Base) -> None:
    found = gradients(base, stirred(base))

    assert {g.dtype for g in found.values()} == {torch.float32}


def test_dropout_and_its_gradient_leave_out_the_same_inputs() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 5, requires_grad=True)
    down, up = torch.randn(2, 5, requires_grad=True), torch.randn(4, 2, requires_grad=True)
    weight, bias, scale = torch.randn(4, 5), torch.randn(4), 0.7
    dropped = torch.tensor([0, 7, 7, 29])  # a position may be hit twice
    mask = torch.ones(30).index_fill(0, dropped, 0).view(6, 5)

    found = cpu_lora._AdaptedLinear.apply(x, weight, bias, down, up, scale, dropped)
    expected = x @ weight.T + bias + (x * mask) @ down.T @ up.T * scale
    sent = torch.randn_like(expected)

    def grads(out: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(out, (x, down, up), sent)

    assert torch.allclose(found, expected, atol=1e-5)
    for mine, true in zip(grads(found), grads(expected), strict=True):
        assert torch.allclose(mine, true, atol=1e-5)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_positions_are_dropped_with_the_given_probability_and_independently(share: float) -> None:
    torch.manual_seed(0)
    count, rounds = 1000, 400
    masks = torch.zeros(rounds, count)
    for mask in masks:
        mask[dropped_positions(count, share)] = 1

    assert float(masks.mean()) == pytest.approx(share, abs=0.003)
    # independent positions: the number of dropped ones varies as a binomial one does
    assert float(masks.sum(1).var()) == pytest.approx(count * share * (1 - share), rel=0.3)


def test_dropout_changes_training_and_not_evaluation(base: Base) -> None:
    tuned = new_adapter(base, Recipe(rank=8, dropout=0.3))
    for weight in trainable(tuned).values():
        weight.data = torch.randn_like(weight) * 0.05
    ids = torch.tensor([EXAMPLE.ids])

    def twice(training: bool) -> bool:
        tuned.train(training)
        with torch.no_grad():
            return torch.equal(tuned(ids).logits, tuned(ids).logits)

    assert (twice(True), twice(False)) == (False, True)


def test_dropout_keeps_the_expected_output(base: Base) -> None:
    tuned = new_adapter(base, Recipe(rank=8, dropout=0.3))
    layer = next(m for m in tuned.modules() if isinstance(m, CpuLoraLinear))
    layer.lora_B["default"].weight.data.normal_(generator=torch.Generator().manual_seed(0))
    x = torch.randn(1, 64, generator=torch.Generator().manual_seed(1)).bfloat16()
    with torch.no_grad():
        evaluated = layer.eval()(x) - layer.base_layer(x)
        trained = layer.train()(x.expand(20_000, -1)) - layer.base_layer(x)

    error = (trained.float().mean(0) - evaluated.float()).norm() / evaluated.float().norm()
    assert float(error) < 0.05


def test_a_switched_off_adapter_leaves_the_bare_base(base: Base, tiny_base: Path) -> None:
    bare = load_base(str(tiny_base), Recipe(), CPU)
    tuned = stirred(base)
    ids = torch.tensor([EXAMPLE.ids])

    with torch.no_grad():
        assert not torch.equal(tuned(ids).logits, bare.model(ids).logits)
        with tuned.disable_adapter():
            assert torch.equal(tuned(ids).logits, bare.model(ids).logits)


def test_a_saved_adapter_is_pefts_and_continues_with_these_layers(
    base: Base, tiny_base: Path, tmp_path: Path
) -> None:
    tuned = stirred(base)
    tuned.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    again = continued_adapter(load_base(str(tiny_base), Recipe(), CPU), tmp_path)

    assert not any("custom" in key for key in saved)
    assert any(isinstance(m, CpuLoraLinear) for m in again.modules())
    ids = torch.tensor([EXAMPLE.ids])
    with torch.no_grad():
        assert torch.equal(tuned.eval()(ids).logits, again.eval()(ids).logits)
