"""Compares the grouped LoRA operations with vLLM's own, on random numbers, when an engine starts.

Rows of tokens with an adapter must agree within the rounding of the type. Rows of tokens without
one must keep every bit; vLLM's own operations change them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from vllm.lora.layers import LoRAMapping
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from serving.vllm_plugin.wrapper import GroupedPunicaWrapper

SLOTS, RANK, INPUTS, WIDTHS = 6, 8, 48, (64, 48, 80)
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.04, torch.float16: 0.005}  # of numbers near 1
STEPS: dict[str, Sequence[int]] = {  # the slot of each token
    "one adapter": [2] * 8,
    "one adapter for many tokens": [1] * 600,
    "as many adapters as slots": [3, 0, 5, 1, 4, 2],
    "two adapters far apart": [0, 5, 0, 5],
    "adapters and bare tokens": [-1, 4, -1, 1, 1, -1, 3],
    "one adapter and bare tokens": [-1, 5, -1, 5],
    "a long prompt and single tokens": [0] * 150 + [-1] * 20 + [1, 2, -1],
    "no adapter": [-1] * 5,
}


def problem(wrapper: Callable[..., Any] = GroupedPunicaWrapper) -> str:
    """Which operation is wrong, as a clause; '' when all are right."""
    for dtype in TOLERANCE:
        for name, slots in STEPS.items():
            ours = _results(wrapper, slots, dtype)
            theirs = _results(PunicaWrapperCPU, slots, dtype)
            bare = torch.tensor([slot < 0 for slot in slots])
            for operation, (before, after) in ours.items():
                expected = theirs[operation][1]
                error = (after[~bare].float() - expected[~bare].float()).abs()
                right = bool((error <= TOLERANCE[dtype] * (1 + after[~bare].abs())).all())
                if not right or not torch.equal(after[bare], before[bare]):
                    return f"{operation} is wrong in {dtype} for {name}"
    return ""


def _results(
    wrapper: Callable[..., Any], slots: Sequence[int], dtype: torch.dtype
) -> dict[str, tuple[Tensor, Tensor]]:
    """Each operation's output before and after, for the same random numbers at each call."""
    random = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).to(dtype)

    tokens = len(slots)
    ids = tuple(slot + 1 for slot in slots)  # an adapter's id; 0: none
    operations = wrapper(1024, 1024, torch.device("cpu"), max_loras=SLOTS)
    mapping = LoRAMapping(ids, ids, is_prefill=True)
    operations.update_metadata(mapping, list(range(1, SLOTS + 1)), SLOTS, sum(WIDTHS))
    a = tuple(drawn(SLOTS, 1, RANK, INPUTS) / INPUTS**0.5 for _ in WIDTHS)
    b = tuple(drawn(SLOTS, 1, width, RANK) / RANK**0.5 for width in WIDTHS)
    x, shrunk = drawn(tokens, INPUTS), tuple(drawn(tokens, RANK).float() for _ in WIDTHS)
    wide, narrow = drawn(tokens, sum(WIDTHS) + 5), torch.zeros(tokens, RANK)
    found = {}

    def run(name: str, y: Tensor, operate: Callable[[Tensor], object]) -> None:
        before = y.clone()
        operate(y)
        found[name] = before, y

    run(
        "add_lora_linear",
        wide[:, :-5].clone(),
        lambda y: operations.add_lora_linear(y, x, a, b, 2.0, WIDTHS),
    )
    run("add_shrink", narrow, lambda y: operations.add_shrink((y,), x, a[:1], 2.0))
    run(
        "add_expand",
        wide.clone(),
        lambda y: operations.add_expand(y, shrunk, b, WIDTHS, offset_start=5, add_inputs=True),
    )
    run(
        "add_lora_embedding",
        wide[:, : WIDTHS[0] + 3].clone(),
        lambda y: operations.add_lora_embedding(y, shrunk[0], b[0]),
    )
    run(
        "add_lora_logits",
        wide[:, : WIDTHS[0]].clone(),
        lambda y: operations.add_lora_logits(y, x, a[0], b[0], 2.0),
    )
    return found
