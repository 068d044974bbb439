"""vLLM's LoRA operations for CPUs, made of the products in `grouped`.

Tokens without an adapter stay as they are. vLLM's own operations give them the adapter of the last
slot.
"""

from typing import Any

import torch
from torch import Tensor
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from serving.vllm_plugin import grouped


class GroupedPunicaWrapper(PunicaWrapperCPU):  # type: ignore[misc]
    """Created by vLLM for each engine. `update_metadata` is called before each step."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tokens = self._samples = grouped.group(torch.empty(0, dtype=torch.long))

    def update_metadata(self, *args: Any, **options: Any) -> None:
        super().update_metadata(*args, **options)
        self._tokens = grouped.group(self.token_lora_indices)
        self._samples = grouped.group(self.sampler_indices)

    def add_lora_linear(
        self,
        y: Tensor,
        x: Tensor,
        lora_a_stacked: tuple[Tensor, ...],
        lora_b_stacked: tuple[Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **_: Any,
    ) -> None:
        grouped.add_linear(y, x, lora_a_stacked, lora_b_stacked, output_slices, scale, self._tokens)

    def add_lora_logits(
        self,
        y: Tensor,
        x: Tensor,
        lora_a_stacked: Tensor,
        lora_b_stacked: Tensor,
        scale: float,
        **_: Any,
    ) -> None:
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        widths = (lora_b_stacked.shape[-2],)
        grouped.add_linear(y, x, (lora_a_stacked,), (lora_b_stacked,), widths, scale, self._samples)

    def add_lora_embedding(
        self, y: Tensor, x: Tensor, lora_b_stacked: Tensor, add_inputs: bool = True, **_: Any
    ) -> None:
        width = min(y.shape[-1], lora_b_stacked.shape[-2])
        grouped.expand(y[:, :width], x, lora_b_stacked, self._tokens, add=add_inputs)

    def _apply_shrink(self, y: Tensor, x: Tensor, w_t_all: Tensor, scale: float) -> None:
        grouped.shrink(y.view(-1, y.shape[-1]), x, w_t_all, scale, self._tokens)

    def _apply_expand(
        self,
        y: Tensor,
        x: Tensor,
        w_t_all: Tensor,
        y_offset: int,
        y_slice_size: int,
        add_inputs: bool = True,
    ) -> None:
        part = y[:, y_offset : y_offset + y_slice_size]
        grouped.expand(part, x, w_t_all, self._tokens, add=add_inputs)
