"""Dense copies of 4-bit weights: the same numbers, where memory allows."""

from pathlib import Path

import pytest
import torch
from bitsandbytes.nn import Linear4bit

from tests.tuning.model.test_base_model import gradients, stirred
from tuning.model import cpu_linear
from tuning.model.base_model import Base, layer_kinds, load_base
from tuning.model.cpu_linear import UnpackedLinear4bit
from tuning.recipe.recipe import Recipe


def test_dense_copies_compute_the_same_bits(
    base: Base, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_linear, "free_bytes", lambda: 0)
    packed = load_base(str(tiny_base), Recipe(), torch.device("cpu"))
    ids = torch.arange(3, 43).view(2, 20)

    kinds = [{type(m) for m in some.model.model.modules()} for some in (base, packed)]
    assert (UnpackedLinear4bit in kinds[0], Linear4bit in kinds[0]) == (True, False)
    assert (UnpackedLinear4bit in kinds[1], Linear4bit in kinds[1]) == (False, True)
    with torch.no_grad(), base.precision():
        assert torch.equal(base.model(ids).logits, packed.model(ids).logits)


@pytest.mark.parametrize(("free", "dense"), [(10**9, True), (100_000, False), (None, True)])
def test_the_weights_stay_in_four_bits_when_memory_is_short(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch, free: int | None, dense: bool
) -> None:
    monkeypatch.setattr(cpu_linear, "free_bytes", lambda: free)

    base = load_base(str(tiny_base), Recipe(), torch.device("cpu"))

    kinds = layer_kinds(base.model)
    assert ("tuning.model.cpu_linear.UnpackedLinear4bit" in kinds) == dense
    assert all(float(g.abs().sum()) > 0 for g in gradients(base, stirred(base)).values())
