"""RMSNorm for CPUs: the same output, the same gradient, only where the formula is the same."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests.tuning.families import build
from tuning.model import cpu_norm
from tuning.model.base_model import load_base
from tuning.model.cpu_norm import CpuRmsNorm
from tuning.recipe.recipe import Recipe


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_output_and_gradient_are_those_of_transformers(dtype: torch.dtype, error: float) -> None:
    generator = torch.Generator().manual_seed(0)
    theirs = nn.Sequential(LlamaRMSNorm(48)).to(dtype).requires_grad_(False)
    theirs[0].weight.normal_(generator=generator)
    ours = nn.Sequential(theirs[0])
    assert cpu_norm.use(ours) == 1
    sent = torch.randn(2, 5, 48, generator=generator).to(dtype)
    x = torch.randn(2, 5, 48, generator=generator).to(dtype).requires_grad_()

    assert torch.equal(ours(x), theirs(x))
    mine, true = (torch.autograd.grad(norm(x), x, sent)[0] for norm in (ours, theirs))
    assert mine.dtype == dtype
    assert float((mine - true).norm() / true.norm()) < error


@pytest.mark.parametrize(("family", "replaced"), [("llama", True), ("gemma2", False)])
def test_families_with_another_formula_keep_their_norm(
    tmp_path: Path, family: str, replaced: bool
) -> None:
    base = load_base(str(build(family, tmp_path)), Recipe(), torch.device("cpu"))

    norms = [m for m in base.model.modules() if type(m).__name__.endswith("Norm")]
    assert norms
    assert {isinstance(norm, CpuRmsNorm) for norm in norms} == {replaced}


def test_a_norm_that_is_trained_or_differs_in_one_bit_is_left_alone() -> None:
    class LargerRMSNorm(LlamaRMSNorm):  # type: ignore[misc]
        def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = super().forward(hidden_states) * 1.01
            return out

    assert cpu_norm.use(nn.Sequential(LlamaRMSNorm(8))) == 0
    assert cpu_norm.use(nn.Sequential(LargerRMSNorm(8)).requires_grad_(False)) == 0
