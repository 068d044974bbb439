"""What packing saves: padded and packed steps on the same windows, in one run.

    python benchmarks/packing.py --steps 12

Most pairs are short and a few are long, as in chats. The same windows are turned into passes padded
and packed, drawn at random (as most trainers do) and by similar length (as this project does). Each
way is timed on the same examples, in turn, for several rounds, in CPU seconds of this process.
`--width` uses a random LLaMA with four layers instead of the pocket model: the wider the model, the
smaller the share of attention, which packing does not save. The last line is JSON.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

import report
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from data.config.settings import POCKET
from tuning.data import packing
from tuning.data.examples import IGNORED, Batch, Example, batches, windows
from tuning.model import base_model
from tuning.recipe.recipe import Recipe
from tuning.training import loop

Passes = Callable[[Sequence[Example]], list[Batch]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default=str(POCKET))
    parser.add_argument("--width", type=int, default=0, help="of a random base")
    parser.add_argument("--steps", type=int, default=12, help="windows that are timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="pairs of a window")
    parser.add_argument("--median", type=int, default=90, help="tokens of a typical pair")
    parser.add_argument("--longest", type=int, default=512)
    options = parser.parse_args()
    recipe = Recipe(rank=16, batch_size=options.batch)
    some = _examples(options)
    with tempfile.TemporaryDirectory() as folder:
        path = _random_base(folder, options.width) if options.width else options.base
        base = base_model.load_base(path, recipe)
    tuned = base_model.new_adapter(base, recipe)
    tuned.train()
    proof = packing.check_isolation(base, tuned, some)

    shuffled = list(some)
    random.Random(1).shuffle(shuffled)
    size = options.batch
    at_random = [shuffled[i : i + size] for i in range(0, len(shuffled), size)]
    similar = windows(some, size, 1)
    ways: dict[str, tuple[list[list[Example]], Passes]] = {
        "padded, windows at random": (at_random, lambda w: batches(w, 4096, base.pad_id)),
        "padded, similar lengths": (similar, lambda w: batches(w, 4096, base.pad_id)),
        "packed, similar lengths": (similar, lambda w: packing.pack(w, 4096, base.pad_id)),
        "packed, windows at random": (at_random, lambda w: packing.pack(w, 4096, base.pad_id)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, (some_windows, cut) in ways.items():
            began = time.process_time()
            for window in some_windows:
                for one in cut(window):
                    loop.summed_loss(base, tuned, one).backward()
            seconds[name].append(time.process_time() - began)
            tuned.zero_grad()
    real = sum(len(e.ids) for e in some)
    padded = {n: sum(b.ids.numel() for w in ws for b in cut(w)) for n, (ws, cut) in ways.items()}
    best = {name: min(found) for name, found in seconds.items()}
    first = next(iter(ways))
    report.table(
        ("way", "tokens with padding, per token", "tokens/s", "times the first"),
        [(n, padded[n] / real, real / best[n], best[first] / best[n]) for n in ways],
    )
    report.finish(
        benchmark="packing",
        width=options.width or "pocket",
        pairs=len(some),
        tokens=real,
        mean_length=round(real / len(some)),
        leak=proof.leak,
        error=round(proof.error, 5),
        speed_up={name: round(best[first] / best[name], 2) for name in ways},
        padding={name: round(padded[name] / real, 3) for name in ways},
    )


def _random_base(folder: str, width: int) -> str:
    tokenizer = base_model.load_tokenizer(str(POCKET))
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=width, num_hidden_layers=4,
        num_attention_heads=width // 64, intermediate_size=width * 8 // 3,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _examples(options: argparse.Namespace) -> list[Example]:
    """Lengths from a lognormal distribution, as in chats. Its spread is such that one in twenty
    pairs has more than four times the median."""
    rng = random.Random(0)
    made = []
    for number in range(options.steps * options.batch):
        length = int(rng.lognormvariate(0, 0.85) * options.median)
        length = max(16, min(options.longest, length))
        ids = tuple(rng.randrange(3, 1000) for _ in range(length - 1))
        half = length // 2
        made.append(Example(number, (*ids, 2), (*(IGNORED,) * half, *ids[half:], 2)))
    return made


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
