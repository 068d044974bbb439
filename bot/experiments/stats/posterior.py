"""The posterior probability that a candidate is better; for information only.

A Beta-Binomial model over people with uniform priors, shown because people expect it. Somebody who
checks it repeatedly and stops at "95%" is wrong far more often than one time in twenty
(`benchmarks/comparison.py` counts how often).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bot.experiments.stats.confidence_sequence import SequenceSide

NODES = 256  # quadrature points; the error is far below the precision shown


@dataclass(frozen=True)
class Likes:
    """The number of raters and the sum of their mean ratings. A mean rating counts as a fraction of
    one success, which is exact for people who rated once and conservative otherwise."""

    people: float
    total: float


def standardised(sides: Sequence[SequenceSide]) -> list[Likes] | None:
    """The likes of each variant, standardised over stages: the stages have the same weights for all
    variants, as in the interval; otherwise a ramp with drifting ratings would make the wrong
    variant look better. A single stage is unchanged. None: no stage has raters on every variant."""
    import numpy as np

    w, wy, ww = (
        np.stack([np.asarray(getattr(s, name), float) for s in sides]) for name in ("w", "wy", "ww")
    )  # (sides, stages)
    rated = (w > 0).all(0)
    if not rated.any():
        return None
    w, wy, ww = w[:, rated], wy[:, rated], ww[:, rated]
    weights = 1 / (1 / w).sum(0)
    weights = weights / weights.sum()
    means, people = (weights * wy / w).sum(1), 1 / (weights**2 * ww / w**2).sum(1)
    return [
        Likes(float(n), float(n * min(max(m, 0.0), 1.0)))
        for m, n in zip(means, people, strict=True)
    ]


def probability_better(a: Likes, b: Likes) -> float:
    """P(B > A)."""
    return probabilities_best([a, b])[1]


def probabilities_best(sides: Sequence[Likes]) -> list[float]:
    """For each variant, the posterior probability that it is the best.

    With F the posterior distributions, P(i is best) is the integral over u in 0..1 of the product
    over the others j of F_j(F_i^-1(u)), here by Gauss-Legendre quadrature."""
    import numpy as np
    from scipy import special  # half a second to import; only results need it

    u, weights = _quadrature()
    shapes = [(1 + s.total, 1 + s.people - s.total) for s in sides]
    found = []
    for i, (up, down) in enumerate(shapes):
        quantiles = special.betaincinv(up, down, u)
        below = [special.betainc(*shape, quantiles) for j, shape in enumerate(shapes) if j != i]
        found.append(float(np.dot(weights, np.prod(below, axis=0))))
    return found


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Any, Any]:
    """Quadrature nodes in 0..1 and their weights."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2
