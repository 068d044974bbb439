"""RMSNorm for training on a CPU: the same output, and a backward pass a few times as fast.

transformers computes the norm (Zhang and Sennrich, https://arxiv.org/abs/1910.07467) from simple
operations, and autograd goes back through each of them. `CpuRmsNorm` computes the gradient of the
input from its formula. The weight is frozen like the rest of the base.
"""

from typing import Any

import torch
from torch import Tensor, nn


def use(model: nn.Module) -> int:
    """Replace every RMSNorm of `model` for which `CpuRmsNorm` gives the same bits. Families that
    compute theirs differently, such as Gemma, keep it. Returns the number of replaced ones."""
    found = {
        name: made
        for name, module in model.named_modules()
        if type(module).__name__.endswith("RMSNorm") and (made := _same(module)) is not None
    }
    for name, made in found.items():
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, made)
    return len(found)


class CpuRmsNorm(nn.Module):
    """`weight * x / sqrt(mean(x ** 2) + epsilon)` over the last dimension, in float32 up to the
    weight. Of a norm with that formula and a frozen weight."""

    def __init__(self, weight: nn.Parameter, epsilon: float) -> None:
        super().__init__()
        self.weight = weight
        self.variance_epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _RmsNorm.apply(x, self.weight, self.variance_epsilon)
        return out


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        exact = x.to(torch.float32, copy=True)
        scale = torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, weight, scale)
        return weight * exact.mul_(scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """With n = x * scale and g the gradient of n: scale * (g - n * mean(g * n))."""
        x, weight, scale = ctx.saved_tensors
        grad = (grads[0] * weight).float()
        normed = x.to(torch.float32, copy=True).mul_(scale)
        along = (grad * normed).mean(-1, keepdim=True)
        return grad.addcmul_(normed, along, value=-1).mul_(scale).to(x.dtype), None, None


def _same(module: nn.Module) -> CpuRmsNorm | None:
    """The module's replacement, None unless it gives the same bits for a random input."""
    weight, epsilon = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
    if not isinstance(weight, nn.Parameter) or epsilon is None or weight.requires_grad:
        return None
    made = CpuRmsNorm(weight, epsilon)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, *weight.shape, generator=generator).mul_(3).to(weight.dtype)
    with torch.no_grad():
        return made if torch.equal(made(x), module(x)) else None
