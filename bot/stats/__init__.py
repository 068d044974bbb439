"""The results of a comparison, in numbers and in words.

The unit is the person: someone who rates forty answers counts once, with the mean of their
ratings. The posterior is a Beta-Binomial over those people; it is shown because people ask for
it, and must not decide anything: whoever looks at it again and again and stops at "95%" is wrong
far more often than one time in twenty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from data.experiments import VariantCounts

FOR_SHOWING = "for showing, not for deciding"
NODES = 256  # quadrature points; the error is far below what is shown


@dataclass(frozen=True)
class VariantResult:
    label: str  # A is the control
    adapter: str  # helpdesk@3, or base
    people: int  # were answered at least once
    raters: int  # of them, rated at least one answer
    replies: int
    failed: int
    up: int
    down: int
    mean: float | None  # of the raters' mean ratings, 0..1; None: nobody rated


@dataclass(frozen=True)
class Results:
    variants: tuple[VariantResult, ...]
    b_better: float | None  # posterior P(B > A), for showing only; None: a side is unrated
    sentence: str


def summary(counts: Sequence[VariantCounts]) -> Results:
    """What a comparison has collected so far; `counts` has the control first."""
    results = tuple(_result(c) for c in counts)
    chance = None
    if len(counts) == 2 and all(c.ratings for c in counts):
        chance = probability_better(counts[0].ratings, counts[1].ratings)
    return Results(results, chance, _sentence(results, chance))


def probability_better(a: Sequence[float], b: Sequence[float]) -> float:
    """P(B > A) for ratings 0..1, one a person, under uniform priors.

    A person's mean counts as that share of one success, which is exact for people who rated once
    and cautious otherwise. With F the posterior distributions, P(B > A) is the integral of
    F_A(F_B^-1(u)) over u in 0..1, here by Gauss-Legendre quadrature.
    """
    import numpy as np
    from scipy import special  # half a second to import; only results need it

    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    u = (nodes + 1) / 2
    quantiles = special.betaincinv(1 + sum(b), 1 + len(b) - sum(b), u)
    below = special.betainc(1 + sum(a), 1 + len(a) - sum(a), quantiles)
    return float(np.dot(weights, below) / 2)


def _result(c: VariantCounts) -> VariantResult:
    return VariantResult(
        label=c.variant.label,
        adapter=c.variant.adapter,
        people=c.people,
        raters=len(c.ratings),
        replies=c.replies,
        failed=c.failed,
        up=c.up,
        down=c.down,
        mean=fmean(c.ratings) if c.ratings else None,
    )


def _sentence(results: Sequence[VariantResult], chance: float | None) -> str:
    rated = " and ".join(
        f"{_people(r.raters)} rated {r.label} ({r.adapter}"
        + (f", {r.mean:.0%} liked" if r.mean is not None else "")
        + ")"
        for r in results
    )
    if chance is None:
        return f"Collecting: {rated}; both sides need ratings."
    return f"Collecting: {rated}. Chance that B is better: {chance:.0%} ({FOR_SHOWING})."


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
