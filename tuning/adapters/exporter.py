"""Writes an adapter in the formats of other programs.

- `peft`: only the adapter, with a name of the base that PEFT finds.
- `merged`: the base with the adapter merged into it, in bf16, for engines without LoRA. If the
  adapter was trained on a 4-bit base, the base is rounded like that first, because the adapter
  corrects the rounded weights. The result is not saved in 4 bits, which would round it again.
- `ollama`: the adapter and a Modelfile with the base, the chat template of training, the domain's
  system prompt, the sampling parameters and the stop tokens.

The folder is written under a temporary name and renamed, so it is never there in part.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from data.adapters import files, registry
from data.adapters.registry import Adapter
from data.bases import digest
from data.config.settings import Settings
from data.domains import Domain
from data.store.errors import Conflict, Invalid
from tuning.adapters import ollama
from tuning.model import base_model
from tuning.model.cpu_linear import UnpackedLinear4bit
from tuning.recipe.recipe import Recipe

Format = Literal["peft", "merged", "ollama"]


def write(settings: Settings, domain: Domain, adapter: Adapter, form: Format, out: Path) -> None:
    """Write the adapter to the new folder `out`. Raises Conflict when `out` exists or the adapter's
    files were deleted, BadAdapter when they have changed, Invalid when the format cannot hold
    it."""
    registry.refuse_removed(adapter)
    folder = adapter.folder(settings.home)
    if problem := digest.mismatch(adapter, settings, digest.of_base(settings)):
        raise Invalid(problem)
    files.check(
        folder,
        base=settings.base.path,
        base_model=adapter.base_model,
        max_rank=settings.serving.rank_limit,
        sha256=adapter.sha256,
    )
    with _atomic_folder(out) as part:
        if form == "merged":
            _merged(settings, adapter, folder, part)
        else:
            _adapter(settings, folder, part)
        if form == "ollama":
            text = ollama.modelfile(settings, domain, adapter)
            (part / "Modelfile").write_text(text, encoding="utf-8")


def _adapter(settings: Settings, folder: Path, part: Path) -> None:
    """Copy the two files of an adapter. The config gets the path of the base instead of the
    deployment's name for it."""
    shutil.copyfile(folder / files.WEIGHTS, part / files.WEIGHTS)
    config = json.loads((folder / files.CONFIG).read_bytes())
    config["base_model_name_or_path"] = settings.base.path
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (part / files.CONFIG).write_text(text, encoding="utf-8")
    if (folder / "README.md").is_file():
        shutil.copyfile(folder / "README.md", part / "README.md")


def _merged(settings: Settings, adapter: Adapter, folder: Path, part: Path) -> None:
    quantization = adapter.recipe.get("quantization", "none")
    base = base_model.load_base(settings.base.path, Recipe(quantization=quantization))
    tuned = base_model.continued_adapter(base, folder)
    merged = AutoModelForCausalLM.from_pretrained(
        settings.base.path, dtype=torch.bfloat16, trust_remote_code=False
    )
    load_merged(merged, merged_weights(tuned))
    merged.save_pretrained(part)
    base.tokenizer.save_pretrained(part)


@torch.no_grad()
def merged_weights(tuned: Any) -> dict[str, torch.Tensor]:
    """Name -> float32 weight (out, in) of each layer of the base that is in 4 bits or has an
    adapter, as the trainer computes with them."""
    found = {}
    for name, layer in tuned.get_base_model().named_modules():
        linear = getattr(layer, "base_layer", layer)
        has_adapter = hasattr(layer, "get_delta_weight")
        rounded = isinstance(layer, Linear4bit | UnpackedLinear4bit)
        if name.endswith(".base_layer") or not (has_adapter or rounded):
            continue
        weight = linear.weight
        if isinstance(linear, Linear4bit):
            weight = dequantize_4bit(weight.data, weight.quant_state)
        weight = weight.detach().float().cpu()
        if has_adapter:
            weight = weight + layer.get_delta_weight(tuned.active_adapter).float().cpu()
        found[f"{name}.weight"] = weight.T if isinstance(linear, Conv1D) else weight
    return found


def load_merged(plain: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Load `weights`, (out, in) each, into a plain model of the same base. Raises Invalid for a
    weight that the model does not have."""
    oriented = {}
    for name, weight in weights.items():
        try:
            layer = plain.get_submodule(name.removesuffix(".weight"))
        except AttributeError:
            raise Invalid(
                f"The base model has no {name}, so the adapter cannot be merged."
            ) from None
        # GPT-2 stores (in, out) unless its layers are in 4 bits
        oriented[name] = (weight.T if isinstance(layer, Conv1D) else weight).to(plain.dtype)
    plain.load_state_dict(oriented, strict=False)


@contextlib.contextmanager
def _atomic_folder(out: Path) -> Iterator[Path]:
    """A folder that is renamed to `out` on success and deleted otherwise."""
    if out.exists():
        raise Conflict(f"{out} exists already; choose a new folder.")
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise Invalid(f"{out} cannot be written: {error.strerror or error}") from error
    try:
        yield part
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
