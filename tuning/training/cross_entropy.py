"""Cross entropy over a large vocabulary, a few rows at a time on a CPU.

PyTorch computes it on the whole matrix of logits at once: float32 copies of several hundred MB that
go through memory again and again. A few rows at a time stay in the processor's cache. Rows do not
depend on each other, so losses and gradients are the same to the last bit.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CACHED = 200_000  # float32 logits that are processed at once: within a cache of 1 MiB


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross entropy of each row, `(rows,)` in float32, of logits `(rows, vocabulary)`."""
    if logits.device.type != "cpu":
        return functional.cross_entropy(logits.float(), targets, reduction="none")
    losses: Tensor = _ChunkedCrossEntropy.apply(logits, targets)
    return losses


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Computes the losses of each chunk, and in the backward pass computes them again with their
    gradients, so that nothing of the size of the logits is kept but the logits."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        ctx.save_for_backward(logits, targets)
        rows = _rows(logits)
        chunks = zip(logits.split(rows), targets.split(rows), strict=True)
        return torch.cat([_losses(some.float(), wanted) for some, wanted in chunks])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        logits, targets = ctx.saved_tensors
        rows = _rows(logits)
        result = torch.empty_like(logits)
        chunks = (tensor.split(rows) for tensor in (logits, targets, grads[0], result))
        for some, wanted, grad, out in zip(*chunks, strict=True):
            with torch.enable_grad():
                exact = some.detach().float().requires_grad_()
                (found,) = torch.autograd.grad(_losses(exact, wanted), exact, grad)
            out.copy_(found)
        return result, None


def _rows(logits: Tensor) -> int:
    return max(1, CACHED // logits.shape[-1])


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits, targets, reduction="none")
