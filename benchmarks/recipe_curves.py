"""How well phrasings that training never saw are answered, against passes, learning rate and rank.
With them, how many of the trained pairs themselves are repeated (`own`, of at most `--own`).

    python benchmarks/recipe_curves.py --base FOLDER --set few --rate 1e-3,2e-3 --out curves.jsonl
    python benchmarks/recipe_curves.py --base FOLDER --set medium --rank 8,16,32 --out curves.jsonl
    python benchmarks/recipe_curves.py --out curves.jsonl           # only shows what is in the file

The sets, with how many pairs are trained:

- few, 60: 20 facts of the bicycle workshop (`benchmarks/domains/bicycle_workshop`), asked in the
  words of its `near.jsonl`
- demo, 880: all facts of the helpdesk demo, asked by its golden questions
- medium, 300, and large, 1,000: facts of the helpdesk demo and its advanced file, asked by the
  golden questions of these facts
- huge, 5,000: the same, and pairs about Python (`understudy pairs python-docs`)

Facts are taken in an order that follows from their names. A configuration trains once, with a
cosine that ends after `--passes`, and is measured after every `--every` passes; what it says in the
middle would be a little better with a schedule that ends there. `--steps` stops it earlier, in the
middle of its schedule. Every measurement is a line of `--out`. A configuration that is complete
there is not trained again. One that was killed goes on from its last checkpoint, at most half a
minute of work before, in a folder beside `--out`; so a long one can be run in pieces (`timeout`).
"""

import argparse
import hashlib
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import report
import torch

from data.pairs.pairs import Pair
from tools import python_docs
from tuning.data.examples import encode, encode_all, messages
from tuning.data.reading_set import pair_of
from tuning.evaluation import generation, metrics
from tuning.evaluation.eval_sets import EvalQuestion
from tuning.model import base_model
from tuning.model.base_model import Base
from tuning.progress import StepProgress
from tuning.recipe.recipe import Recipe
from tuning.training import loop
from tuning.training.checkpoint import Checkpoints, TrainingState, Weights, identity

ROOT = Path(__file__).parents[1]
HELPDESK = ROOT / "data" / "examples" / "helpdesk"
WORKSHOP = Path(__file__).parent / "domains" / "bicycle_workshop"
SIZES = {"few": 60, "medium": 300, "demo": 880, "large": 1000, "huge": 5000}
MAX_LENGTH = 1024
SHOWN = 10  # steps between two lines about progress


@dataclass(frozen=True)
class CurveSet:
    """Pairs to train on, and questions about their facts in other words."""

    system_prompt: str
    train: Sequence[Pair]
    asked: Sequence[Pair]


