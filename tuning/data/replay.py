"""Superseded answers, and the mix of new and old pairs in an incremental run.

An incremental run continues its parent's weights. Trained only on the new pairs, it would forget
the old ones, so each epoch mixes the new pairs with a fresh sample of the old ones (experience
replay: Robins 1995, https://doi.org/10.1080/09540099550039318).

If a question has several answers, only the newest pair is trained. A correction answers one
phrasing. The other phrasings of the fact would still teach the old answer, so they are trained with
the corrected one. This applies only to named facts: pairs without a name are grouped by their
answer, and pairs that share a "Yes." are not about one fact.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from data.pairs.pairs import Pair, fact_of
from data.pairs.question import question_key_with_system

T = TypeVar("T")


@dataclass(frozen=True)
class CurrentPairs:
    """Pairs with the answers that are valid now."""

    pairs: list[Pair]
    superseded: list[Pair]  # left out: the same question has a newer answer
    reworded: list[int]  # ids of pairs that were given the newer answer of their fact


def current_pairs(pairs: Sequence[Pair]) -> CurrentPairs:
    """Keep the newest answer of each question, and use it for the other phrasings of the fact that
    it corrects. `pairs` may come from several parts; ids order them by age."""
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
    return CurrentPairs(kept, superseded, reworded)


def mixed(
    new: Sequence[T],
    old: Sequence[T],
    replay_share: float,
    seed: int,
    batch_size: int = 1,
) -> Callable[[int], list[T]]:
    """Epochs of an incremental run: every new example, and a new sample of old ones for each epoch
    that makes up `replay_share` of it. If there are few new examples, they are repeated to fill a
    batch, so that each step also contains enough old ones."""
    copies = max(1, math.ceil(batch_size * (1 - replay_share) / len(new))) if old else 1
    repeated = list(new) * copies
    replayed = round(len(repeated) * replay_share / (1 - replay_share))

    def epoch(number: int) -> list[T]:
        rng = random.Random(f"replay {seed} {number}")  # noqa: S311 - a sample, not a secret
        return [*repeated, *rng.sample(list(old), min(replayed, len(old)))]

    return epoch
