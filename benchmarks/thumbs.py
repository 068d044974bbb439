"""What thumbs alone teach: KTO continued from an adapter, compared with the adapter before.

    python benchmarks/thumbs.py                     # about five minutes
    python benchmarks/thumbs.py --seeds 5 --set epochs=1

Tunes the demo domain on the pocket model. Then people ask phrasings that training never saw. Half
of them are rated: up if the answer is exactly right, down otherwise; nobody writes a better answer.
The benchmark measures the rated questions, the other half, and trained ones, which may be
forgotten; each seed splits the questions differently. The last line is JSON.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import report

from data import domains
from data.config.settings import Settings
from data.pairs import datasets, pairs
from data.pairs.pairs import Pair
from data.runs import runs
from data.store.db import Store
from tuning.data.examples import Example, encode
from tuning.data.run_inputs import RunInputs
from tuning.data.training_set import prepare_training_set
from tuning.evaluation import metrics
from tuning.model import base_model, greedy_answers
from tuning.model.base_model import Base
from tuning.recipe import recipe
from tuning.recipe.recipe import Recipe
from tuning.training import loop
from tuning.training.kto import Kto
from tuning.training.preference_set import TINY

DEMO = Path(__file__).parents[1] / "data" / "examples" / "helpdesk"
SYSTEM = json.loads((DEMO / "domain.json").read_text())["system_prompt"]
TRAINED = 64  # questions of the training set, to see what is forgotten
ROWS = 32  # answers generated at once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="recipe")
    options = parser.parse_args()
    asked_for = {k: recipe.parse(k, v) for k, v in (item.split("=", 1) for item in options.set)}
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        with Store(settings.store_path) as store:
            parts = tune(store, settings)
        found = [measure(settings, parts, seed, asked_for) for seed in range(options.seeds)]
    names = ("rated", "not rated", "trained")
    report.table(
        ("questions", "n", "exact before", "exact after", "f1 before", "f1 after"),
        [
            [name, found[0][name]["n"]]
            + [statistics.fmean(one[name][key] for one in found) for key in KEYS]
            for name in names
        ],
    )
    report.finish(benchmark="thumbs", seeds=options.seeds, recipe=TINY | asked_for, found=found)


KEYS = ("exact_before", "exact_after", "f1_before", "f1_after")


def tune(store: Store, settings: Settings) -> dict[str, list[Pair]]:
    """Make the adapter whose answers are rated; returns the pairs of each part."""
    lines = [json.loads(line) for line in (DEMO / "pairs.jsonl").read_text().splitlines()]
    known = ("prompt", "response", "fact", "split")
    drafts = [pairs.Draft(**{k: v for k, v in line.items() if k in known}) for line in lines]
    with store.write() as db:
        domain = domains.create(db, "thumbs", system_prompt=SYSTEM, validation_share=0.0)
        pairs.add(db, domain, drafts, source="benchmark", status="approved")
        run = runs.queue(db, domain, "benchmark", kind="full")
        dataset = datasets.freeze(db, domain)
    inputs = RunInputs(run, domain, dataset, None)
    tokenizer = base_model.load_tokenizer(settings.base.path)
    training_set = prepare_training_set(store.db, settings, inputs, tokenizer)
    base = base_model.load_base(settings.base.path, training_set.recipe)
    tuned = base_model.new_adapter(base, training_set.recipe)
    loop.train(
        base,
        tuned,
        training_set.epoch,
        training_set.measured,
        training_set.selected_by,
        training_set.recipe,
    )
    tuned.save_pretrained(settings.home / "adapter")
    return {
        part: datasets.pairs_of(store.db, dataset.id, part) for part in ("golden", "probe", "train")
    }


def measure(
    settings: Settings, parts: dict[str, list[Pair]], seed: int, asked_for: dict[str, Any]
) -> dict[str, Any]:
    """Rate half of the held-out questions and learn from these ratings alone."""
    given = recipe.Recipe.for_pairs(
        100, base_parameters=0, overrides=TINY | asked_for | {"seed": seed}
    )
    base = base_model.load_base(settings.base.path, given)
    tuned = base_model.continued_adapter(base, settings.home / "adapter")
    rng = random.Random(seed)
    held_out = [*parts["golden"], *parts["probe"]]
    rng.shuffle(held_out)
    middle = len(held_out) // 2
    groups = {
        "rated": held_out[:middle],
        "not rated": held_out[middle:],
        "trained": rng.sample(parts["train"], TRAINED),
    }
    before = {name: answers(base, tuned, some) for name, some in groups.items()}
    liked = {
        encoded(base, replace(pair, response=said)): metrics.exact(said, pair.response)
        for pair, said in zip(groups["rated"], before["rated"], strict=True)
        if said
    }
    learn(base, tuned, liked, given)
    after = {name: answers(base, tuned, some) for name, some in groups.items()}
    return {
        name: {
            "n": len(some),
            "exact_before": share(before[name], some, metrics.exact),
            "exact_after": share(after[name], some, metrics.exact),
            "f1_before": share(before[name], some, metrics.f1),
            "f1_after": share(after[name], some, metrics.f1),
        }
        for name, some in groups.items()
    } | {"liked": sum(liked.values()), "rated_answers": len(liked)}


def learn(base: Base, tuned: Any, liked: dict[Example, bool], given: Recipe) -> None:
    objective = Kto(liked, given.preference_beta, given.seed)
    objective.prepare(base, tuned, given)
    rows = list(liked)
    loop.train(base, tuned, lambda _: rows, {}, (), given, objective=objective.learn)


def answers(base: Base, tuned: Any, some: Sequence[Pair]) -> list[str]:
    """Greedy answers, in order."""
    tuned.eval()
    examples = [encoded(base, pair) for pair in some]
    order = sorted(range(len(some)), key=lambda i: examples[i].trained)
    said = [""] * len(some)
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        most = max(examples[i].trained for i in rows) + 16
        made = greedy_answers.generate(base, tuned, [examples[i].prompt for i in rows], most)
        for i, ids in zip(rows, made, strict=True):
            words = [token for token in ids if token not in base.stops]
            said[i] = base.tokenizer.decode(words, skip_special_tokens=True).strip()
    return said


def encoded(base: Base, pair: Pair) -> Example:
    return encode(pair, base.tokenizer, system_prompt=SYSTEM, stops=base.stops, max_length=1024)


def share(said: Sequence[str], some: Sequence[Pair], score: Any) -> float:
    return statistics.fmean(score(a, p.response) for a, p in zip(said, some, strict=True))


if __name__ == "__main__":
    main()
