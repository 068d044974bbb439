"""Evidence: all that a comparison has collected, as the sums that every statistic is made of.

The unit is the person. Someone who rates forty answers counts once, with the mean of their
ratings; so with every other metric. People carry the stage in which they were first exposed: within
a stage the shares never change, so who is on which variant is a coin's choice and nothing else's,
whatever ramps or adaptive shares did between stages. Sums over people, by stage and variant, are
all that the statistics need: they are small, are stored with a decision, and give it again.

Testers who chose their variant, people held out, and quarantined voters are in no sum.

A reply counts for the variant that gave it. Where the engine broke an answer off, or something
stood in for the variant, nobody's opinion counts (`data/feedback.py`); the metric `failed` counts
both, on both sides alike, for it is what the error guardrail compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sqlite_utils import Database

from data.db import Row, rows
from data.experiments import Experiment, Variant

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


# For each metric one value a person, of the variant :variant: (person, value)
OUTCOMES: Mapping[Metric, str] = {
    "rating": """
        SELECT person, up * 1.0 / (up + down) AS value FROM ratings
        WHERE variant_id = :variant AND up + down > 0
    """,
    "correction": """
        SELECT r.person, avg(f.id IS NOT NULL) AS value FROM replies r
        LEFT JOIN feedback f ON f.reply_id = r.id AND f.person = r.person
            AND f.kind = 'correction' AND f.live = 1
        WHERE r.variant_id = :variant AND r.status IN ('done', 'cancelled') GROUP BY r.person
    """,
    "failed": """
        SELECT person, avg(status IN ('failed', 'partial')) AS value FROM replies
        WHERE variant_id = :variant AND status <> 'streaming' GROUP BY person
    """,
    "latency": """
        SELECT person, ln(max(avg(latency_us), 1)) AS value FROM replies
        WHERE variant_id = :variant AND status = 'done' AND latency_us IS NOT NULL GROUP BY person
    """,
}

# A person's mean rating as it stood at their exposure, of answers in the domain before it
EARLIER = """
    SELECT o.value AS y, avg(f.value) AS x
    FROM assignments a JOIN ({rating}) o ON o.person = a.person
    JOIN replies r ON r.person = a.person AND r.created_at < a.at AND r.domain_id = :domain
    JOIN feedback f ON f.reply_id = r.id AND f.kind = 'thumb' AND f.created_at < a.at
        AND (f.superseded_at IS NULL OR f.superseded_at >= a.at)
    WHERE a.experiment_id = :experiment AND a.variant_id = :variant GROUP BY a.person
"""


def collect(db: Database, experiment: Experiment) -> Evidence:
    """What the store has of a comparison."""
    stage = Stage(
        shares=tuple(v.share for v in experiment.variants),
        cells=tuple(_cell(db, experiment, v) for v in experiment.variants),
    )
    return Evidence(
        variants=tuple(_variant(db, v) for v in experiment.variants),
        stages=(stage,),
    )


def _variant(db: Database, variant: Variant) -> VariantEvidence:
    found = rows(
        db,
        "SELECT count(*) AS replies, coalesce(sum(status = 'failed'), 0) AS failed, "
        "(SELECT coalesce(sum(up), 0) FROM ratings WHERE variant_id = :variant) AS up, "
        "(SELECT coalesce(sum(down), 0) FROM ratings WHERE variant_id = :variant) AS down "
        "FROM replies WHERE variant_id = :variant",
        {"variant": variant.id},
    )[0]
    return VariantEvidence(variant.label, variant.adapter, **found)


def _cell(db: Database, experiment: Experiment, variant: Variant) -> Cell:
    bound = {
        "experiment": experiment.id,
        "variant": variant.id,
        "domain": experiment.domain_id,
    }
    assigned = rows(
        db, "SELECT count(*) AS people FROM assignments WHERE variant_id = :variant", bound
    )[0]
    sums = {metric: _sums(db, sql, bound) for metric, sql in OUTCOMES.items()}
    return Cell(
        assigned=assigned["people"],
        sums={metric: found for metric, found in sums.items() if found.people},
        earlier=_earlier(db, bound),
    )


def _sums(db: Database, sql: str, bound: Row) -> Sums:
    found = rows(
        db,
        "SELECT count(*) AS people, total(o.value) AS total, total(o.value * o.value) AS squares "
        f"FROM ({sql}) o JOIN assignments a ON a.experiment_id = :experiment "
        "AND a.person = o.person AND a.variant_id = :variant",
        bound,
    )
    return Sums(**found[0])


def _earlier(db: Database, bound: Row) -> Earlier:
    found = rows(
        db,
        "SELECT count(*) AS people, total(x) AS x, total(x * x) AS xx, total(x * y) AS xy, "
        f"total(y) AS y FROM ({EARLIER.format(rating=OUTCOMES['rating'])})",
        bound,
    )
    return Earlier(**found[0])


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
