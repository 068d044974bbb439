"""LoRA layers for training on a CPU: the arithmetic of PEFT's layers in fewer passes over memory.

PEFT computes `base(x) + B(A(dropout(x))) * scale` one operation at a time, and casts the input to
float32 and back, because the adapter's weights are float32. On a CPU these passes and the dropout
mask take longer than the products of matrices. `CpuLoraLinear` does the layer as one step of
autograd: the products are added where the base's are, and only the few dropped positions are drawn
and touched. The adapter's weights and their gradients stay float32.
"""

import math
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig
from peft.tuners import lora
from torch import Tensor, nn
from torch.nn import functional

from tuning.model.cpu_linear import UnpackedLinear4bit


def use(config: LoraConfig, model: nn.Module) -> None:
    """Have PEFT put `CpuLoraLinear` on the layers of `model`, if they are dense and not transposed.
    Saved with the adapter, the config is PEFT's usual one."""
    if not config.fan_in_fan_out and not any(isinstance(m, Linear4bit) for m in model.modules()):
        config._register_custom_module({nn.Linear: CpuLoraLinear})


class CpuLoraLinear(lora.Linear):
    """PEFT's LoRA layer on a dense frozen `nn.Linear`, with a faster `forward`. Whatever PEFT can
    do beyond one plain adapter takes PEFT's own way."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        base, active = self.get_base_layer(), self.active_adapters
        plain = (
            type(base) in (nn.Linear, UnpackedLinear4bit)
            and not (args or kwargs or self.disable_adapters or self.merged)
            and len(active) == 1
            and active[0] in self.lora_A
            and active[0] not in self.lora_variant
            and not self.lora_bias[active[0]]
        )
        if not plain:
            return super().forward(x, *args, **kwargs)
        name = active[0]
        dropout = self.lora_dropout[name]
        x = x.to(base.weight.dtype)
        rows = x.reshape(-1, x.shape[-1])
        share = dropout.p if self.training and isinstance(dropout, nn.Dropout) else 0.0
        out = _AdaptedLinear.apply(
            rows,
            base.weight,
            base.bias,
            self.lora_A[name].weight,
            self.lora_B[name].weight,
            self.scaling[name] / (1 - share),
            dropped_positions(rows.numel(), share) if share else None,
        )
        return out.view(*x.shape[:-1], -1)


def dropped_positions(count: int, share: float) -> Tensor:
    """The positions among `count` that dropout zeroes, int64, some of them repeated. Each position
    is dropped with probability `share`, independently of all others.

    Poissonisation: a Poisson number of hits at uniform positions gives every position an
    independent Poisson number of hits (Mitzenmacher and Upfal, "Probability and Computing", section
    5.4). With -log(1 - share) hits expected for each, the chance of any is `share`. That takes a
    random number per dropped position in place of one per position."""
    expected = -math.log1p(-share) * count
    hits = int(torch.poisson(torch.tensor(expected, dtype=torch.float64)))
    return torch.randint(count, (hits,))


class _AdaptedLinear(torch.autograd.Function):
    """`x W' + bias + scale * dropout(x) A' B'`, for x of (rows, inputs), W of (outputs, inputs),
    A of (rank, inputs) and B of (outputs, rank). Gradients: x, A and B."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
        dropped: Tensor | None,
    ) -> Tensor:
        down, up = down.to(x.dtype), (up * scale).to(x.dtype)
        kept = _without(x, dropped)
        hidden = kept @ down.T
        out = functional.linear(x, weight, bias)
        ctx.save_for_backward(kept, weight, down, up, hidden, dropped)
        ctx.scale = scale
        return out.addmm_(hidden, up.T)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        kept, weight, down, up, hidden, dropped = ctx.saved_tensors
        grad_up = (grad.T @ hidden).float().mul_(ctx.scale)
        grad_hidden = grad @ up
        grad_down = (grad_hidden.T @ kept).float()
        if not ctx.needs_input_grad[0]:
            return None, None, None, grad_down, grad_up, None, None
        grad_x = grad @ weight
        if dropped is None:
            grad_x.addmm_(grad_hidden, down)
        else:
            flat = grad_x.view(-1)
            base_only = flat.index_select(0, dropped)
            grad_x.addmm_(grad_hidden, down)
            flat.index_copy_(0, dropped, base_only)
        return grad_x, None, None, grad_down, grad_up, None, None


def _without(x: Tensor, dropped: Tensor | None) -> Tensor:
    """x with zeros at the dropped positions."""
    if dropped is None:
        return x
    kept = x.clone(memory_format=torch.contiguous_format)
    kept.view(-1).index_fill_(0, dropped, 0)
    return kept
