"""Cross entropy a few rows at a time: PyTorch's losses and gradients to the last bit."""

import pytest
import torch
from torch.nn import functional

from tuning.training.cross_entropy import CACHED, token_losses


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("rows", "words"), [(7, CACHED // 3), (1, 11), (2, CACHED + 1)])
def test_losses_and_gradients_are_pytorchs(rows: int, words: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(rows, words, generator=generator) * 5).to(dtype)
    targets = torch.randint(words, (rows,), generator=generator)
    weights = torch.rand(rows, generator=generator)
    found, expected = (logits.clone().requires_grad_() for _ in "12")

    mine = token_losses(found, targets)
    theirs = functional.cross_entropy(expected.float(), targets, reduction="none")
    (mine * weights).sum().backward()
    (theirs * weights).sum().backward()

    assert torch.equal(mine, theirs)
    assert found.grad is not None
    assert expected.grad is not None
    assert found.grad.dtype == dtype
    assert torch.equal(found.grad, expected.grad)
