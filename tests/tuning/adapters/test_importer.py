"""Imported adapters give the same results here as where they were trained, and adapters that cannot
be served are refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from data.adapters import files, registry
from data.adapters.safetensors_file import BadAdapter
from data.config.settings import Settings
from data.domains import Domain
from data.store import audit
from data.store.db import Store
from data.store.errors import NotFound, UnderstudyError
from tuning.adapters import importer

IDS = torch.tensor([[5, 9, 23, 7, 11, 300]])


def plain_base(settings: Settings) -> Any:
    return AutoModelForCausalLM.from_pretrained(settings.base.path, dtype=torch.float32).eval()


def stirred(model: Any, strength: float = 0.05) -> Any:
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape, generator=generator) * strength
    return model.eval()


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=IDS).logits
    return found


def peft_folder(
    settings: Settings,
    folder: Path,
    targets: Any = ("q_proj", "down_proj"),
    strength: float = 0.05,
    **more: Any,
) -> Tensor:
    """What PEFT itself writes, as TRL and Axolotl do; returns the logits that it gives."""
    given = targets if isinstance(targets, str) else list(targets)
    chosen = {"r": 8, "lora_alpha": 12, "target_modules": given, **more}
    config = LoraConfig(task_type="CAUSAL_LM", **chosen)
    model = stirred(get_peft_model(plain_base(settings), config), strength)
    model.save_pretrained(folder)
    return logits(model)


def as_served(settings: Settings, adapter: registry.Adapter) -> Tensor:
    folder = adapter.folder(settings.home)
    return logits(PeftModel.from_pretrained(plain_base(settings), folder).eval())


def brought_in(store: Store, settings: Settings, domain: Domain, folder: Path, **more: Any) -> Any:
    return importer.import_adapter(store, settings, domain, folder, "ann", **more)


def left_over(settings: Settings) -> list[str]:
    shelf = settings.adapters_path / "helpdesk"
    return [p.name for p in shelf.iterdir()] if shelf.is_dir() else []


def test_an_adapter_of_peft_s_gives_the_same_logits_here(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path
) -> None:
    expected = peft_folder(settings, tmp_path / "theirs")

    adapter = brought_in(store, settings, domain, tmp_path / "theirs")

    assert torch.equal(as_served(settings, adapter), expected)
    assert (adapter.name, adapter.state, adapter.rank) == ("helpdesk@1", "candidate", 8)
    assert "it has not passed the gate" in adapter.state_reason
    assert adapter.canaries == ()
    entry = audit.recent(store.db, 1)[0]
    assert (entry.actor, entry.action, entry.subject) == ("ann", "import", "helpdesk@1")
    files.check(
        adapter.folder(settings.home),
        base=settings.base.path,
        base_model=settings.base.model,
        max_rank=64,
        sha256=adapter.sha256,
    )


def test_other_files_of_trainers_are_not_imported(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path
) -> None:
    """TRL and Axolotl write the tokenizer, the optimizer and their own settings into the folder."""
    peft_folder(settings, tmp_path / "theirs")
    for name in ("training_args.bin", "optimizer.pt", "tokenizer.json", "trainer_state.json"):
        (tmp_path / "theirs" / name).write_text("{}")

    adapter = brought_in(store, settings, domain, tmp_path / "theirs")

    assert sorted(p.name for p in adapter.folder(settings.home).iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


@pytest.mark.parametrize(
    "more",
    [
        {"peft_version": "0.18.1", "corda_config": None, "arrow_config": None},  # TRL
        {  # Unsloth
            "auto_mapping": {
                "base_model_class": "Qwen3ForCausalLM",
                "parent_library": "transformers.models.qwen3.modeling_qwen3",
                "unsloth_fixed": True,
            },
            "use_qalora": False,
            "qalora_group_size": 16,
        },
        {  # Axolotl
            "loftq_config": {},
            "megatron_core": "megatron.core",
            "layers_to_transform": None,
            "exclude_modules": None,
            "fan_in_fan_out": None,
            "eva_config": None,
        },
        {"velora_config": None, "monteclora_config": None, "use_bdlora": None},  # a later PEFT
    ],
    ids=["trl", "unsloth", "axolotl", "later"],
)
def test_the_configs_of_trainers_are_understood(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path, more: dict[str, Any]
) -> None:
    expected = peft_folder(settings, tmp_path / "theirs")
    file = tmp_path / "theirs" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | more))

    adapter = brought_in(store, settings, domain, tmp_path / "theirs")

    assert torch.equal(as_served(settings, adapter), expected)


def test_a_pattern_of_target_modules_becomes_their_names(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path
) -> None:
    """Unsloth writes a regular expression, which an engine would run."""
    expected = peft_folder(settings, tmp_path / "theirs", r".*\.(q|v)_proj")

    adapter = brought_in(store, settings, domain, tmp_path / "theirs")

    config = json.loads((adapter.folder(settings.home) / "adapter_config.json").read_bytes())
    assert config["target_modules"] == ["q_proj", "v_proj"]
    assert torch.equal(as_served(settings, adapter), expected)


@pytest.mark.parametrize("rank", [4, 12])
def test_every_rank_that_engines_serve_is_imported(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path, rank: int
) -> None:
    expected = peft_folder(settings, tmp_path / "theirs", r=rank)

    adapter = brought_in(store, settings, domain, tmp_path / "theirs")

    assert adapter.rank == rank
    assert torch.equal(as_served(settings, adapter), expected)


@pytest.mark.parametrize("excluded", [["down_proj", "up_proj"], r".*layers\.0\..*"])
def test_modules_may_be_excluded_from_all_linear(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path, excluded: Any
) -> None:
    """PEFT keeps their names in target_modules, and writes no weights for them."""
    expected = peft_folder(
        settings, tmp_path / "theirs", "all-linear", exclude_modules=excluded, strength=0.02
    )

    adapter = brought_in(store, settings, domain, tmp_path / "theirs")

    assert torch.equal(as_served(settings, adapter), expected)
    config = json.loads((adapter.folder(settings.home) / "adapter_config.json").read_bytes())
    assert "model.layers.1.self_attn.q_proj" in config["target_modules"]
    assert not any("down_proj" in name for name in config["target_modules"]) or "0" in excluded


@pytest.mark.parametrize("stabilised", [False, True])
def test_ranks_and_alphas_that_differ_by_module_become_one(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path, stabilised: bool
) -> None:
    """Engines of older versions apply the common ones to every module."""
    expected = peft_folder(
        settings, tmp_path / "theirs", ("q_proj", "v_proj", "down_proj"),
        rank_pattern={"q_proj": 4, "layers.0.mlp.down_proj": 12},
        alpha_pattern={"v_proj": 48, "layers.0.mlp.down_proj": 6}, use_rslora=stabilised,
    )  # fmt: skip

    adapter = brought_in(store, settings, domain, tmp_path / "theirs")

    assert adapter.rank == 12
    config = json.loads((adapter.folder(settings.home) / "adapter_config.json").read_bytes())
    assert not config.get("rank_pattern")
    assert not config.get("alpha_pattern")
    assert torch.allclose(as_served(settings, adapter), expected, atol=1e-5)


def test_tensor_names_are_those_of_peft(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path
) -> None:
    """A state dict of a sharded run keeps the adapter's name in every key."""
    expected = peft_folder(settings, tmp_path / "theirs")
    file = tmp_path / "theirs" / "adapter_model.safetensors"
    save_file(
        {k.replace(".weight", ".default.weight"): t for k, t in load_file(file).items()}, file
    )

    adapter = brought_in(store, settings, domain, tmp_path / "theirs")

    assert torch.equal(as_served(settings, adapter), expected)