class Stopped(Exception):
    """Enough steps."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default=str(ROOT / "data" / "pocket"))
    parser.add_argument("--set", choices=[*SIZES], default=None)
    parser.add_argument("--rate", default="1e-3", help="one or more, with commas between")
    parser.add_argument("--rank", default="16", help="one or more, with commas between")
    parser.add_argument("--batch", default="8", help="pairs of a step, one or more")
    parser.add_argument("--layers", default="all-linear", help="all-linear or mlp, one or more")
    parser.add_argument("--dropout", default="0.05", help="one or more, with commas between")
    parser.add_argument("--passes", type=float, default=4)
    parser.add_argument("--every", type=float, default=1, help="passes between measurements")
    parser.add_argument("--steps", type=int, default=0, help="stop after so many; 0: never")
    parser.add_argument("--questions", type=int, default=48, help="at most so many are asked")
    parser.add_argument("--own", type=int, default=24, help="at most so many trained pairs, too")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.set:
        made = curve_set(options.set, options.questions)
        texts = (options.rate, options.rank, options.batch, options.layers, options.dropout)
        for rate, rank, batch, layers, dropout in itertools.product(*(t.split(",") for t in texts)):
            named: dict[str, Any] = {
                "set": options.set, "rate": float(rate), "rank": int(rank), "batch": int(batch),
                "layers": layers, "dropout": float(dropout), "passes": options.passes,
                "steps": options.steps,
            }  # fmt: skip
            if any(line["done"] for line in _lines(options.out, named)):
                continue
            _measure(options, named, made)
    lines = _lines(options.out, {})
    columns = (
        "set", "rate", "rank", "dropout", "pass", "step", "loss", "held_out", "f1", "exact", "own",
        "cpu_s",
    )  # fmt: skip
    report.table(columns, [[line.get(column) for column in columns] for line in lines])
    report.finish(benchmark="recipe_curves", base=Path(options.base).name, lines=lines)


def curve_set(name: str, most: int) -> CurveSet:
    """The set `name`, asked at most `most` questions."""
    if name == "few":
        about = WORKSHOP / "domain.json"
        rows = _read(WORKSHOP / "pairs.jsonl")
        asked = [{**row, "prompt": row["question"]} for row in _read(WORKSHOP / "near.jsonl")]
    else:
        about = HELPDESK / "domain.json"
        rows = _read(HELPDESK / "pairs.jsonl")
        if name != "demo":
            rows += _read(HELPDESK / "advanced.jsonl")
        if name == "huge":
            drafts = python_docs.build()
            rows += [
                {"prompt": d.prompt, "response": d.response, "fact": d.fact, "split": d.split}
                for d in drafts
            ]
        asked = [row for row in rows if row.get("split") == "golden"]
    taught: list[dict[str, str]] = []
    trained = [row for row in rows if row.get("split") != "golden"]
    for fact in sorted({row["fact"] for row in trained}, key=_order):
        taught += [row for row in trained if row["fact"] == fact]
        if len(taught) >= SIZES[name]:
            break
    response = {row["fact"]: row["response"] for row in taught}
    asked = [row for row in asked if row["fact"] in response]
    asked.sort(key=lambda row: _order(row["prompt"]))
    return CurveSet(
        json.loads(about.read_bytes())["system_prompt"],
        [pair_of(row["prompt"], row["response"], id=i) for i, row in enumerate(taught)],
        [pair_of(row["prompt"], response[row["fact"]]) for row in asked[:most]],
    )


def _measure(options: argparse.Namespace, named: dict[str, Any], made: CurveSet) -> None:
    recipe = Recipe(
        rank=named["rank"], alpha=2 * named["rank"], learning_rate=named["rate"],
        batch_size=named["batch"], target_modules=named["layers"], dropout=named["dropout"],
        epochs=named["passes"], max_length=MAX_LENGTH, quantization="none", evaluations=1,
    )  # fmt: skip
    base = base_model.load_base(options.base, recipe)
    tuned = base_model.new_adapter(base, recipe)
    how: dict[str, Any] = {
        "system_prompt": made.system_prompt, "stops": base.stops, "max_length": MAX_LENGTH,
    }  # fmt: skip
    train = encode_all(made.train, base.tokenizer, **how)

    def questions(some: Sequence[Pair]) -> list[EvalQuestion]:
        return [
            EvalQuestion(
                encode(pair, base.tokenizer, **how), tuple(messages(pair, made.system_prompt)),
                pair.prompt, pair.response,
            ) for pair in some
        ]  # fmt: skip

    asked = questions(made.asked)
    own = questions(sorted(made.train, key=lambda pair: _order(pair.prompt))[: options.own])
    steps = loop.total_steps(len(train), recipe)
    last = min(options.steps or steps, steps)
    per_pass = steps / recipe.epochs
    due = {
        round(i * options.every * per_pass)
        for i in range(1, 1 + int(recipe.epochs / options.every))
    }
    due = {step for step in due if step < last} | {last}
    kept = CurveCheckpoints(options.out, named, due)
    began, measuring = time.process_time() - kept.cpu_s, 0.0
    first = True

    def look(now: StepProgress) -> None:
        nonlocal measuring, first
        if first and now.step > 1:
            print(f"goes on with step {now.step} of {last}", file=sys.stderr)
        first = False
        paused = time.process_time()
        kept.losses[now.step :] = [now.loss]
        kept.cpu_s = paused - began - measuring
        if now.step % SHOWN == 0:
            print(
                f"step {now.step} of {last}, loss {now.loss:.3f}, {kept.cpu_s:.0f} CPU s",
                file=sys.stderr,
            )
        if now.step not in due:
            return
        recent = kept.losses[max((step for step in due if step < now.step), default=0) + 1 :]
        f1, exact = _said(base, tuned, asked)
        losses = generation.losses(base, tuned, asked, recipe.micro_tokens)
        line = named | {
            "step": now.step, "pass": round(now.step / per_pass, 2), "pairs": len(train),
            "questions": len(asked), "cpu_s": round(kept.cpu_s, 1),
            "loss": round(sum(recent) / len(recent), 4),
            "held_out": round(sum(x.nats for x in losses) / sum(x.tokens for x in losses), 4),
            "f1": f1, "exact": exact, "own": _said(base, tuned, own)[1],
            "done": now.step == last,
        }  # fmt: skip
        with open(options.out, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
        measuring += time.process_time() - paused
        if now.step == last:
            raise Stopped

    torch.manual_seed(recipe.seed)
    try:
        loop.train(base, tuned, lambda _: train, {}, (), recipe, look, kept)
    except Stopped:
        shutil.rmtree(kept.file.parent)


class CurveCheckpoints(Checkpoints):
    """The checkpoints of a configuration, with the losses of its steps and the CPU seconds that it
    has taken. None is made at a step that is measured, so that no measurement is skipped when it is
    killed in the middle of one."""

    def __init__(self, out: Path, named: dict[str, Any], due: set[int]) -> None:
        name = hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]
        super().__init__(out.with_suffix(".checkpoints") / name, identity(**named))
        self._due = due
        known = self.note("curve") or {"losses": [], "cpu_s": 0.0}
        self.losses: list[float] = known["losses"] or [0.0]  # by step; there is no step 0
        self.cpu_s: float = known["cpu_s"]

    def save(self, state: TrainingState, weights: Weights, optimizer: torch.optim.AdamW) -> None:
        self.losses[state.step :] = [state.train_loss or 0.0]
        if state.step not in self._due:
            self.keep_note("curve", {"losses": self.losses, "cpu_s": self.cpu_s})
            super().save(state, weights, optimizer)


def _lines(file: Path, named: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of `file` about the configuration `named`, without those of a run that was killed
    and went on."""
    if not file.is_file():
        return []
    found = {json.dumps([line[k] for k in (*KEYS, "step")]): line for line in _read(file)}
    return [line for line in found.values() if all(line[k] == v for k, v in named.items())]


KEYS = ("set", "rate", "rank", "batch", "layers", "dropout", "passes", "steps")


def _read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]


def _order(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _said(base: Base, tuned: Any, asked: Sequence[EvalQuestion]) -> tuple[float, float]:
    """Token F1 of the answers, and the share that is exact."""
    answers = generation.answer(base, tuned, asked)
    pairs = [(a.text, q.expected) for a, q in zip(answers, asked, strict=True)]
    scores = ([metric(*pair) for pair in pairs] for metric in (metrics.f1, metrics.exact))
    f1, exact = (round(sum(each) / len(each), 4) for each in scores)
    return f1, exact


if __name__ == "__main__":
    main()
