"""Imports adapters that were trained elsewhere.

PEFT, TRL, Unsloth and Axolotl write the same format, with different additional files, names of
target modules and names of the base. MLX has another format: `lora_a` is (in, rank) and `lora_b`
(rank, out), the transposes of PEFT's A and B, and its `scale` is PEFT's alpha / rank
(https://github.com/ml-explore/mlx-lm, `tuner/lora.py`):

    PEFT   y = W x + alpha / rank * B (A x)        MLX   y = x W' + scale * (x lora_a) lora_b

Only the two essential files are imported. They are written again and checked like those of every
adapter. Adapters that an engine could not serve, or that would change their meaning, are refused.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.adapters import files as adapters_files
from data.adapters import lora_config
from data.adapters.files import CONFIG, WEIGHTS
from data.adapters.registry import Adapter
from data.adapters.safetensors_file import BadAdapter, parse_object, shown
from data.config.settings import Settings
from data.domains import Domain
from data.store import audit
from data.store.db import Store
from data.store.errors import NotFound
from tuning.adapters import adapter_store, lora_patterns

Kind = Literal["PEFT", "MLX"]
MLX_WEIGHTS = "adapters.safetensors"
PICKLED = ("adapter_model.bin", "adapters.npz", "pytorch_model.bin")
MLX_NAME = re.compile(r"(?P<module>.+)\.lora_(?P<half>[ab])")
LARGEST_CONFIG = 1 << 20  # bytes
LARGEST_WEIGHTS = 16 << 30


@dataclass(frozen=True)
class ImportedAdapter:
    """The adapter in a folder, in PEFT's format."""

    kind: Kind
    base_model: str  # the stated base; '' if there is none
    tensors: dict[str, Tensor]
    config: dict[str, Any]  # in PEFT's format


def import_adapter(
    store: Store,
    settings: Settings,
    domain: Domain,
    folder: Path,
    actor: str,
    *,
    same_base: bool = False,
) -> Adapter:
    """Register the adapter in `folder` as a candidate of `domain`. It has not passed the gate,
    which the reason of its state says. `same_base`: the base has another name here but is the same.

    Raises NotFound or BadAdapter with the first error; nothing is left in that case."""
    found = read(folder)
    _check_base(settings, found, same_base)
    with adapter_store.temporary(settings, domain, "import") as place:
        _write(place, settings, found)
        files = adapters_files.check(
            place,
            base=settings.base.path,
            base_model=settings.base.model,
            max_rank=settings.serving.rank_limit,
        )
        card = f"A LoRA adapter that was trained elsewhere, imported from {found.kind} files.\n"
        (place / "README.md").write_text(card, encoding="utf-8")
        adapter = adapter_store.install(
            store,
            settings,
            domain,
            place,
            files,
            recipe={"why": f"Imported from {found.kind} files.", "rank": files.rank},
            state_reason=f"imported by {actor} from {found.kind} files; it has not passed the gate",
        )
    with store.write() as db:
        audit.record(db, actor, "import", adapter.name, format=found.kind, sha256=files.sha256)
    return adapter


def read(folder: Path) -> ImportedAdapter:
    """Raises NotFound when there is no adapter, BadAdapter when it cannot be used."""
    if not folder.is_dir():
        raise NotFound(f"{folder} is not a folder. Give the folder that contains {CONFIG}.")
    if (folder / WEIGHTS).is_file():
        return _peft(_config(folder), _tensors(folder / WEIGHTS))
    if (folder / MLX_WEIGHTS).is_file():
        return _mlx(_config(folder), _tensors(folder / MLX_WEIGHTS))
    for name in PICKLED:
        if (folder / name).is_file():
            raise BadAdapter(
                f"{name} can carry code, so it is not read. Save the adapter as safetensors."
            )
    raise NotFound(f"{folder} contains neither {WEIGHTS} (PEFT) nor {MLX_WEIGHTS} (MLX).")


# -- PEFT, TRL, Unsloth, Axolotl ---------------------------------------------------------------


