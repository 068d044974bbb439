"""Simulated comparisons, with a look after every vote; `benchmarks/comparison.py` prints them.

People arrive one after the other and vote now and then. Each has a propensity of their own to press
thumbs up, drawn from a Beta distribution around their variant's mean: votes of one person are
correlated. Many comparisons are worked out at once, as arrays (comparisons, looks, stages), through
the functions that the product decides with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bot.experiments.stats import confidence_sequence
from bot.experiments.stats.confidence_sequence import SequenceSide
from bot.experiments.stats.differences import plan
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import CORRELATION
from data.experiments.metrics import FAILED, RATING

Floats = NDArray[np.float64]
TOGETHER = 400_000  # looks that are worked out at once: memory, and the processor's cache
COLLECTING, BETTER, WORSE, NO_DIFFERENCE = 0, 1, 2, 3


@dataclass(frozen=True)
class World:
    a: float = 0.7  # mean ratings
    b: float = 0.7
    people: int = 4_000
    votes: int = 1  # of each person
    correlation: float = 0.4  # between the votes of one person
    gap: float = 100.0  # people who arrive between two votes of one person, on average
    stages: tuple[tuple[int, float], ...] = ((0, 0.5),)  # from which person on, b's share
    drift: float = 0.0  # what both means gain from the first person to the last
    b_votes: float = 1.0  # the chance that someone on b rates at all

    @property
    def looks(self) -> int:
        return self.people * self.votes


@dataclass(frozen=True)
class Looks:
    """Of many comparisons: what each look sees, (comparisons, looks, stages), and of rows, that is
    votes, (comparisons, looks)."""

    a: SequenceSide
    b: SequenceSide
    rows: tuple[Floats, Floats, Floats, Floats]  # votes and ups of a, votes and ups of b


@dataclass(frozen=True)
class Outcomes:
    """The first decision of each comparison."""

    state: NDArray[np.int64]
    people: NDArray[np.int64]  # rated by then, both sides; all, where nothing was decided

    def share(self, state: int) -> float:
        return float((self.state == state).mean())

    @property
    def median(self) -> float:
        return float(np.median(self.people))


def simulated(world: World, comparisons: int, seed: int) -> Iterator[Looks]:
    """As many comparisons, a few at a time."""
    draw = np.random.default_rng(seed)
    together = max(1, TOGETHER // world.looks)
    for begin in range(0, comparisons, together):
        yield _simulate(world, min(together, comparisons - begin), draw)


def outcomes(
    world: World, comparisons: int, seed: int, terms: ExperimentDesign | None = None
) -> Outcomes:
    """What the interval decides first, looking after every vote."""
    agreed = terms or ExperimentDesign()
    found = simulated(world, comparisons, seed)
    return _joined([first(states(looks, agreed), rated(looks)) for looks in found])


def _joined(parts: Sequence[Outcomes]) -> Outcomes:
    return Outcomes(
        np.concatenate([p.state for p in parts]), np.concatenate([p.people for p in parts])
    )


def states(looks: Looks, terms: ExperimentDesign) -> NDArray[np.int64]:
    """As `bot.experiments.stats.verdicts.verdict` judges ratings, for every look at once."""
    planned = plan(RATING, 2, terms)
    found = confidence_sequence.difference(
        looks.a, looks.b, planned.alpha, planned.tuned_for, of_votes=1.0
    )
    fewer = np.minimum(looks.a.people.sum(-1), looks.b.people.sum(-1))
    enough = (fewer >= terms.least_people) & (found.time >= 2 * terms.least_people)
    within = (found.low >= -terms.minimum_effect) & (found.high <= terms.minimum_effect)
    conditions = [~enough, within, found.low > 0, found.high < 0]
    return np.select(conditions, [COLLECTING, NO_DIFFERENCE, BETTER, WORSE], COLLECTING)


def rated(looks: Looks) -> NDArray[np.int64]:
    """People who have rated by then, on both sides."""
    return np.asarray(looks.a.people.sum(-1) + looks.b.people.sum(-1), np.int64)


def first(state: NDArray[np.int64], people: NDArray[np.int64]) -> Outcomes:
    """The state that every comparison has when it is first decided, and who rated until then."""
    decided = state != COLLECTING
    at = np.where(decided.any(1), decided.argmax(1), state.shape[1] - 1)
    each = np.arange(len(state))
    return Outcomes(state[each, at], people[each, at])


def guarded(world: World, comparisons: int, seed: int) -> Outcomes:
    """As `outcomes`, when the votes are failures: `WORSE` where the guardrail is broken."""
    terms, parts = ExperimentDesign(), []
    planned = plan(FAILED, 2, terms)
    for looks in simulated(world, comparisons, seed):
        found = confidence_sequence.difference(
            looks.a, looks.b, planned.alpha, planned.tuned_for, of_votes=1.0
        )
        fewer = np.minimum(looks.a.people.sum(-1), looks.b.people.sum(-1))
        enough = (fewer >= terms.least_people) & (found.time >= 2 * terms.least_people)
        broken = enough & (found.low > terms.guardrails["failed"])
        parts.append(first(np.where(broken, WORSE, COLLECTING), rated(looks)))
    return _joined(parts)


def z_test_on_rows(looks: Looks) -> NDArray[np.int64]:
    """What is widely done: every vote a unit, and a look whenever somebody likes at z = 1.96."""
    n_a, up_a, n_b, up_b = looks.rows
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (up_a + up_b) / (n_a + n_b)
        z = (up_b / n_b - up_a / n_a) / np.sqrt(pooled * (1 - pooled) * (1 / n_a + 1 / n_b))
    return _judged(looks, z > 1.96, z < -1.96)


def chance_to_win_on_rows(looks: Looks, chance_z: float = 1.645) -> NDArray[np.int64]:
    """What else is widely done: stop at a posterior chance of 95% that one side is better (of two
    Beta distributions, by their means and variances)."""
    n_a, up_a, n_b, up_b = looks.rows
    mean_a, mean_b = (up_a + 1) / (n_a + 2), (up_b + 1) / (n_b + 2)
    spread = mean_a * (1 - mean_a) / (n_a + 3) + mean_b * (1 - mean_b) / (n_b + 3)
    z = (mean_b - mean_a) / np.sqrt(spread)
    return _judged(looks, z > chance_z, z < -chance_z)


def sequence_on_rows(looks: Looks, terms: ExperimentDesign) -> NDArray[np.int64]:
    """The same confidence sequence, with votes as units in place of people."""
    n_a, up_a, n_b, up_b = (r[..., None] for r in looks.rows)
    sides = [SequenceSide(n, n, up, n, up, up) for n, up in ((n_a, up_a), (n_b, up_b))]
    rows = replace(looks, a=sides[0], b=sides[1])
    return states(rows, terms)


def _judged(looks: Looks, better: NDArray[np.bool_], worse: NDArray[np.bool_]) -> NDArray[np.int64]:
    enough = (
        np.minimum(looks.a.people.sum(-1), looks.b.people.sum(-1))
        >= ExperimentDesign().least_people
    )
    return np.select([~enough, better, worse], [COLLECTING, BETTER, WORSE], COLLECTING)


def _simulate(world: World, comparisons: int, draw: np.random.Generator) -> Looks:
    size = (comparisons, world.people)
    numbers = np.arange(world.people)
    begins, shares = zip(*world.stages, strict=True)
    stage = np.searchsorted(begins, numbers, side="right") - 1
    on_b = draw.random(size) < np.array(shares)[stage]
    mean = np.where(on_b, world.b, world.a) + world.drift * numbers / world.people
    votes = draw.random((*size, world.votes)) < propensity(mean, world.correlation, draw)[..., None]
    silent = on_b & (draw.random(size) >= world.b_votes)
    order = _order(world, comparisons, draw)
    changes = _changes(votes, silent)
    arm = np.repeat(on_b, world.votes, 1)
    arm = np.take_along_axis(arm, order, 1)
    of_stage = np.take_along_axis(
        np.tile(np.repeat(stage, world.votes), (comparisons, 1)), order, 1
    )
    *sums, cast, ups = (np.take_along_axis(c, order, 1) for c in changes)

    def summed(change: Floats, side: bool) -> Floats:
        here = change * (arm == side)
        return np.stack([np.cumsum(here * (of_stage == s), 1) for s in range(len(shares))], -1)

    a, b = (SequenceSide(*(summed(c, side) for c in sums)) for side in (False, True))
    rows = tuple(summed(c, side).sum(-1) for side in (False, True) for c in (cast, ups))
    return Looks(a, b, rows)  # type: ignore[arg-type]


def propensity(mean: Floats, correlation: float, draw: np.random.Generator) -> Floats:
    """Of each person: a Beta distribution, whose votes have that correlation."""
    if correlation == 0:
        return mean
    size = (1 - correlation) / correlation
    return draw.beta(mean * size, (1 - mean) * size)


def _order(world: World, comparisons: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Of all votes, in time."""
    gaps = draw.exponential(world.gap, (comparisons, world.people, world.votes))
    gaps[..., 0] = 0
    times = np.arange(world.people)[:, None] + gaps.cumsum(-1)
    return np.argsort(times.reshape(comparisons, world.looks), axis=1, kind="stable")


def _changes(votes: NDArray[np.bool_], silent: NDArray[np.bool_]) -> Sequence[Floats]:
    """What each vote changes: the six sums over people, and of rows, votes and ups."""
    n = np.arange(1, votes.shape[-1] + 1)
    y = votes.cumsum(-1) / n
    w = np.broadcast_to(n / (1 + CORRELATION * (n - 1)), votes.shape)
    first_vote = np.broadcast_to(n == 1, votes.shape).astype(float)
    sums = [np.diff(s, prepend=0, axis=-1) for s in (w, w * y, w * w, w * w * y, (w * y) ** 2)]
    changes = [first_vote, *sums, np.ones(votes.shape), votes.astype(float)]
    return [np.where(silent[..., None], 0, c).reshape(len(votes), -1) for c in changes]
