"""Statistical tests for raters whose ratings do not depend on the answers.

All functions are pure functions of counts. A person is tested after 10, 20, 40, 60, 120, ...
ratings of the answers of one adapter and variant. The significance level is divided between the
tests. Most of it goes to those of 40 and 60 ratings: only few people rate so often, and only so
many ratings tell a person who dislikes most answers from one who does not read them.

- **outlier**: `k` of `n` ratings are up, where other people's rate is `p`. People differ, so the
  count of an honest rater is not binomial but beta-binomial (Skellam, JRSS B 10, 1948). Its
  intra-person correlation is estimated from the other raters by analysis of variance (Donner, Int.
  Stat. Review 54, 1986). The test rejects if the tail beyond `k` is below half of the level. That
  affects at most one honest rater in 250, no matter how long they rate, and hardly one in 10,000 of
  those with fewer than 40 ratings.
- **same button**: an outlier whose ratings are all alike. Some honest people like every answer, so
  where most answers are liked, somebody who likes all of them is no outlier.
- **same side**: of two answers side by side, the person chose the first every time, or the second
  every time, in `n` choices. The test rejects if `0.5 ** n` is below the level, from 20 choices on.
  The order of the two is random, so it says nothing about the answers.

As in "Detecting anomalous users" of Chatbot Arena (Chiang et al., arXiv 2403.04132), a person's
ratings are compared with other people's ratings of the *same* adapter and variant. So a person who
got the worse variant is not an outlier for disliking it. How much people differ, though, is
estimated from the ratings of other answers as well, and the smaller estimate applies: otherwise
many odd raters on one variant would make each other look ordinary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Rule = Literal["same_button", "same_side", "outlier", "by_hand"]

LOOKS = {10: 1 / 64, 20: 1 / 32, 40: 1 / 4, 60: 1 / 2}  # ratings -> share of the level
SAME_SIDE_FROM = 20  # choices
LEVEL = 0.004  # significance level of all tests of one person together
OTHERS = 10  # the least number of other raters to compare a person with
CORRELATION = 0.4  # within a person, if there are too few ratings to estimate it
LEAST_CORRELATION = 0.05  # people are never all the same


@dataclass(frozen=True)
class Tally:
    up: int
    down: int

    @property
    def total(self) -> int:
        return self.up + self.down

    @property
    def rate(self) -> float:
        return self.up / self.total


@dataclass(frozen=True)
class Peers:
    """Other people's ratings of the same adapters and variants, weighted by the person's own
    numbers of ratings."""

    raters: int
    rate: float  # of thumbs up, 0..1; every rater has the same weight
    correlation: float  # within a rater


def level_at(count: int) -> float | None:
    """The significance level of the test after `count` ratings; None if no test is due then."""
    if count in LOOKS:
        return LEVEL * LOOKS[count]
    last = max(LOOKS)
    times, left = divmod(count, last)
    if left or times < 2 or times & (times - 1):
        return None
    return LEVEL / 8 / times  # 1/16, 1/32, ... of the level; all of them sum to 59/64


def detect_anomaly(own: Tally, peers: Peers, level: float) -> tuple[Rule, str] | None:
    """The rule that these ratings break, and the reason as text; None if they count."""
    n = own.total
    usual = f"{peers.raters} others like {peers.rate:.0%} of the same answers"
    chance = tail(own.up, n, peers.rate, peers.correlation)
    if chance >= level / 2:
        return None
    if n in (own.up, own.down):
        button = "👍" if own.up else "👎"
        return "same_button", f"pressed {button} {n} times out of {n}, while {usual} ({_p(chance)})"
    return "outlier", f"likes {own.rate:.0%} of {n} answers, while {usual} ({_p(chance)})"


def tail(k: int, n: int, rate: float, correlation: float) -> float:
    """The smaller of P(X <= k) and P(X >= k), where X is beta-binomial: the thumbs up among `n`
    ratings, with mean `rate` and `correlation` within a rater. Both lie strictly between 0 and
    1."""
    size = 1 / correlation - 1
    a, b = rate * size, (1 - rate) * size
    each = [math.exp(_choose(n, x) + _beta(x + a, n - x + b) - _beta(a, b)) for x in range(n + 1)]
    return min(sum(each[: k + 1]), sum(each[k:]))


def smallest_correlation(*groups: Sequence[Tally]) -> float:
    """The smallest correlation within the raters of any of these groups that is known."""
    known = [tallies for tallies in groups if is_known(tallies)]
    return min(map(correlation, known), default=CORRELATION)


def is_known(tallies: Sequence[Tally]) -> bool:
    """Whether there are enough ratings to estimate the correlation within raters."""
    total, raters = sum(t.total for t in tallies), len(tallies)
    return raters >= OTHERS and total - raters >= 2 * OTHERS


def correlation(tallies: Sequence[Tally]) -> float:
    """The correlation within raters, by analysis of variance (Donner 1986, for proportions)."""
    total, raters = sum(t.total for t in tallies), len(tallies)
    if not is_known(tallies):
        return CORRELATION
    mean = sum(t.up for t in tallies) / total
    between = sum(t.total * (t.rate - mean) ** 2 for t in tallies) / (raters - 1)
    within = sum(t.total * t.rate * (1 - t.rate) for t in tallies) / (total - raters)
    size = (total - sum(t.total**2 for t in tallies) / total) / (raters - 1)
    spread = between + (size - 1) * within
    found = (between - within) / spread if spread > 0 else CORRELATION
    return min(max(found, LEAST_CORRELATION), 0.95)


def position_bias(own: Tally) -> str | None:
    """The reason as text, if a person always chooses the first of two answers or always the second;
    otherwise None."""
    level = level_at(own.total)
    if level is None or own.total < SAME_SIDE_FROM or own.total not in (own.up, own.down):
        return None
    if 0.5**own.total >= level:
        return None
    side = "first" if own.up else "second"
    return f"chose the {side} of two answers {own.total} times out of {own.total}"


def mean(tallies: Sequence[Tally]) -> float:
    """The mean rate; every rater has the same weight. Never exactly 0 or 1 (Jeffreys prior)."""
    return (sum(t.rate for t in tallies) + 0.5) / (len(tallies) + 1)


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _p(chance: float) -> str:
    if chance <= 1e-9:
        return "practically impossible by chance"
    return f"by chance, 1 in {1 / chance:,.0f} raters"
