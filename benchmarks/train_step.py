"""What a training step costs: this project, a plain PEFT loop, and TRL's SFTTrainer.

    pip install --no-deps --target /tmp/trl trl datasets pyarrow dill multiprocess xxhash pandas
    PYTHONPATH=/tmp/trl python benchmarks/train_step.py --base SmolLM2-135M-Instruct

All train the same NF4 base with adapters of the same shape and dropout, on the same pairs, in bf16
where the processor has it. The plain loop is the code of PEFT's documentation: the whole batch
through the model under autocast, cross entropy by the model. SFTTrainer has gradient checkpointing
off, because it would be slower with it. Rounds of all variants alternate, and the fastest round of
each counts, so other work on the machine disturbs them alike. Without TRL, its line is left out.

The second table compares the gradients of one batch, without dropout, with those of float32
arithmetic on the same rounded weights.

With `--prefix`, all pairs begin with the same tokens, as those of a domain do. With it or `--ours`,
a line shows this project's step with padded rows. `--profile` shows where the time of a step goes
instead.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

if "--threads" in sys.argv:  # OpenMP reads it when torch is loaded
    os.environ["OMP_NUM_THREADS"] = sys.argv[sys.argv.index("--threads") + 1]
os.environ.setdefault("OMP_NUM_THREADS", "1")

import report
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tuning.data.examples import IGNORED, Example, batches
from tuning.model import base_model
from tuning.recipe.recipe import Recipe
from tuning.training import loop

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default=str(Path(__file__).parents[1] / "data" / "pocket"))
    parser.add_argument("--steps", type=int, default=4, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=52, help="mean length of a pair")
    parser.add_argument("--pairs", type=int, default=16, help="in a step")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--prefix", type=int, default=0, help="tokens that all pairs begin with")
    parser.add_argument("--ours", action="store_true", help="leave out plain PEFT and TRL")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    recipe = Recipe(
        rank=options.rank, alpha=32, dropout=options.dropout, batch_size=options.pairs,
        max_steps=options.steps, epochs=1000, evaluations=1,
    )  # fmt: skip
    pairs = [_pair(i, options.tokens + i % 9 - 4, options.prefix) for i in range(options.pairs)]
    if options.profile:
        _profile(understudy(options.base, recipe, pairs))
        return

    variants = {"understudy": understudy(options.base, recipe, pairs)}
    if options.prefix or options.ours:
        variants["understudy, padded rows"] = understudy(options.base, recipe, pairs, whole=True)
    if not options.ours:
        variants["plain PEFT loop"] = plain(options.base, recipe, pairs)
    if importlib.util.find_spec("trl") and not options.ours:
        variants["TRL SFTTrainer"] = trl(options.base, recipe, pairs)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(options.rounds):
        for name, run in variants.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            spent = (time.process_time() - cpu, time.perf_counter() - wall)
            times[name].append((spent[0] / options.steps, spent[1] / options.steps))
    best = {name: tuple(min(t[i] for t in some) for i in (0, 1)) for name, some in times.items()}
    ours = best["understudy"]
    report.table(
        ("variant", "CPU s a step", "times ours", "wall s a step", "times ours"),
        [(n, cpu, cpu / ours[0], wall, wall / ours[1]) for n, (cpu, wall) in best.items()],
    )
    if options.ours:
        report.finish(benchmark="train_step", seconds=best, tokens=sum(len(p.ids) for p in pairs))
        return
    print()
    agreement = _agreement(options.base, recipe, pairs)
    report.table(
        ("gradients", "lowest cosine to float32", "loss minus float32's"),
        [(name, f"{cosine:.5f}", f"{loss:+.5f}") for name, (cosine, loss) in agreement.items()],
    )
    report.finish(
        benchmark="train_step",
        seconds={name: {"cpu": cpu, "wall": wall} for name, (cpu, wall) in best.items()},
        agreement=agreement,
        tokens=sum(len(pair.ids) for pair in pairs),
        threads=torch.get_num_threads(),
        trl=_version("trl"),
    )


def _pair(seed: int, tokens: int, prefix: int = 0) -> Example:
    generator = torch.Generator().manual_seed(seed)
    ids = tuple(torch.randint(3, 1000, (tokens - 1,), generator=generator).tolist())
    ids = (*range(3, 3 + prefix), *ids[prefix:])
    half = tokens // 2
    return Example(seed, (*ids, 2), (*(IGNORED,) * half, *ids[half:], 2))


def understudy(
    path: str, recipe: Recipe, pairs: list[Example], *, whole: bool = False
) -> Callable[[], Any]:
    base = base_model.load_base(path, recipe, CPU)
    if whole:
        base = replace(base, shares_prefix=False, skips_padding=False)
    tuned = base_model.new_adapter(base, recipe)
    return lambda: loop.train(base, tuned, lambda _: pairs, {}, (), recipe)


def _profile(run: Callable[[], Any]) -> None:
    """The operations of one round that take most of the CPU."""
    run()
    with torch.profiler.profile() as profile:
        run()
    found = sorted(profile.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in found)
    report.table(
        ("operation", "share of CPU", "calls"),
        [(e.key, f"{e.self_cpu_time_total / total:.1%}", e.count) for e in found[:20]],
    )


def plain(path: str, recipe: Recipe, pairs: list[Example]) -> Callable[[], None]:
    """The usual loop with PEFT."""
    dtype = base_model.compute_dtype(CPU)
    tuned = _adapted(path, recipe, dtype).train()
    optimizer = torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=2e-4)
    (batch,) = batches(pairs, 10**9, 0)

    def run() -> None:
        for _ in range(recipe.max_steps):
            with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
                loss = tuned(input_ids=batch.ids, labels=batch.labels, use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(tuned.parameters(), recipe.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()

    return run


def trl(path: str, recipe: Recipe, pairs: list[Example]) -> Callable[[], Any]:
    import pyarrow
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    dtype = base_model.compute_dtype(CPU)
    rows = [{"input_ids": list(pair.ids), "labels": list(pair.labels)} for pair in pairs]
    config = SFTConfig(
        tempfile.mkdtemp(prefix="train-step-"),
        max_steps=recipe.max_steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        use_cpu=True,
        bf16=dtype == torch.bfloat16,
        gradient_checkpointing=False,
        dataset_kwargs={"skip_prepare_dataset": True},  # the pairs are token ids already
        logging_steps=10**9,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    tokenizer = base_model.load_tokenizer(path)
    trainer = SFTTrainer(
        _adapted(path, recipe, dtype),
        config,
        train_dataset=Dataset(pyarrow.Table.from_pylist(rows), fingerprint="pairs"),
        processing_class=tokenizer,
    )
    return trainer.train


def _adapted(path: str, recipe: Recipe, dtype: torch.dtype) -> Any:
    """The base in NF4 with an adapter, by transformers and PEFT alone; weights of the adapter in
    float32."""
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    model = AutoModelForCausalLM.from_pretrained(
        path, dtype=dtype, quantization_config=four_bit, trust_remote_code=False
    )
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    tuned = get_peft_model(model, config)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return tuned


def _agreement(path: str, recipe: Recipe, pairs: list[Example]) -> dict[str, tuple[float, float]]:
    """The lowest cosine of a weight's gradient to float32's, and the difference of the losses."""
    exact = recipe.model_copy(update={"dropout": 0.0})
    base = base_model.load_base(path, exact, CPU)
    ours = base_model.new_adapter(base, exact)
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(p.shape, generator=generator) * 0.02
        for name, p in base_model.trainable(ours).items()
    }
    (batch,) = batches(pairs, 10**9, base.pad_id)

    def theirs(dtype: torch.dtype) -> tuple[dict[str, torch.Tensor], float]:
        tuned = _adapted(path, exact, dtype)
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            return _gradients(tuned, weights, lambda: tuned(batch.ids, labels=batch.labels).loss)

    found = {
        "understudy": _gradients(
            ours, weights, lambda: loop.summed_loss(base, ours, batch) / batch.tokens
        ),
        "plain PEFT loop": theirs(base.dtype),
    }
    truth, loss = theirs(torch.float32)
    return {
        name: (
            min(
                float(functional.cosine_similarity(g.flatten(), truth[key].flatten(), dim=0))
                for key, g in gradients.items()
            ),
            value - loss,
        )
        for name, (gradients, value) in found.items()
    }


def _gradients(
    tuned: Any, weights: dict[str, torch.Tensor], loss_of: Callable[[], torch.Tensor]
) -> tuple[dict[str, torch.Tensor], float]:
    for name, parameter in base_model.trainable(tuned).items():
        parameter.data = weights[name].clone()
    tuned.train()
    loss = loss_of()
    loss.backward()
    return {n: p.grad for n, p in base_model.trainable(tuned).items() if p.grad is not None}, float(
        loss.detach()
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
