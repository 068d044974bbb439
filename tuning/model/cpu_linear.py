"""Dense copies of a 4-bit base's weights, for training on a CPU.

bitsandbytes unpacks the 4-bit weights of a layer each time it is used, forward and backward. Where
memory allows, the unpacked weights are kept instead: the numbers are the ones that NF4 rounded to,
so the results are the same to the last bit, and ordinary matrix products use them.
"""

import logging

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from torch import nn

from data.free_memory import free_bytes
from data.gpu.memory import gib

log = logging.getLogger(__name__)

SHARE = 0.5  # of the free memory that the copies may take; activations need the rest


class UnpackedLinear4bit(nn.Linear):
    """A linear layer with the weights, (outputs, inputs), that a 4-bit layer stands for."""

    def __init__(self, packed: Linear4bit, dtype: torch.dtype) -> None:
        super().__init__(
            packed.in_features, packed.out_features, bias=packed.bias is not None, device="meta"
        )
        weight = dequantize_4bit(packed.weight.data, packed.weight.quant_state).to(dtype)
        self.weight = nn.Parameter(weight, requires_grad=False)
        if packed.bias is not None:
            self.bias = nn.Parameter(packed.bias.data.to(dtype), requires_grad=False)


def keep_dense(model: nn.Module, dtype: torch.dtype) -> bool:
    """Replace every 4-bit layer by a frozen `UnpackedLinear4bit` in `dtype`. Returns False, and
    changes nothing, when the copies would take too much memory."""
    layers = {name: m for name, m in model.named_modules() if isinstance(m, Linear4bit)}
    size = sum(m.in_features * m.out_features for m in layers.values()) * dtype.itemsize
    free = free_bytes()
    if free is not None and size > SHARE * free:
        log.info(
            "the base's weights stay in four bits: unpacked they need %s, and %s are free. "
            "Steps take longer.", gib(size), gib(free),
        )  # fmt: skip
        return False
    for name, layer in layers.items():
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, UnpackedLinear4bit(layer, dtype))
    return True
