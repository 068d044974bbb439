"""Simulated comparisons whose stages depend on what came before, and several candidates at once.

As `simulation.py`, but stage by stage: the shares of the next one are worked out by the product's
own rule from the votes so far. One vote a person; the mean of all drifts over time, which makes a
rule that adds stages up take the drift for a difference.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.experiments.stats import adaptive
from bot.experiments.stats.confidence_sequence import SequenceSide
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import (
    Cell,
    ExperimentSums,
    StageSums,
    VariantSums,
    equal_weight_sums,
)
from tests.bot.experiments.stats.simulation import (
    COLLECTING,
    Floats,
    Looks,
    Outcomes,
    first,
    rated,
    states,
)


@dataclass(frozen=True)
class Adaptive:
    a: float = 0.7
    b: float = 0.7
    stages: int = 20
    drift: float = 0.0  # what both means gain from the first stage to the last
    floor: float = adaptive.FLOOR


@dataclass(frozen=True)
class Adapted:
    outcomes: Outcomes
    pooled: Outcomes  # of the same interval, were the stages added up
    on_b: float  # the share of all people


def thompson(
    world: Adaptive, comparisons: int, seed: int, terms: ExperimentDesign | None = None
) -> Adapted:
    """Stages of `adaptive.STAGE_PEOPLE`, a look after every vote."""
    draw = np.random.default_rng(seed)
    terms, size = terms or ExperimentDesign(), (comparisons, adaptive.STAGE_PEOPLE)
    people, ups = np.zeros((2, comparisons, 0)), np.zeros((2, comparisons, 0))
    found, pooled, counted = [], [], []
    shares = np.full(comparisons, 0.5)
    for number in range(world.stages):
        on_b = draw.random(size) < shares[:, None]
        mean = np.where(on_b, world.b, world.a) + world.drift * number / world.stages
        up = draw.random(size) < mean
        now = [np.cumsum(on_b == bool(i), 1) for i in (0, 1)]
        now_ups = [np.cumsum(up & (on_b == bool(i)), 1) for i in (0, 1)]
        looks = _looks(
            [_with(people[i], now[i]) for i in (0, 1)], [_with(ups[i], now_ups[i]) for i in (0, 1)]
        )
        found.append(states(looks, terms))
        counted.append(rated(looks))
        pooled.append(states(_added_up(looks), terms))
        people = np.append(people, np.stack([n[:, -1:] for n in now]), 2)
        ups = np.append(ups, np.stack([u[:, -1:] for u in now_ups]), 2)
        shares = np.array([_next(people[:, i], ups[:, i], world.floor) for i in range(comparisons)])
    at = np.concatenate(counted, 1)
    return Adapted(
        first(np.concatenate(found, 1), at),
        first(np.concatenate(pooled, 1), at),
        float(people[1].sum() / people.sum()),
    )


def several(candidates: int, comparisons: int, people: int, seed: int) -> float:
    """How often any of several equal candidates is ever called better or worse."""
    draw, terms = np.random.default_rng(seed), ExperimentDesign()
    each = ExperimentDesign(
        alpha=terms.alpha / candidates,
        expected_people=terms.expected_people * 2 // (candidates + 1),
    )
    arm = draw.integers(0, candidates + 1, (comparisons, people))
    up = draw.random((comparisons, people)) < 0.7
    sums = [(np.cumsum(arm == i, 1), np.cumsum(up & (arm == i), 1)) for i in range(candidates + 1)]
    wrong = np.zeros(comparisons, bool)
    for i in range(1, candidates + 1):
        looks = _looks(
            [sums[0][0][..., None], sums[i][0][..., None]],
            [sums[0][1][..., None], sums[i][1][..., None]],
        )
        wrong |= (states(looks, each) != COLLECTING).any(1)
    return float(wrong.mean())


def _next(people: Floats, ups: Floats, floor: float) -> float:
    """B's share, by the product's rule. `people` and `ups` are (sides, stages)."""
    stages = tuple(
        StageSums(
            (0.5, 0.5),
            tuple(
                Cell(sums={"rating": equal_weight_sums(int(n), u, u)})
                for n, u in zip(*of, strict=True)
            ),
        )
        for of in zip(people.T, ups.T, strict=True)
    )
    variants = (VariantSums("A", "helpdesk@1"), VariantSums("B", "helpdesk@2"))
    return adaptive.next_shares(ExperimentSums(variants, stages), floor)[1]


def _with(before: Floats, now: NDArray[np.int64]) -> Floats:
    """Earlier stages as they ended, and this one as it goes on: (comparisons, looks, stages)."""
    shape = (*now.shape, before.shape[-1])
    return np.concatenate([np.broadcast_to(before[:, None], shape), now[..., None]], -1)


def _looks(people: list[Floats], ups: list[Floats]) -> Looks:
    sides = [SequenceSide(n, n, u, n, u, u) for n, u in zip(people, ups, strict=True)]
    (n_a, n_b), (up_a, up_b) = ([x.sum(-1) for x in xs] for xs in (people, ups))
    return Looks(sides[0], sides[1], (n_a, up_a, n_b, up_b))


def _added_up(looks: Looks) -> Looks:
    n_a, up_a, n_b, up_b = (r[..., None] for r in looks.rows)
    return _looks([n_a, n_b], [up_a, up_b])
