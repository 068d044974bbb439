"""Adapters whose rank or alpha differs by module (`rank_pattern`, `alpha_pattern` of PEFT).

They become adapters with one rank and one alpha that compute the same. With rank r and scale s of a
module, and one rank R and scale S for all,

    s B A = S (s / S B padded with zero columns to R) (A padded with zero rows to R)

so every version of every engine serves them, and runs can continue them.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from data.adapters.safetensors_file import BadAdapter, shown
from data.lora_limits import MAX_RANK

PLAIN_KEY = re.compile(r"[\w.]{1,300}")  # the end of a module's name; PEFT takes patterns, too


def resolved(
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    ranks: Mapping[str, Any],
    alphas: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config and the tensors with one rank and one alpha. Raises BadAdapter for patterns that
    are not names of modules and positive numbers, or that the tensors do not have."""
    rank: Any = config.get("r")
    alpha: Any = config.get("lora_alpha")
    stabilised = bool(config.get("use_rslora", False))
    for key, number in [*ranks.items(), *alphas.items(), ("r", rank), ("lora_alpha", alpha)]:
        if isinstance(number, bool) or not isinstance(number, int | float) or number <= 0:
            raise BadAdapter(f"{shown(key)} is {shown(repr(number))}; it must be a number above 0.")
        if not PLAIN_KEY.fullmatch(key):
            raise BadAdapter(
                f"rank_pattern or alpha_pattern has {shown(key)!r}, which is not the name of a "
                "module. Save the adapter with the names of the modules."
            )
    widest = max([rank, *ranks.values()])
    if any(not isinstance(one, int) or one > MAX_RANK for one in [rank, *ranks.values()]):
        raise BadAdapter(f"A rank is {shown(widest)}; engines serve ranks from 1 to {MAX_RANK}.")
    common = float(alpha) / (math.sqrt(rank) if stabilised else rank)
    made: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        module, _, half = name.removesuffix(".weight").rpartition(".lora_")
        own_rank, own_alpha = _of(ranks, module, rank), _of(alphas, module, alpha)
        if tensor.dim() != 2 or tensor.shape[0 if half == "A" else 1] != own_rank:
            raise BadAdapter(
                f"{shown(name)} does not have the rank {own_rank} that its config states."
            )
        padded = torch.zeros(
            (widest, tensor.shape[1]) if half == "A" else (tensor.shape[0], widest)
        )
        padded[: tensor.shape[0], : tensor.shape[1]] = tensor.float()
        if half == "B":
            padded *= own_alpha / (math.sqrt(own_rank) if stabilised else own_rank) / common
        made[name] = padded
    return {**config, "r": widest, "lora_alpha": common * widest, "use_rslora": False}, made


def _of(pattern: Mapping[str, Any], module: str, otherwise: Any) -> Any:
    """PEFT's rule (`get_pattern_key`): the first key that is the end of the name, from a dot on."""
    return next(
        (value for key, value in pattern.items() if f".{module}".endswith(f".{key}")), otherwise
    )
