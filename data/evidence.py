"""Evidence: all that a comparison has collected, as the sums that every statistic is made of.

The unit is the person. Someone who rates forty answers counts once, with the mean of their
ratings; so with every other metric. People carry the stage in which they were first exposed: within
a stage the shares never change, so who is on which variant is a coin's choice and nothing else's,
whatever ramps or adaptive shares did between stages. Sums over people, by stage and variant, are
all that the statistics need: they are small, are stored with a decision, and give it again.

Testers who chose their variant, people held out, and quarantined voters are in no sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Metric = Literal["rating", "correction", "regenerate", "follow_up", "failed", "latency"]
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True)
class Sums:
    """Of one value a person: the mean of what was measured on that person's answers."""

    people: int = 0
    total: float = 0.0
    squares: float = 0.0


@dataclass(frozen=True)
class Earlier:
    """Of the rated people whose ratings before their exposure are known, as x, beside y, theirs
    in the comparison."""

    people: int = 0
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    y: float = 0.0


@dataclass(frozen=True)
class Cell:
    """What one variant collected from the people first exposed in one stage."""

    assigned: int = 0  # people, rated or not
    sums: Mapping[Metric, Sums] = field(default_factory=dict)  # what is missing is empty
    earlier: Earlier = Earlier()

    def of(self, metric: Metric) -> Sums:
        return self.sums.get(metric, Sums())


@dataclass(frozen=True)
class Stage:
    """A time of constant shares. `shares` and `cells` are in the order of the variants."""

    shares: tuple[float, ...]  # of the people in the comparison, summing to 1
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class VariantEvidence:
    label: str  # "A" is the control
    adapter: str  # `helpdesk@3`, or `base`
    replies: int = 0
    failed: int = 0
    up: int = 0  # live thumbs, however many a person gave
    down: int = 0


@dataclass(frozen=True)
class Votes:
    """Between two answers shown side by side, without saying whose they are."""

    a: str  # labels of variants
    b: str
    a_wins: int = 0
    b_wins: int = 0
    ties: int = 0


@dataclass(frozen=True)
class Ballot:
    """All pairwise votes of a person; `people` voted exactly like this."""

    votes: tuple[Votes, ...]
    people: int = 1


@dataclass(frozen=True)
class Evidence:
    variants: tuple[VariantEvidence, ...]  # the control first
    stages: tuple[Stage, ...]  # in the order of time
    ballots: tuple[Ballot, ...] = ()


def from_json(stored: Mapping[str, Any]) -> Evidence:
    """The evidence that `dataclasses.asdict` and JSON made of it."""
    return Evidence(
        variants=tuple(VariantEvidence(**v) for v in stored["variants"]),
        stages=tuple(_stage(s) for s in stored["stages"]),
        ballots=tuple(
            Ballot(tuple(Votes(**v) for v in b["votes"]), b["people"]) for b in stored["ballots"]
        ),
    )


def _stage(stored: Mapping[str, Any]) -> Stage:
    cells = tuple(
        Cell(
            assigned=c["assigned"],
            sums={metric: Sums(**sums) for metric, sums in c["sums"].items()},
            earlier=Earlier(**c["earlier"]),
        )
        for c in stored["cells"]
    )
    return Stage(tuple(stored["shares"]), cells)
