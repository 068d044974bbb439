"""What `--lr auto` is worth: its final loss compared with that of fixed rates, over several seeds.

    python benchmarks/rate_finder.py --seeds 3

Trains on facts of the demo domain with the pocket model; one phrasing of each fact is held out and
evaluated at the end. The finder starts from the default for base models of this size, and from the
default for large ones, which is far too low here: that should not matter. `cost` is the ramp's
share of the run's CPU seconds. The last line is JSON.
"""

import argparse
import os
import random
import statistics
import time
from collections import defaultdict

os.environ.setdefault("OMP_NUM_THREADS", "1")

import report
import torch
from learning_curve import DEMO, _drafts

from data.config.settings import POCKET
from data.pairs.pairs import Pair
from tuning.data.examples import Example, encode_all
from tuning.model import base_model
from tuning.model.chat_template import stop_ids
from tuning.recipe.recipe import Recipe
from tuning.training import loop, rate_finder

TINY, USUAL = 5e-3, 2e-4  # defaults for bases of a few million parameters, and for real ones


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--facts", type=int, default=40)
    parser.add_argument("--epochs", type=float, default=12)
    options = parser.parse_args()
    lines = []
    for seed in range(options.seeds):
        taught, held_out = _parts(options.facts, seed)
        for default in (TINY, USUAL):
            recipe = Recipe(
                rank=32, alpha=32, batch_size=16, epochs=options.epochs, evaluations=1,
                learning_rate=default, seed=seed,
            )  # fmt: skip
            for find in (False, True):
                lines.append((seed, default, *_trained(recipe, taught, held_out, find)))
                print(*lines[-1], flush=True)
    columns = ("seed", "default", "rate used", "held-out loss", "cost")
    report.table(columns, lines)
    means = {
        f"{'auto' if found else 'fixed'} from {default:g}": round(
            statistics.fmean(
                line[3] for line in lines if line[1] == default and (line[2] != default) == found
            ),
            4,
        )
        for default in (TINY, USUAL)
        for found in (False, True)
    }
    report.finish(
        benchmark="rate_finder",
        seeds=options.seeds,
        mean_held_out_loss=means,
        most_cost=round(max(line[4] for line in lines), 3),
    )


def _trained(
    recipe: Recipe, taught: list[Example], held_out: list[Example], find: bool
) -> tuple[float, float, float]:
    """The rate that was used, the loss at the end, and the ramp's share of the time."""
    base = base_model.load_base(str(POCKET), recipe)
    tuned = base_model.new_adapter(base, recipe)
    began = time.process_time()
    if find:
        rate = rate_finder.find(base, tuned, lambda _: taught, recipe).rate
        recipe = recipe.model_copy(update={"learning_rate": rate})
    ramp = time.process_time() - began
    loop.train(base, tuned, lambda _: taught, {}, (), recipe)
    whole = time.process_time() - began
    loss = loop.mean_loss(base, tuned, held_out, recipe)
    return recipe.learning_rate, loss, ramp / whole


def _parts(count: int, seed: int) -> tuple[list[Example], list[Example]]:
    """The training pairs, and one held-out phrasing of each fact."""
    phrasings = defaultdict(list)
    for draft in _drafts(DEMO / "pairs.jsonl"):
        if draft.split != "golden":
            phrasings[draft.fact].append(draft)
    facts = sorted(fact for fact, some in phrasings.items() if len(some) > 1)
    random.Random(seed).shuffle(facts)
    tokenizer = base_model.load_tokenizer(str(POCKET))

    def encoded(part: slice) -> list[Example]:
        drafts = [draft for fact in facts[:count] for draft in phrasings[fact][part]]
        pairs = [
            Pair(
                id=i, domain_id=1, prompt=d.prompt, response=d.response, system="", turns=(),
                fact=d.fact, split="train", source="", source_ref="", author="",
                status="approved", fingerprint="", created_at=0,
            )
            for i, d in enumerate(drafts)
        ]  # fmt: skip
        stops = stop_ids(tokenizer)
        return encode_all(pairs, tokenizer, system_prompt="Be brief.", stops=stops, max_length=512)

    return encoded(slice(1, None)), encoded(slice(0, 1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
