"""From trained weights to a registered adapter, completely or not at all.

The files are written to a hidden folder (`adapter_store.py`), checked as the engine will check
them, and registered as `evaluating`. Engines then load the adapter and answer the evaluation
questions (`tuning/evaluation/evaluator.py`); people do not get it. `settle` makes it a candidate or
rejects it, and ends its run in the same transaction. A run that crashed in between finds its
adapter and continues with it."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from peft import get_peft_model_state_dict
from safetensors.torch import save_file
from sqlite_utils import Database

from data.adapters import files, registry
from data.adapters.files import AdapterFiles
from data.adapters.registry import Adapter, ReferenceOutput
from data.bases import digest
from data.bases.digest import Digest
from data.config.settings import Settings
from data.domains import Domain
from data.pairs.datasets import Dataset
from data.runs import runs
from data.runs.runs import Run
from data.store.clock import iso, now_us
from data.store.db import Store
from tuning.adapters import adapter_store
from tuning.model import chat_template
from tuning.recipe.recipe import Recipe

log = logging.getLogger(__name__)

CARD = "README.md"
RECIPE = "recipe.json"


@dataclass(frozen=True)
class Lineage:
    """The origin of an adapter."""

    run: Run
    domain: Domain
    dataset: Dataset
    parent: Adapter | None
    recipe: Recipe
    licence: str  # of the base; '' if it has none
    template: str = ""  # the chat template; '' is not saved
    base_digest: Digest = field(default_factory=dict)  # of the base when it was loaded


def publish(
    store: Store,
    settings: Settings,
    model: Any,
    lineage: Lineage,
    references: Sequence[ReferenceOutput] = (),
    probes: Sequence[ReferenceOutput] = (),
) -> Adapter:
    """Write, check and register the adapter in `model` for its evaluation.

    Raises BadAdapter when the engine could not serve it, RunLost when the run belongs to another
    worker, OSError when the disk is full. Nothing is left in these cases."""
    with adapter_store.temporary(settings, lineage.domain, str(lineage.run.id)) as folder:
        write_files(folder, model, settings.base.model)
        write_recipe(folder, lineage.recipe)
        if lineage.template:
            chat_template.freeze(folder, lineage.template)
        found = files.check(
            folder,
            base=settings.base.path,
            base_model=settings.base.model,
            max_rank=settings.serving.rank_limit,
        )

        def before(db: Database) -> Adapter | None:
            runs.refuse_lost(db, lineage.run)
            return _registered_before(db, settings, lineage.run, found)

        return adapter_store.install(
            store,
            settings,
            lineage.domain,
            folder,
            found,
            before,
            recipe=lineage.recipe.model_dump(mode="json"),
            base_digest=lineage.base_digest,
            canaries=references,
            probes=probes,
            dataset_id=lineage.dataset.id,
            parent_id=lineage.parent.id if lineage.parent else None,
            run_id=lineage.run.id,
            state="evaluating",
        )


def settle(
    store: Store,
    settings: Settings,
    lineage: Lineage,
    adapter: Adapter,
    scores: dict[str, Any],
    rejected: str = "",
) -> Adapter:
    """End the evaluation and the run: the adapter becomes a candidate, or is rejected for the
    reason `rejected`. Raises RunLost when the run belongs to another worker, OSError when the disk
    is full; the adapter then stays in evaluation."""
    with adapter_store.temporary(settings, lineage.domain, str(lineage.run.id)) as folder:
        card = folder / CARD
        _write_synced(card, model_card(settings, adapter, lineage, scores))
        adapter_store.sync_folder(folder)
        with store.write() as db:
            runs.refuse_lost(db, lineage.run)
            state: Literal["candidate", "rejected"] = "rejected" if rejected else "candidate"
            settled = registry.settle_evaluation(db, adapter, state, scores, rejected)
            runs.finish(db, lineage.run, adapter.id)
            card.replace(adapter.folder(settings.home) / CARD)
    return settled


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Save the recipe, in the format that `understudy tune --recipe` reads."""
    text = json.dumps(recipe.model_dump(mode="json"), indent=2) + "\n"
    (folder / RECIPE).write_text(text, encoding="utf-8")


