"""Adapters for tests, made without tuning: random LoRA weights for the pocket base, PEFT format.

`write` makes a folder that passes every check (or one that is wrong in one chosen way), `register`
puts one into a store as `helpdesk@1` and so on. Different seeds answer differently, the same seed
always the same.
"""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
from safetensors.numpy import save_file

from data import domains
from data.adapters import files, registry
from data.adapters.registry import Adapter
from data.config.settings import POCKET, Settings
from data.store.db import Store
from data.store.errors import NotFound

MODULES = ("q_proj", "v_proj", "down_proj")


def weights(
    rank: int = 8, seed: int = 1, scale: float = 0.3, modules: tuple[str, ...] = MODULES
) -> dict[str, np.ndarray]:
    """Tensor name -> float32 matrix; `scale` is that of the numbers in B."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, (_, shape) in sorted(files.base_shapes(POCKET).items()):
        module = name.removesuffix(".weight")
        if module.rsplit(".", 1)[-1] in modules:
            a = random.normal(0, shape[1] ** -0.5, (rank, shape[1]))
            b = random.normal(0, scale, (shape[0], rank))
            tensors[f"base_model.model.{module}.lora_A.weight"] = a.astype(np.float32)
            tensors[f"base_model.model.{module}.lora_B.weight"] = b.astype(np.float32)
    return tensors


def config(rank: int = 8, **changes: Any) -> dict[str, Any]:
    """An `adapter_config.json`; `changes` replace or add keys."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "pocket",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": list(MODULES),
        "bias": "none",
        **changes,
    }


def write(
    folder: Path,
    *,
    rank: int = 8,
    seed: int = 1,
    tensors: dict[str, np.ndarray] | None = None,
    **config_changes: Any,
) -> Path:
    """An adapter's two files in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = orjson.dumps(config(rank, **config_changes))
    (folder / files.CONFIG).write_bytes(changed)
    save_file(tensors or weights(rank, seed), folder / files.WEIGHTS)
    return folder


def register(
    store: Store,
    settings: Settings,
    domain_name: str = "helpdesk",
    *,
    rank: int = 8,
    seed: int = 1,
    tensors: dict[str, np.ndarray] | None = None,
) -> Adapter:
    """Write an adapter into the home folder and register it, as the domain's next version."""
    with store.write() as db:
        try:
            domain = domains.get(db, domain_name)
        except NotFound:
            domain = domains.create(db, domain_name)
        version = registry.next_version(db, domain)
        folder = settings.adapters_path / f"{domain_name}-{version}-{seed}"
        write(folder, rank=rank, seed=seed, tensors=tensors)
        return registry.register(
            db,
            domain,
            version=version,
            sha256=files.digest(folder),
            path=str(folder.relative_to(settings.home)),
            base_model=settings.base.model,
            rank=rank,
            size_bytes=sum(f.stat().st_size for f in folder.iterdir()),
            recipe={},
            scores={},
        )