class MlxLinear(nn.Module):
    """A linear layer as mlx-lm computes it (`tuner/lora.py`, `LoRALinear.__call__`)."""

    def __init__(self, linear: nn.Linear, a: Tensor, b: Tensor, scale: float) -> None:
        super().__init__()
        self.linear, self.lora_a, self.lora_b, self.scale = linear, a, b, scale

    def forward(self, x: Tensor) -> Tensor:
        z = (x @ self.lora_a) @ self.lora_b
        found: Tensor = self.linear(x) + (self.scale * z).to(x.dtype)
        return found


def mlx_folder(
    settings: Settings, folder: Path, rank: int = 8, scale: float = 20.0, **more: Any
) -> Tensor:
    """What mlx-lm writes, on the upper of the two layers; returns the logits of its formula."""
    model = plain_base(settings)
    generator = torch.Generator().manual_seed(2)
    tensors: dict[str, Tensor] = {}
    for name in ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"):
        module = f"model.layers.1.{name}"
        linear = model.get_submodule(module)
        a = torch.randn(linear.in_features, rank, generator=generator) * 0.05
        b = torch.randn(rank, linear.out_features, generator=generator) * 0.05
        tensors |= {f"{module}.lora_a": a, f"{module}.lora_b": b}
        parent, _, last = module.rpartition(".")
        setattr(model.get_submodule(parent), last, MlxLinear(linear, a, b, scale))
    folder.mkdir()
    save_file(tensors, folder / "adapters.safetensors", metadata={"format": "mlx"})
    config = {
        "model": settings.base.model,
        "fine_tune_type": "lora",
        "num_layers": 1,
        "lora_parameters": {"rank": rank, "dropout": 0.0, "scale": scale},
        "batch_size": 4,
        "iters": 1000,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config | more))
    return logits(model)


