"""Writes a folder that another training tool starts from: its data set and its configuration.

- `axolotl`: `axolotl train config.yaml`
- `trl`: `trl sft --config config.yaml`; Unsloth's notebooks take the same data
- `llama-factory`: `llamafactory-cli train config.yaml`
- `mlx`: `mlx_lm.lora --config config.yaml`

Each command runs inside the folder. The conversations hold the system prompt that a run here would
train with, and only their last answer is learned, as here. Golden questions and pairs of the split
`validation` are in a file of their own, which the tool only measures on.
"""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data import whole_folders
from data.domains import Domain
from data.pairs.pairs import Pair
from data.store.errors import Conflict, Invalid

CONFIG = "config.yaml"
ADAPTER = "adapter"  # the folder that the tool writes
MEASURED = ("golden", "validation")  # splits that nothing is trained on
MASKED = "train"  # the key that Axolotl reads for each message

Row = dict[str, Any]


@dataclass(frozen=True)
class TrainingValues:
    """What a tool is told of the base model and the recipe."""

    base: str  # a name on a hub, or a folder
    rank: int
    alpha: float
    dropout: float
    learning_rate: float
    epochs: float
    batch_size: int
    max_length: int
    quantized: bool  # train on the base in NF4 (QLoRA)


@dataclass(frozen=True)
class WrittenFolder:
    """How many pairs were written to train on and to measure on."""

    folder: Path
    train: int
    measured: int


@dataclass(frozen=True)
class TrainingTool:
    """One tool: where its data is, what a row looks like, and its configuration."""

    title: str
    command: str  # that trains, inside the folder
    train: str  # the file of rows to learn
    measured: str
    row: Callable[[list[Row]], Row]  # of a conversation
    config: Callable[[TrainingValues, int, int], Mapping[str, Any]]
    more: Callable[[int], Mapping[str, Any]] | None = None  # files beside the data: JSON by name


