"""What a run repeats, what it replays, and which answers are out of date.

An incremental run goes on from its parent's weights. Trained on the new pairs alone it would
forget the old ones, so each pass mixes them with a fresh sample of what the parent knew
(experience replay: Robins 1995, https://doi.org/10.1080/09540099550039318).

A question that has a newer answer is not trained with its old one: the newest pair of a question
counts. A correction answers one phrasing; the others of the same fact would go on teaching the
old answer, so they are trained with the corrected one. That holds for facts that were named: pairs
without one are grouped by their answer, and those that share a "Yes." are not one fact.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from data.pairs.pairs import Pair, fact_of
from data.pairs.question import question_key_with_system
from tuning.data.examples import Example


@dataclass(frozen=True)
class Current:
    """The pairs of a part as they should be answered today."""

    pairs: list[Pair]
    superseded: list[Pair]  # left out: the same question has a newer answer
    reworded: list[int]  # ids of pairs that were given the newer answer of their fact


def current(pairs: Sequence[Pair]) -> Current:
    """Keep the newest answer of each question, and give it to the other phrasings of the fact
    that it replaces. `pairs` may come from several parts; ids order them by age."""
    newest: dict[str, Pair] = {}
    superseded: list[Pair] = []
    for pair in sorted(pairs, key=lambda p: p.id):
        key = question_key_with_system(pair)
        older = newest.get(key)
        if older is not None:
            superseded.append(older)
        newest[key] = pair
    replaced: dict[str, Pair] = {}  # fact -> the newest pair that corrects it
    for old in superseded:
        new = newest[question_key_with_system(old)]
        named = old.fact != fact_of(old.response)
        if named and new.fact != old.fact and new.id > replaced.get(old.fact, old).id:
            replaced[old.fact] = new
    kept, reworded = [], []
    for pair in sorted(newest.values(), key=lambda p: p.id):
        new_answer = replaced.get(pair.fact)
        if new_answer is not None and pair.id < new_answer.id:
            kept.append(replace(pair, response=new_answer.response))
            reworded.append(pair.id)
        else:
            kept.append(pair)
    return Current(kept, superseded, reworded)


def mixed(
    new: Sequence[Example],
    old: Sequence[Example],
    replay_share: float,
    seed: int,
    batch_size: int = 1,
) -> Callable[[int], list[Example]]:
    """Epochs for an incremental run: every new example, and as many old ones, drawn anew for each
    epoch, as make up `replay_share` of it. A few new ones are repeated to fill a batch: beside a
    handful of old ones in each step, much of what was known would be lost."""
    copies = max(1, math.ceil(batch_size * (1 - replay_share) / len(new))) if old else 1
    repeated = list(new) * copies
    replayed = round(len(repeated) * replay_share / (1 - replay_share))

    def epoch(number: int) -> list[Example]:
        rng = random.Random(f"replay {seed} {number}")  # noqa: S311 - a sample, not a secret
        return [*repeated, *rng.sample(list(old), min(replayed, len(old)))]

    return epoch
