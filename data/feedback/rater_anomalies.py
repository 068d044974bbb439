"""Odd votes: the tests that tell a person who votes about the answers from one who does not.

Pure functions of counts. Everyone is looked at when they have given 10, 20, 40, ... votes, at a
level that is halved from look to look.

- **outlier**: `k` of `n` votes are up where the others' rate is `p`. People differ, so the count of
  an honest voter is not binomial but beta-binomial (Skellam, JRSS B 10, 1948), with the others'
  intra-person correlation, estimated by analysis of variance (Donner, Int. Stat. Review 54, 1986).
  Met when the tail beyond `k` is below half of the level: at most one honest voter in a thousand,
  however long they vote.
- **same button**: `n` votes, all alike, where the others press that button with probability `p`:
  met when `p ** n` is below the level. Some honest people like everything they are given, and more
  of them do on the better variant, so this takes 80 votes: nearly nobody gives as many, and who
  does is one person among all in any case.
- **same side**: of two answers side by side, always the first, or always the second, `n` times:
  met when `0.5 ** n` is below the level, from 20 on. Their order is a coin's choice, so it says
  nothing about the answers.

As in "Detecting anomalous users" of Chatbot Arena (Chiang et al., arXiv 2403.04132), what others
voted on the *same* adapter and variant is what a vote is held against: who was given the worse
variant is no outlier for saying so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Rule = Literal["same_button", "same_side", "outlier", "by_hand"]

FIRST_LOOK = 10  # votes
SAME_BUTTON_FROM = 80  # votes
SAME_SIDE_FROM = 20  # choices
LEVEL = 0.001  # of chance, over all looks
OTHERS = 10  # voters on the same answers that a person can be held against
CORRELATION = 0.4  # within a person, where there are too few votes to estimate it
LEAST_CORRELATION = 0.05  # people never are all the same


@dataclass(frozen=True)
class Tally:
    up: int
    down: int

    @property
    def votes(self) -> int:
        return self.up + self.down

    @property
    def rate(self) -> float:
        return self.up / self.votes


@dataclass(frozen=True)
class Peers:
    """What others do on the answers that a person voted on, weighted as that person's votes."""

    voters: int
    rate: float  # of ups, 0..1, one voice a voter
    correlation: float  # within a voter


def level_at(count: int) -> float | None:
    """The level of the look at so many votes; None: it is no time to look."""
    looks, left = divmod(count, FIRST_LOOK)
    if left or looks < 1 or looks & (looks - 1):
        return None
    return float(LEVEL / (2 * looks))  # 1/2, 1/4, ...: together the whole level


def anomaly_verdict(own: Tally, peers: Peers, level: float) -> tuple[Rule, str] | None:
    """Which rule meets somebody who voted so, in a sentence; None: they count."""
    n = own.votes
    usual = f"{peers.voters} others like {peers.rate:.0%} of the same answers"
    if n in (own.up, own.down) and n >= SAME_BUTTON_FROM:
        share = peers.rate if own.up else 1 - peers.rate
        if (chance := share**n) < level:
            button = "👍" if own.up else "👎"
            return "same_button", f"pressed {button} {n} times out of {n}, {usual} ({_p(chance)})"
    chance = tail(own.up, n, peers.rate, peers.correlation)
    if chance < level / 2:
        return "outlier", f"likes {own.rate:.0%} of {n} answers, {usual} ({_p(chance)})"
    return None


def tail(k: int, n: int, rate: float, correlation: float) -> float:
    """The smaller of P(X <= k) and P(X >= k), X beta-binomial: of `n` votes, up with mean `rate`
    and `correlation` within a voter, both in 0..1 and neither 0 nor 1."""
    size = 1 / correlation - 1
    a, b = rate * size, (1 - rate) * size
    each = [math.exp(_choose(n, x) + _beta(x + a, n - x + b) - _beta(a, b)) for x in range(n + 1)]
    return min(sum(each[: k + 1]), sum(each[k:]))


def correlation(tallies: Sequence[Tally]) -> float:
    """Within voters, by analysis of variance (Donner 1986, for the proportions of groups)."""
    total, voters = sum(t.votes for t in tallies), len(tallies)
    if voters < OTHERS or total - voters < 2 * OTHERS:
        return CORRELATION
    mean = sum(t.up for t in tallies) / total
    between = sum(t.votes * (t.rate - mean) ** 2 for t in tallies) / (voters - 1)
    within = sum(t.votes * t.rate * (1 - t.rate) for t in tallies) / (total - voters)
    size = (total - sum(t.votes**2 for t in tallies) / total) / (voters - 1)
    spread = between + (size - 1) * within
    found = (between - within) / spread if spread > 0 else CORRELATION
    return min(max(found, LEAST_CORRELATION), 0.95)


def same_side(own: Tally) -> str | None:
    """Whether somebody always takes the first of two answers, or always the second, in words."""
    level = level_at(own.votes)
    if level is None or own.votes < SAME_SIDE_FROM or own.votes not in (own.up, own.down):
        return None
    if 0.5**own.votes >= level:
        return None
    side = "first" if own.up else "second"
    return f"chose the {side} of two answers {own.votes} times out of {own.votes}"


def mean(tallies: Sequence[Tally]) -> float:
    """One voice a voter; never quite 0 or 1 (Jeffreys)."""
    return (sum(t.rate for t in tallies) + 0.5) / (len(tallies) + 1)


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _p(chance: float) -> str:
    return f"by chance once in {1 / chance:,.0f} voters" if chance > 1e-9 else "never by chance"