@pytest.mark.parametrize("scale", [20.0, 2.0, 0.3])
def test_an_adapter_of_mlx_s_gives_the_same_logits_here(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path, scale: float
) -> None:
    expected = mlx_folder(settings, tmp_path / "theirs", scale=scale)

    adapter = brought_in(store, settings, domain, tmp_path / "theirs")

    found = as_served(settings, adapter)
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(found, logits(plain_base(settings)), atol=1e-2)
    assert "from MLX files" in adapter.state_reason


def drop_half(folder: Path) -> None:
    file = folder / "adapters.safetensors"
    tensors = load_file(file)
    save_file({k: t for k, t in tensors.items() if k != sorted(tensors)[0]}, file)


def quantise(folder: Path) -> None:
    file = folder / "adapters.safetensors"
    save_file(load_file(file) | {"model.layers.1.mlp.down_proj.lora_a_scales": torch.ones(2)}, file)


def break_numbers(folder: Path) -> None:
    file = folder / "adapters.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, file)


def cut_file(folder: Path) -> None:
    os.truncate(folder / "adapters.safetensors", 64)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (drop_half, "but not its other half"),
        (quantise, "lora_a_scales', which is not a plain LoRA weight"),
        (break_numbers, "contains NaN"),
        (cut_file, "is unreadable"),
    ],
)
def test_files_that_are_not_sound_are_refused_and_leave_nothing(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path,
    spoil: Callable[[Path], None], words: str,
) -> None:  # fmt: skip
    mlx_folder(settings, tmp_path / "theirs")
    spoil(tmp_path / "theirs")

    with pytest.raises(BadAdapter, match=words):
        brought_in(store, settings, domain, tmp_path / "theirs")

    assert left_over(settings) == []
    assert registry.list_adapters(store.db) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fine_tune_type": "dora"}, "tuned as 'dora'; only LoRA"),
        ({"lora_parameters": {"rank": 8}}, "has no rank and scale"),
        ({"model": "elsewhere/model"}, "tuned for 'elsewhere/model'.*--same-base"),
    ],
)
def test_settings_that_mean_something_else_are_refused(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path,
    change: dict[str, Any], words: str,
) -> None:  # fmt: skip
    mlx_folder(settings, tmp_path / "theirs", **change)

    with pytest.raises(BadAdapter, match=words):
        brought_in(store, settings, domain, tmp_path / "theirs")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"use_dora": True}, "DoRA.*Train it again without use_dora"),
        ({"modules_to_save": ["lm_head"]}, "lm_head.*or merge it into the base model"),
        ({"rank_pattern": {"q_proj": 513}}, "ranks from 1 to 512"),
        ({"alpha_pattern": {".*q_proj": 4}}, "is not the name of a module"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head or embed_tokens, and"),
        ({"target_modules": ["embed_tokens"]}, "whole weights"),
    ],
)
def test_unservable_adapters_are_refused(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path,
    more: dict[str, Any], words: str,
) -> None:  # fmt: skip
    peft_folder(settings, tmp_path / "theirs", **more)

    with pytest.raises(BadAdapter, match=words):
        brought_in(store, settings, domain, tmp_path / "theirs")

    assert left_over(settings) == []


def test_a_base_of_another_name_is_accepted_with_a_confirmation(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path
) -> None:
    """Unsloth names its own copy of a base."""
    expected = peft_folder(settings, tmp_path / "theirs")
    file = tmp_path / "theirs" / "adapter_config.json"
    named = json.loads(file.read_bytes()) | {"base_model_name_or_path": "unsloth/x-bnb-4bit"}
    file.write_text(json.dumps(named))

    with pytest.raises(BadAdapter, match="unsloth/x-bnb-4bit"):
        brought_in(store, settings, domain, tmp_path / "theirs")
    adapter = brought_in(store, settings, domain, tmp_path / "theirs", same_base=True)

    assert torch.equal(as_served(settings, adapter), expected)


def test_pickled_weights_are_not_read(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path
) -> None:
    (tmp_path / "adapter_model.bin").write_bytes(b"\x80\x04")

    with pytest.raises(BadAdapter, match="can carry code"):
        brought_in(store, settings, domain, tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_an_adapter_is_reported(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path, name: str
) -> None:
    with pytest.raises(NotFound, match=r"is not a folder|contains neither"):
        brought_in(store, settings, domain, tmp_path / name)


def test_an_imported_adapter_can_be_retired_and_removed_like_any(
    store: Store, settings: Settings, domain: Domain, tmp_path: Path
) -> None:
    peft_folder(settings, tmp_path / "theirs")
    adapter = brought_in(store, settings, domain, tmp_path / "theirs")

    with store.write() as db:
        registry.retire(db, adapter, "ann")
        removed = registry.remove(db, adapter, "ann")

    assert removed.removal_asked_at is not None
    with store.write() as db, pytest.raises(UnderstudyError):
        registry.promote(db, adapter, "ann")