def _peft(config: dict[str, Any], tensors: Mapping[str, Tensor]) -> ImportedAdapter:
    config = dict(config)
    ranks, alphas = config.pop("rank_pattern", None), config.pop("alpha_pattern", None)
    lora_config.check_method(config)
    renamed = {name.replace(".default.weight", ".weight"): t for name, t in tensors.items()}
    modules = sorted({module for module, _ in map(_split, renamed)})
    if config.get("exclude_modules"):  # the modules that were left have weights
        whole = [module.removeprefix(adapters_files.PREFIX) for module in modules]
        config |= {"target_modules": whole, "exclude_modules": None}
    elif isinstance(config.get("target_modules"), str):  # a pattern, as above
        config |= {"target_modules": _endings(modules)}
    if ranks or alphas:
        config, renamed = lora_patterns.resolved(config, renamed, ranks or {}, alphas or {})
    named = str(config.get("base_model_name_or_path") or "")
    kept = {k: v for k, v in config.items() if k in lora_config.HARMLESS or v}
    return ImportedAdapter("PEFT", named, renamed, kept)


def _split(name: str) -> tuple[str, str]:
    for half in ("A", "B"):
        if name.endswith(f".lora_{half}.weight"):
            return name.removesuffix(f".lora_{half}.weight"), half
    raise adapters_files.not_lora(name)


# -- MLX ---------------------------------------------------------------------------------------


def _mlx(config: dict[str, Any], tensors: Mapping[str, Tensor]) -> ImportedAdapter:
    kind = config.get("fine_tune_type", "lora")
    if kind != "lora":
        raise BadAdapter(f"It was tuned as {shown(repr(kind))}; only LoRA can be served.")
    given = config.get("lora_parameters")
    given = given if isinstance(given, dict) else {}
    rank, scale = given.get("rank"), given.get("scale")
    if type(rank) is not int or isinstance(scale, bool) or not isinstance(scale, int | float):
        raise BadAdapter(f"{CONFIG} has no rank and scale in lora_parameters.")
    renamed: dict[str, Tensor] = {}
    modules = set()
    for name, tensor in tensors.items():
        match = MLX_NAME.fullmatch(name)
        if match is None:
            raise BadAdapter(
                f"{MLX_WEIGHTS} contains {shown(name)!r}, which is not a plain LoRA weight."
            )
        if tensor.dim() != 2:
            raise BadAdapter(f"{name} is not a matrix: adapters of experts cannot be served.")
        modules.add(match["module"])
        key = f"{adapters_files.PREFIX}{match['module']}.lora_{match['half'].upper()}.weight"
        renamed[key] = tensor.T.contiguous()
    made = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": float(scale) * rank,
        "lora_dropout": float(given.get("dropout", 0.0)),
        "target_modules": _endings(sorted(modules)),
    }
    return ImportedAdapter("MLX", str(config.get("model") or ""), renamed, made)


# -- both --------------------------------------------------------------------------------------


def _endings(modules: list[str]) -> list[str]:
    """Module names as PEFT names them: `model.layers.0.self_attn.q_proj` becomes `q_proj`."""
    return sorted({module.rpartition(".")[2] for module in modules})


def _config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    if not file.is_file():
        raise NotFound(f"{folder} has no {CONFIG}.")
    if file.stat().st_size > LARGEST_CONFIG:
        raise BadAdapter(f"{CONFIG} is {file.stat().st_size:,} bytes, which is far too large.")
    return parse_object(file.read_bytes(), f"{CONFIG} is unreadable")


def _tensors(file: Path) -> dict[str, Tensor]:
    if file.stat().st_size > LARGEST_WEIGHTS:
        raise BadAdapter(f"{file.name} is {file.stat().st_size:,} bytes, which is far too large.")
    try:
        return dict(load_file(file))
    except (SafetensorError, OSError, ValueError) as error:
        raise BadAdapter(f"{file.name} is unreadable: {error}") from error


def _check_base(settings: Settings, found: ImportedAdapter, same_base: bool) -> None:
    named, ours = found.base_model, settings.base
    if named in (ours.model, ours.path) or same_base:
        return
    what = f"for {shown(repr(named))}" if named else "for a base model that it does not name"
    raise BadAdapter(
        f"The adapter was tuned {what}, and this deployment serves {ours.model!r}. If both are the "
        "same model, use --same-base."
    )


def _write(place: Path, settings: Settings, found: ImportedAdapter) -> None:
    """Write the adapter. Weights keep their type: float32 would not be more exact."""
    save_file(found.tensors, place / WEIGHTS, metadata={"format": "pt"})
    config = {"task_type": "CAUSAL_LM", "bias": "none", "inference_mode": True, **found.config}
    config["base_model_name_or_path"] = settings.base.model
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (place / CONFIG).write_text(text, encoding="utf-8")
    for name in (WEIGHTS, CONFIG):
        (place / name).chmod(0o444)
