"""Simulated settings in which ratings differ although the answers do not, or only at first.

- people who rate once, with a look after every few of them, up to many thousands
- unhappy people who rate more often on one variant, while most people do not rate at all
- a variant that fails on hard questions, so that only its answers to easy ones are rated
- a variant that people like better only while it is new to them

The arrays are (comparisons, looks). All verdicts come from the functions that the product uses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bot.experiments.stats import confidence_sequence
from bot.experiments.stats.confidence_sequence import Interval, SequenceSide
from bot.experiments.stats.differences import plan
from data.experiments.design import ExperimentDesign
from data.experiments.metric_sums import CORRELATION
from data.experiments.metrics import FAILED, LATER_RATING, RATING, THUMBS_DOWN, THUMBS_UP
from tests.bot.experiments.stats.simulation import (
    BETTER,
    COLLECTING,
    NO_DIFFERENCE,
    WORSE,
    Floats,
    Outcomes,
    first,
)

States = NDArray[np.int64]
Bools = NDArray[np.bool_]
TOGETHER = 500_000  # people that are simulated at once


@dataclass(frozen=True)
class Setting:
    a: float = 0.7  # the chance that a person likes their answer
    b: float = 0.7
    rate: float = 1.0  # the chance that a person rates
    unhappy: float = 1.0  # how many times as often unhappy people rate on b
    hard: float = 0.0  # the share of hard questions, all of which b fails on
    hard_liked: float = 0.2  # the chance that a person likes an answer to a hard question
    raters: int = 4_000  # on average; nobody fails to rate because of `unhappy`
    step: int = 2  # raters between two looks

    @property
    def people(self) -> int:
        return int(self.raters / self.rate)


@dataclass(frozen=True)
class Seen:
    """Of people who ask once: for each metric, the sums of both variants at every look."""

    rating: tuple[SequenceSide, SequenceSide]
    thumbs_up: tuple[SequenceSide, SequenceSide]
    thumbs_down: tuple[SequenceSide, SequenceSide]
    failed: tuple[SequenceSide, SequenceSide]

    @property
    def raters(self) -> NDArray[np.int64]:
        return np.asarray(sum(side.people[..., 0] for side in self.rating), np.int64)


def seen(setting: Setting, comparisons: int, seed: int) -> Iterator[Seen]:
    """As many comparisons, a few at a time: all of them together would not fit into memory."""
    draw = np.random.default_rng(seed)
    together = max(1, TOGETHER // setting.people)
    for begin in range(0, comparisons, together):
        yield _see(setting, min(together, comparisons - begin), draw)


def _see(setting: Setting, comparisons: int, draw: np.random.Generator) -> Seen:
    size = (comparisons, setting.people)
    on_b = draw.random(size) < 0.5
    hard = draw.random(size) < setting.hard
    easy = (np.where(on_b, setting.b, setting.a) - setting.hard * setting.hard_liked) / (
        1 - setting.hard
    )
    likes = draw.random(size) < np.where(hard, setting.hard_liked, easy)
    fails = hard & on_b
    often = np.where(on_b & ~likes, min(1.0, setting.rate * setting.unhappy), setting.rate)
    rates = (draw.random(size) < often) & ~fails
    every = max(1, round(setting.step / setting.rate))

    def sums(whom: Bools, value: Bools) -> tuple[SequenceSide, SequenceSide]:
        sides = []
        for side in (False, True):
            here = whom & (on_b == side)
            each = (here, here & value)
            n, y = (np.cumsum(x, 1, dtype=float)[:, every - 1 :: every, None] for x in each)
            sides.append(SequenceSide(n, n, y, n, y, y))
        return sides[0], sides[1]

    return Seen(
        rating=sums(rates, likes),
        thumbs_up=sums(~fails, rates & likes),
        thumbs_down=sums(~fails, rates & ~likes),
        failed=sums(np.ones(size, bool), fails),
    )


def outcomes(
    setting: Setting, comparisons: int, seed: int, terms: ExperimentDesign | None = None
) -> Outcomes:
    """What is decided first."""
    agreed = terms or ExperimentDesign()
    parts = [first(states(s, agreed), s.raters) for s in seen(setting, comparisons, seed)]
    return Outcomes(
        np.concatenate([p.state for p in parts]), np.concatenate([p.people for p in parts])
    )


def states(found: Seen, terms: ExperimentDesign) -> States:
    """As `bot.experiments.stats.verdicts.verdict` judges ratings and their checks, for every look
    at once. Guardrails are left out."""
    rating = _interval(RATING, found.rating, terms)
    state = decided(found.rating, rating, terms)
    if terms.version == 1:
        return state
    verdicts = (state == BETTER) | (state == WORSE)
    if verdicts.any():
        state[verdicts] = _checked(found, verdicts, state[verdicts], rating, terms)
    return state


def _checked(
    found: Seen, looks: Bools, state: States, rating: Interval, terms: ExperimentDesign
) -> States:
    """The states at these looks, at which ratings are clear, after the checks of the ratings."""
    low, high = rating.low[looks], rating.high[looks]
    rated, up, down, failed = (
        (_at(a, looks), _at(b, looks))
        for a, b in (found.rating, found.thumbs_up, found.thumbs_down, found.failed)
    )
    surplus = _mean(failed[1]) - _mean(failed[0])
    better = low - np.maximum(surplus, 0) * _mean(rated[1]) > 0
    worse = high + np.maximum(-surplus, 0) * _mean(rated[0]) < 0
    answered = sum(side.w[..., 0] for side in up)
    scale = np.maximum(1, answered / np.maximum(sum(side.people[..., 0] for side in rated), 1))
    ups = _interval(THUMBS_UP, up, terms, scale)
    downs = _interval(THUMBS_DOWN, down, terms, scale)
    better &= (ups.low > 0) & (downs.high < 0)
    worse &= (ups.high < 0) & (downs.low > 0)
    doubtful = ((state == BETTER) & ~better) | ((state == WORSE) & ~worse)
    return np.where(doubtful, COLLECTING, state)


def _at(side: SequenceSide, looks: Bools) -> SequenceSide:
    return SequenceSide(*(getattr(side, part.name)[looks] for part in fields(side)))


def decided(
    sides: tuple[SequenceSide, SequenceSide], rating: Interval, terms: ExperimentDesign
) -> States:
    """What the interval of the ratings says."""
    fewer = np.minimum(*(side.people.sum(-1) for side in sides))
    enough = (fewer >= terms.least_people) & (rating.time >= 2 * terms.least_people)
    within = (rating.low >= -terms.minimum_effect) & (rating.high <= terms.minimum_effect)
    conditions = [~enough, within, rating.low > 0, rating.high < 0]
    return np.select(conditions, [COLLECTING, NO_DIFFERENCE, BETTER, WORSE], COLLECTING)


def _interval(
    metric: str,
    sides: tuple[SequenceSide, SequenceSide],
    terms: ExperimentDesign,
    scale: Floats | float = 1.0,
) -> Interval:
    planned = plan(metric, 2, terms)
    tuned = planned.tuned_for
    if isinstance(tuned, Sequence):
        tuned = [people * scale for people in tuned]  # type: ignore[misc]  # arrays
    return confidence_sequence.difference(*sides, planned.alpha, tuned, of_votes=1.0)


def _mean(side: SequenceSide) -> Floats:
    return np.asarray(side.wy[..., 0] / np.maximum(side.w[..., 0], 1))


# A variant that is new


@dataclass(frozen=True)
class Novelty:
    a: float = 0.7
    b: float = 0.7
    novelty: float = 0.1  # what b gains while it is new
    days: float = 3.0  # for how long after a person's first answer
    people: int = 1_500
    arriving_days: float = 30.0  # in which people arrive
    votes: int = 5
    gap_days: float = 4.0  # between two votes of one person, on average
    correlation: float = 0.2
    step: int = 10  # votes between two looks


def promoted(novelty: Novelty, comparisons: int, seed: int) -> tuple[Outcomes, Outcomes]:
    """When b is called better, and when it is promoted, because later ratings confirm it."""
    draw, terms = np.random.default_rng(seed), ExperimentDesign()
    called, confirmed = [], []
    for begin in range(0, comparisons, 50):
        count = min(50, comparisons - begin)
        rating, later = _new(novelty, count, draw, terms.novelty_days)
        state = decided(rating, _interval(RATING, rating, terms), terms)
        after = _interval(LATER_RATING, later, terms)
        lasting = (decided(later, after, terms) != COLLECTING) & (after.low > 0)
        raters = np.asarray(sum(side.people[..., 0] for side in rating), np.int64)
        called.append(first(np.where(state == BETTER, BETTER, COLLECTING), raters))
        both = (state == BETTER) & lasting
        confirmed.append(first(np.where(both, BETTER, COLLECTING), raters))
    return _joined(called), _joined(confirmed)


def _joined(parts: Sequence[Outcomes]) -> Outcomes:
    return Outcomes(
        np.concatenate([p.state for p in parts]), np.concatenate([p.people for p in parts])
    )


def _new(
    novelty: Novelty, count: int, draw: np.random.Generator, days: float
) -> tuple[tuple[SequenceSide, SequenceSide], tuple[SequenceSide, SequenceSide]]:
    size = (count, novelty.people)
    on_b = draw.random(size) < 0.5
    spread = 1 / novelty.correlation - 1
    mean = np.where(on_b, novelty.b, novelty.a)
    own = draw.beta(mean * spread, (1 - mean) * spread)[..., None]
    gaps = draw.exponential(novelty.gap_days, (*size, novelty.votes))
    gaps[..., 0] = 0
    since = gaps.cumsum(-1)
    gained = np.where(on_b[..., None] & (since < novelty.days), novelty.novelty, 0.0)
    likes = draw.random((*size, novelty.votes)) < own + gained * (1 - own) / (1 - mean[..., None])
    at = np.sort(draw.random(size), 1)[..., None] * novelty.arriving_days + since
    order = np.argsort(at.reshape(count, -1), axis=1, kind="stable")
    arm = np.take_along_axis(np.repeat(on_b, novelty.votes, 1), order, 1)
    every = slice(novelty.step - 1, None, novelty.step)

    def sums(counted: Bools) -> tuple[SequenceSide, SequenceSide]:
        changes = [np.take_along_axis(c, order, 1) for c in _changes(likes, counted)]
        sides = [
            SequenceSide(*(np.cumsum(c * (arm == side), 1)[:, every, None] for c in changes))
            for side in (False, True)
        ]
        return sides[0], sides[1]

    return sums(np.ones_like(likes)), sums(since >= days)


def _changes(likes: Bools, counted: Bools) -> list[Floats]:
    """What each vote changes in the six sums over people; votes that are not counted change
    nothing."""
    n = counted.cumsum(-1)
    y = (likes & counted).cumsum(-1) / np.maximum(n, 1)
    w = np.where(n > 0, n / (1 + CORRELATION * (n - 1)), 0.0)
    sums = [(n > 0).astype(float), w, w * y, w * w, w * w * y, (w * y) ** 2]
    return [np.diff(s, prepend=0, axis=-1).reshape(len(likes), -1) for s in sums]


# Guardrails


@dataclass(frozen=True)
class Failing:
    """People who ask often and others who ask once: a few give most of the answers."""

    a: float = 0.01  # the share of answers that fail
    b: float = 0.05
    people: int = 1_500
    most: int = 100  # answers of one person
    tail: float = 1.3  # of the Pareto distribution of a person's number of answers
    correlation: float = 0.05  # between the answers of one person


def broken(failing: Failing, comparisons: int, seed: int, weighed: bool = True) -> float:
    """How often the guardrail of failures is broken at the end. Not `weighed`: every person counts
    the same."""
    draw, terms, found = np.random.default_rng(seed), ExperimentDesign(), 0
    planned = plan(FAILED, 2, terms)
    spread = 1 / failing.correlation - 1
    for _ in range(comparisons):
        on_b = draw.random(failing.people) < 0.5
        n = np.minimum(draw.pareto(failing.tail, failing.people) + 1, failing.most).astype(int)
        mean = np.where(on_b, failing.b, failing.a)
        y = draw.binomial(n, draw.beta(mean * spread, (1 - mean) * spread)) / n
        w = n / (1 + CORRELATION * (n - 1)) if weighed else np.ones(failing.people)
        sides = []
        for here in (~on_b, on_b):
            parts = (np.ones(failing.people), w, w * y, w * w, w * w * y, (w * y) ** 2)
            sides.append(SequenceSide(*(np.array([p[here].sum()]) for p in parts)))
        seen_ = confidence_sequence.difference(
            sides[0], sides[1], planned.alpha, planned.tuned_for, of_votes=1.0
        )
        found += int(seen_.low > terms.guardrails[FAILED])
    return found / comparisons
