"""The mix of new and old pairs in an incremental run.

An incremental run continues its parent's weights. Trained only on the new pairs, it would forget
the old ones, so each epoch mixes the new pairs with a fresh sample of the old ones (experience
replay: Robins 1995, https://doi.org/10.1080/09540099550039318).
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


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
