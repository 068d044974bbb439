"""What a training step costs: this project's loop and `transformers.Trainer` on the same batches.

    python benchmarks/train_step.py --steps 40

Both train the same NF4 base model with the same adapter, precision and optimiser on batches of
equal shape, so the difference is what surrounds the arithmetic: the Trainer's own work, logits of
prompt tokens, attention kernels. CPU seconds of this process; the last line is JSON.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import report
import torch
from transformers import Trainer, TrainingArguments

from tuning.data.examples import IGNORED, Example, batches
from tuning.model import base_model
from tuning.recipe.recipe import Recipe
from tuning.training import loop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default=str(Path(__file__).parents[1] / "data" / "pocket"))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=64, help="of a sequence, half of it response")
    options = parser.parse_args()
    recipe = Recipe(rank=32, batch_size=16, max_steps=options.steps, epochs=1000, evaluations=1)
    some = [_example(i, options.tokens) for i in range(64)]
    rounds = [
        (ours(options.base, recipe, some), trainers(options.base, recipe, some)) for _ in "12"
    ]
    mine, theirs = (min(pair[i] for pair in rounds) / options.steps * 1000 for i in (0, 1))
    report.table(("loop", "CPU ms a step"), [("ours", mine), ("transformers.Trainer", theirs)])
    report.finish(
        benchmark="train_step",
        ours_ms=round(mine, 1),
        trainer_ms=round(theirs, 1),
        tokens_a_step=16 * options.tokens,
    )


def _example(seed: int, tokens: int) -> Example:
    generator = torch.Generator().manual_seed(seed)
    ids = tuple(torch.randint(3, 1000, (tokens - 1,), generator=generator).tolist())
    half = tokens // 2
    return Example(seed, (*ids, 2), (*(IGNORED,) * half, *ids[half:], 2))


def ours(path: str, recipe: Recipe, some: list[Example]) -> float:
    base = base_model.load_base(path, recipe)
    tuned = base_model.new_adapter(base, recipe)
    began = time.process_time()
    loop.train(base, tuned, lambda _: some, {}, (), recipe)
    return time.process_time() - began


def trainers(path: str, recipe: Recipe, some: list[Example]) -> float:
    """The Trainer with its usual settings: its own mixed precision, no evaluation, no saving."""
    base = base_model.load_base(path, recipe)
    tuned = base_model.new_adapter(base, recipe)
    bf16 = base.dtype == torch.bfloat16

    def collate(rows: list[Any]) -> dict[str, torch.Tensor]:
        (batch,) = batches([row["example"] for row in rows], 10**9, base.pad_id)
        return {"input_ids": batch.ids, "labels": batch.labels}

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            tuned,
            TrainingArguments(
                folder,
                max_steps=recipe.max_steps,
                per_device_train_batch_size=recipe.batch_size,
                learning_rate=recipe.learning_rate,
                lr_scheduler_type="cosine",
                use_cpu=True,
                bf16=bf16,
                logging_steps=10**9,
                save_strategy="no",
                report_to=[],
                remove_unused_columns=False,
                disable_tqdm=True,
            ),
            train_dataset=[{"example": e} for e in some],
            data_collator=collate,
        )
        began = time.process_time()
        trainer.train()
        return time.process_time() - began


if __name__ == "__main__":
    main()