def write(
    found: Iterable[Pair], domain: Domain, folder: Path, tool: str, values: TrainingValues
) -> WrittenFolder:
    """Write approved pairs for a tool, the folder whole or not at all. Raises Conflict if there is
    one already, and Invalid if there is no pair to train on or it cannot be written."""
    chosen = TOOLS[tool]
    if folder.exists():
        raise Conflict(f"{folder} is there already. Name a new folder.")
    try:
        with whole_folders.making(folder.parent, folder.name) as making:
            train, measured = _write_rows(found, domain, making, chosen)
            if not train:
                raise Invalid(f"{domain.name} has no approved pairs to train on.")
            config = chosen.config(values, train, measured)
            text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
            (making / CONFIG).write_text(text, encoding="utf-8")
            for name, content in (chosen.more(measured) if chosen.more else {}).items():
                (making / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            whole_folders.finish(making, folder, f"{folder} is there already. Name a new folder.")
    except OSError as error:
        raise Invalid(f"{folder} cannot be written: {error.strerror or error}") from error
    return WrittenFolder(folder, train, measured)


def _write_rows(
    found: Iterable[Pair], domain: Domain, folder: Path, tool: TrainingTool
) -> tuple[int, int]:
    train, measured = folder / tool.train, folder / tool.measured
    train.parent.mkdir(exist_ok=True)
    counts = {train: 0, measured: 0}
    with contextlib.ExitStack() as stack:
        files = {p: stack.enter_context(p.open("w", encoding="utf-8")) for p in counts}
        for pair in found:
            place = measured if pair.split in MEASURED else train
            row = tool.row(_messages(pair, domain.system_prompt))
            files[place].write(json.dumps(row, ensure_ascii=False) + "\n")
            counts[place] += 1
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    if not counts[measured]:
        measured.unlink()
    return counts[train], counts[measured]


def _messages(pair: Pair, system_prompt: str) -> list[Row]:
    system = pair.system or system_prompt
    first = [{"role": "system", "content": system}] if system else []
    turns = [{"role": turn.role, "content": turn.content} for turn in pair.turns]
    return [
        *first,
        *turns,
        {"role": "user", "content": pair.prompt},
        {"role": "assistant", "content": pair.response},
    ]


def _conversation(messages: list[Row]) -> Row:
    return {"messages": messages}


def _prompt_and_completion(messages: list[Row]) -> Row:
    return {"prompt": messages[:-1], "completion": messages[-1:]}


def _last_answer_marked(messages: list[Row]) -> Row:
    """Only where there are earlier answers, which would be learned otherwise."""
    if sum(message["role"] == "assistant" for message in messages) == 1:
        return {"messages": messages}
    last = len(messages) - 1
    return {"messages": [m | {MASKED: number == last} for number, m in enumerate(messages)]}


def _axolotl(values: TrainingValues, train: int, measured: int) -> Mapping[str, Any]:
    about = {
        "ds_type": "json",
        "type": "chat_template",
        "field_messages": "messages",
        "message_field_training": MASKED,
    }
    tests = [{"path": "measured.jsonl", "split": "train", **about}]
    return {
        "base_model": values.base,
        **({"load_in_4bit": True, "adapter": "qlora"} if values.quantized else {"adapter": "lora"}),
        "lora_r": values.rank,
        "lora_alpha": round(values.alpha),
        "lora_dropout": values.dropout,
        "lora_target_linear": True,
        "datasets": [{"path": "train.jsonl", **about}],
        **({"test_datasets": tests} if measured else {}),
        "sequence_len": values.max_length,
        "micro_batch_size": values.batch_size,
        "gradient_accumulation_steps": 1,
        "num_epochs": values.epochs,
        "learning_rate": values.learning_rate,
        "lr_scheduler": "cosine",
        "optimizer": "adamw_torch",
        "bf16": "auto",
        "output_dir": ADAPTER,
    }


def _trl(values: TrainingValues, train: int, measured: int) -> Mapping[str, Any]:
    return {
        "model_name_or_path": values.base,
        "dataset_name": "data",
        "dataset_train_split": "train",
        **({"dataset_test_split": "test", "eval_strategy": "epoch"} if measured else {}),
        "use_peft": True,
        "load_in_4bit": values.quantized,
        "lora_r": values.rank,
        "lora_alpha": round(values.alpha),
        "lora_dropout": values.dropout,
        "lora_target_modules": "all-linear",
        "max_length": values.max_length,
        "per_device_train_batch_size": values.batch_size,
        "num_train_epochs": values.epochs,
        "learning_rate": values.learning_rate,
        "lr_scheduler_type": "cosine",
        "output_dir": ADAPTER,
    }


def _llama_factory(values: TrainingValues, train: int, measured: int) -> Mapping[str, Any]:
    return {
        "model_name_or_path": values.base,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": values.rank,
        "lora_alpha": round(values.alpha),
        "lora_dropout": values.dropout,
        "lora_target": "all",
        **({"quantization_bit": 4, "quantization_method": "bnb"} if values.quantized else {}),
        "dataset_dir": ".",
        "dataset": "train",
        **({"eval_dataset": "measured", "eval_strategy": "epoch"} if measured else {}),
        "mask_history": True,
        "cutoff_len": values.max_length,
        "per_device_train_batch_size": values.batch_size,
        "num_train_epochs": values.epochs,
        "learning_rate": values.learning_rate,
        "lr_scheduler_type": "cosine",
        "output_dir": ADAPTER,
    }


def _llama_factory_data(measured: int) -> Mapping[str, Any]:
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    names = ("train", "measured") if measured else ("train",)
    return {
        "dataset_info.json": {
            name: {
                "file_name": f"{name}.jsonl",
                "formatting": "sharegpt",
                "columns": {"messages": "messages"},
                "tags": tags,
            }
            for name in names
        }
    }


def _mlx(values: TrainingValues, train: int, measured: int) -> Mapping[str, Any]:
    # mlx_lm measures on whole batches only, and trains by steps
    batch = min(values.batch_size, train, measured or train)
    return {
        "model": values.base,
        "train": True,
        "fine_tune_type": "lora",
        "data": "data",
        "mask_prompt": True,
        "num_layers": -1,
        "lora_parameters": {
            "rank": values.rank,
            "scale": values.alpha / values.rank,
            "dropout": values.dropout,
        },
        "batch_size": batch,
        "iters": max(1, math.ceil(train * values.epochs / batch)),
        "learning_rate": values.learning_rate,
        "max_seq_length": values.max_length,
        "adapter_path": ADAPTER,
    }


TOOLS: dict[str, TrainingTool] = {
    "axolotl": TrainingTool(
        "Axolotl", f"axolotl train {CONFIG}", "train.jsonl", "measured.jsonl",
        _last_answer_marked, _axolotl,
    ),
    "trl": TrainingTool(
        "TRL", f"trl sft --config {CONFIG}", "data/train.jsonl", "data/test.jsonl",
        _prompt_and_completion, _trl,
    ),
    "llama-factory": TrainingTool(
        "LLaMA-Factory", f"llamafactory-cli train {CONFIG}", "train.jsonl", "measured.jsonl",
        _conversation, _llama_factory, _llama_factory_data,
    ),
    "mlx": TrainingTool(
        "MLX", f"mlx_lm.lora --config {CONFIG}", "data/train.jsonl", "data/valid.jsonl",
        _conversation, _mlx,
    ),
}  # fmt: skip
