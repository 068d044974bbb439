"""Whether people's ratings have become worse: a test that may be looked at after every rating.

It is a conformal test for a change (Vovk et al., "Retrain or not retrain: conformal test
martingales for change-point detection", COPA 2021, arXiv 2102.10439), with the Shiryaev-Roberts
statistic in place of their CUSUM, as in Shin, Ramdas and Rinaldo, "E-detectors" (NEJSDS 2024, arXiv
2203.03532):

- Each rating gets a p-value: its rank among earlier ratings of the same category, ties broken at
  random. A person's first rating is ranked among the first ratings of others, each later one among
  that person's own later ones. So people may differ, and rate as often as they like, without
  looking like a change. While nothing changes, the p-values are independent and uniform.
- The bets are `e p^(e - 1)` for several e. They grow when p-values become small, which is when
  ratings become worse.
- R_n = (R_(n-1) + 1) bet(p_n) sums up what a bettor who began at each rating would have. While
  nothing changes, R_n - n is a martingale, so by Doob's inequality an alarm at `THRESHOLD` comes
  within n ratings with a probability of at most n / THRESHOLD.
"""

import bisect
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from data.domains import Domain
from data.people.identities import is_verified
from data.store.db import rows

EXPONENTS = (0.3, 0.5, 0.7, 0.85)
THRESHOLD = 10_000.0  # a false alarm within 500 ratings: at most 5%
MOST = 20_000  # ratings that are read, the newest ones

RATINGS = """
SELECT * FROM (
    SELECT f.reply_id, f.person, f.value, f.created_at, f.id
    FROM replies r JOIN feedback f ON f.reply_id = r.id AND f.person = r.person
    WHERE r.domain_id = ? AND r.created_at > ? AND f.kind = 'thumb' AND f.live = 1 AND f.counts = 1
      AND r.status = 'done' AND (r.variant_id IS NULL OR r.variant_id IN (
        SELECT id FROM variants WHERE label = 'A'))
    ORDER BY f.created_at DESC, f.id DESC LIMIT ?
) ORDER BY created_at, id
"""


@dataclass(frozen=True)
class CastRating:
    reply_id: str
    person: str
    value: float  # 1: liked, 0: not


@dataclass(frozen=True)
class RatingChange:
    """What the ratings say, from the first one that was read."""

    ratings: int
    evidence: float  # the largest value of the statistic; an alarm at THRESHOLD
    alarm: str  # the reply with whose rating the alarm came; '': none
    before: float  # mean rating of the first half, 0..1
    after: float  # of the ratings since, up to the alarm

    @property
    def fell(self) -> bool:
        return bool(self.alarm)


def ratings_since(db: Database, domain: Domain, since: int) -> list[CastRating]:
    """The verified askers' ratings of the domain's own answers that were given after `since`, in
    the order in which they were cast. Answers of candidates and quarantined raters are left out."""
    found = rows(db, RATINGS, [domain.id, since, MOST])
    verified = {person: is_verified(db, person) for person in {r["person"] for r in found}}
    return [
        CastRating(r["reply_id"], r["person"], float(r["value"]))
        for r in found
        if verified[r["person"]]
    ]


def measure(ratings: Sequence[CastRating], threshold: float = THRESHOLD) -> RatingChange:
    """Run the test over all ratings. The same ratings always give the same result: what breaks a
    tie depends on the reply's id alone."""
    ranked: dict[str, list[float]] = defaultdict(list)
    seen: set[str] = set()
    sums = [0.0] * len(EXPONENTS)
    largest, alarm, last = 0.0, "", len(ratings)
    for number, rating in enumerate(ratings, start=1):
        category = rating.person if rating.person in seen else ""
        seen.add(rating.person)
        p = _p_value(ranked[category], rating.value, _tie_breaker(rating.reply_id))
        sums = [(s + 1) * e * p ** (e - 1) for s, e in zip(sums, EXPONENTS, strict=True)]
        largest = max(largest, sum(sums) / len(sums))
        if largest >= threshold:
            alarm, last = rating.reply_id, number
            break
    values = [rating.value for rating in ratings[:last]]
    half = len(values) // 2
    return RatingChange(len(ratings), largest, alarm, _mean(values[:half]), _mean(values[half:]))


def _p_value(earlier: list[float], value: float, tie: float) -> float:
    """The rank of the value among the earlier ones and itself, in (0, 1]; `earlier` is sorted, and
    the value joins it."""
    below = bisect.bisect_left(earlier, value)
    equal = bisect.bisect_right(earlier, value) - below + 1
    earlier.insert(below, value)
    return (below + tie * equal) / len(earlier)


def _tie_breaker(reply_id: str) -> float:
    """A number in (0, 1] that looks random."""
    digest = hashlib.sha256(f"tie:{reply_id}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") + 1) / 2**64


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