def write_files(folder: Path, model: Any, base_model: str) -> None:
    """Write the adapter for PEFT and vLLM: safetensors and a config, the same bytes for the same
    weights. The config has the configured name of the base, so that folders can be moved."""
    weights = {
        name: tensor.detach().float().cpu().contiguous()
        for name, tensor in get_peft_model_state_dict(model, save_embedding_layers=False).items()
    }
    file = folder / files.WEIGHTS
    save_file(weights, file, metadata={"format": "pt"})
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(0o444 & ~mask)  # never written again; the engine may run as another user
    config = model.peft_config["default"].to_dict()
    config |= {"inference_mode": True, "base_model_name_or_path": base_model}
    plain = {
        key: sorted(value) if isinstance(value, (set, frozenset)) else value
        for key, value in config.items()
    }
    text = json.dumps(plain, indent=2, sort_keys=True, default=_enum) + "\n"
    (folder / files.CONFIG).write_text(text, encoding="utf-8")
    (folder / files.CONFIG).chmod(0o444 & ~mask)


def _registered_before(
    db: Database, settings: Settings, run: Run, found: AdapterFiles
) -> Adapter | None:
    """The adapter that an earlier attempt of the run has registered, if it is the same. Other
    adapters of earlier attempts are rejected."""
    earlier = registry.evaluated_by(db, run.id)
    same = [
        a for a in earlier
        if a.sha256 == found.sha256 and a.folder(settings.home).is_dir()
    ]  # fmt: skip
    for adapter in earlier:
        if adapter not in same[:1]:
            why = f"Run {run.id} was interrupted and produced another adapter."
            registry.settle_evaluation(db, adapter, "rejected", {}, why)
    return same[0] if same else None


def model_card(
    settings: Settings, adapter: Adapter, lineage: Lineage, scores: dict[str, Any]
) -> str:
    """README.md of the adapter: its origin, scores and recipe."""
    run, dataset, parent = lineage.run, lineage.dataset, lineage.parent
    licence = lineage.licence or "not stated"
    config = (adapter.folder(settings.home) / files.CONFIG).read_bytes()
    modules = sorted(json.loads(config)["target_modules"])
    recipe = {k: v for k, v in lineage.recipe.model_dump(mode="json").items() if k != "why"}
    lines = [
        "---",
        f"base_model: {json.dumps(settings.base.model)}",
        "library_name: peft",
        "pipeline_tag: text-generation",
        "tags: [lora, qlora, understudy]",
        *([f"license: {json.dumps(lineage.licence)}"] if lineage.licence else []),
        "---",
        f"# {adapter.name}",
        "",
        f"A LoRA adapter of the domain {lineage.domain.name}, trained by Understudy with QLoRA.",
        "",
        "| | |",
        "| --- | --- |",
        f"| base model | `{settings.base.model}` |",
        f"| digest of the base model | {_base_digest(lineage)} |",
        f"| licence of the base model | {licence} |",
        f"| parent | {parent.name if parent else 'none: trained from the bare base'} |",
        f"| run | {run.id}, {run.kind}, requested by {run.requested_by} |",
        *([f"| triggered | {_line(run.why)} |"] if run.why else []),
        f"| made | {iso(now_us())} |",
        f"| time | {_seconds(scores.get('train_seconds'))} of training, "
        f"{_seconds((now_us() - (run.started_at or now_us())) / 1e6)} with the evaluation |",
        "| energy | not measured |",
        f"| dataset | `{dataset.sha256}` |",
        f"| pairs | {dataset.train} train, {dataset.validation} validation, {dataset.probe} "
        f"probe, {dataset.golden} golden |",
        f"| rank | {adapter.rank} on {', '.join(modules)} |",
        f"| digest | `{adapter.sha256}` |",
        "",
        "## Scores",
        "",
        "```json",
        json.dumps({k: v for k, v in scores.items() if k != "samples"}, indent=2),
        "```",
        "",
        "## Recipe",
        "",
        lineage.recipe.why,
        "",
        "```json",
        json.dumps(recipe, indent=2),
        "```",
        "",
    ]
    for sample in (s for s in scores.get("samples", []) if s.get("shown") != "worst"):
        lines += [
            f"- **{_line(sample['question'])}**",
            f"  - expected: {_line(sample['expected'])}",
            f"  - adapter: {_line(sample['adapter'])}",
        ]
    return "\n".join(lines) + "\n"


def _base_digest(lineage: Lineage) -> str:
    joined = digest.joined(lineage.base_digest)
    return f"`{joined}`" if joined else "not known"


def _seconds(seconds: float | None) -> str:
    return "an unknown time" if seconds is None else f"{seconds:.0f} s"


def _write_synced(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _line(text: str) -> str:
    return " ".join(text.split())


def _enum(value: Any) -> Any:
    return getattr(value, "value", None) or (
        asdict(value) if hasattr(value, "__dataclass_fields__") else str(value)
    )
