"""Checks an `adapter_config.json`: only what vLLM serves, nothing that vLLM silently ignores.

This is an allow-list, because PEFT gains methods with each version, and an unknown key may change
an adapter's meaning.
"""

import math
from dataclasses import dataclass
from typing import Any

from data.adapters.safetensors_file import BadAdapter, parse_object, shown
from data.lora_limits import MAX_ALPHA, MAX_RANK

CONFIG = "adapter_config.json"

# Keys that change an adapter's meaning and that vLLM ignores, or refuses only when it is loaded.
# Patterns of ranks and alphas are resolved when an adapter is imported.
UNSUPPORTED = {
    "use_dora": "DoRA",
    "lora_bias": "a LoRA bias",
    "rank_pattern": "ranks that differ by module (rank_pattern)",
    "alpha_pattern": "alphas that differ by module (alpha_pattern)",
    "layer_replication": "layer_replication",
    "alora_invocation_tokens": "activated LoRA (aLoRA)",
    "use_bdlora": "block-diagonal LoRA",
    "use_qalora": "QALoRA",
    "trainable_token_indices": "trained token embeddings",
    "target_parameters": "target_parameters",
}
MERGE = (
    "Train it again without modules_to_save, or merge it into the base model (merge_and_unload of "
    "PEFT) and set [base] model to the result."
)
# Keys that only describe how an adapter was made, or repeat what its tensors show.
HARMLESS = {
    "task_type",
    "peft_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "r",
    "target_modules",
    "exclude_modules",
    "lora_alpha",
    "lora_dropout",
    "fan_in_fan_out",
    "bias",
    "use_rslora",
    "init_lora_weights",
    "layers_to_transform",
    "layers_pattern",
    "megatron_config",
    "megatron_core",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "qalora_group_size",
    "runtime_config",
    "ensure_weight_tying",
}
PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")


@dataclass(frozen=True)
class LoraConfig:
    """The part of the config that the weights are checked against."""

    rank: int
    scale: float  # the engine multiplies B by it
    target_modules: tuple[str, ...]


def read(raw: bytes, base_model: str, max_rank: int) -> LoraConfig:
    """Parse and check the content of the file for the base model `base_model`. Raises
    BadAdapter."""
    config = parse_object(raw, f"{CONFIG} is unreadable")
    if config.get("peft_type") != "LORA":
        kind = shown(repr(config.get("peft_type")))
        raise BadAdapter(f"{CONFIG} says peft_type {kind}, not 'LORA'.")
    named = config.get("base_model_name_or_path")
    if named != base_model:
        raise BadAdapter(
            f"The adapter was tuned for the base model {shown(repr(named))}, not {base_model!r}."
        )
    check_method(config)
    rank = _rank(config, max_rank)
    return LoraConfig(rank, _scale(config, rank), _targets(config))


def check_method(config: dict[str, Any]) -> None:
    """Raises BadAdapter, with what to do, for a config that is more than plain LoRA."""
    if config.get("modules_to_save"):
        raise BadAdapter(
            f"The adapter has whole modules besides its LoRA (modules_to_save: "
            f"{shown(config['modules_to_save'])}), which the engine cannot serve. {MERGE}"
        )
    for key, words in UNSUPPORTED.items():
        if config.get(key):
            raise BadAdapter(
                f"The adapter uses {words}, which the engine cannot serve. Train it again without "
                f"{key}."
            )
    if config.get("bias", "none") != "none":
        bias = shown(repr(config["bias"]))
        raise BadAdapter(
            f"The adapter tunes a bias ({bias}), which the engine cannot serve. Train it again "
            "with bias='none'."
        )
    init = config.get("init_lora_weights", True)
    if not isinstance(init, bool) and str(init).lower() not in PLAIN_INITS:
        raise BadAdapter(
            f"The adapter's start values ({shown(init)}) change the base model, which is shared. "
            "Convert it to plain LoRA when you save it: save_pretrained(..., "
            "path_initial_model_for_weight_conversion=...) of PEFT."
        )
    known = HARMLESS | UNSUPPORTED.keys() | {"modules_to_save"}
    unknown = sorted(k for k, v in config.items() if v and k not in known)
    if unknown:
        raise BadAdapter(
            f"{CONFIG} sets {shown(unknown[0])}, which the engine may not know: it is refused "
            "because it could change what the adapter means."
        )


def _rank(config: dict[str, Any], max_rank: int) -> int:
    rank = config.get("r")
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        raise BadAdapter(
            f"The adapter's rank is {shown(repr(rank))}; engines serve ranks from 1 to {MAX_RANK}."
        )
    if rank > max_rank:
        raise BadAdapter(
            f"The adapter's rank is {rank}, but the engine is started with max_lora_rank "
            f"{max_rank}. Raise [serving] max_lora_rank."
        )
    return rank


def _scale(config: dict[str, Any], rank: int) -> float:
    """alpha / rank, or alpha / sqrt(rank): rank-stabilised LoRA,
    https://arxiv.org/abs/2312.03732"""
    alpha = config.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha <= MAX_ALPHA:
        raise BadAdapter(f"{CONFIG} has no usable lora_alpha ({shown(repr(alpha))}).")
    stabilised = config.get("use_rslora", False)
    if not isinstance(stabilised, bool):
        raise BadAdapter(f"{CONFIG} says use_rslora {shown(repr(stabilised))}: true or false.")
    return alpha / (math.sqrt(rank) if stabilised else rank)


def _targets(config: dict[str, Any]) -> tuple[str, ...]:
    """The target modules as a list of names. A string would be a regular expression, which the
    engine would evaluate, so it is refused."""
    targets = config.get("target_modules")
    if not isinstance(targets, list) or not all(isinstance(t, str) and t for t in targets):
        raise BadAdapter(f"The target_modules of {CONFIG} are not a list of names.")
    return tuple(targets)
