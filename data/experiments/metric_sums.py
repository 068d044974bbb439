"""Metric sums: the data of a comparison, as the sums over people that the statistics need.

The unit of analysis is the person. A person who rates forty answers contributes one value, the mean
of their ratings, with a weight of at most five people who rated once.
`bot/experiments/stats/confidence_sequence.py` explains why the weights differ. The other metrics
weigh people in the same way, by the number of answers measured.

People belong to the stage in which they were first exposed. Within a stage the shares are constant,
so the assignment is purely random, even if ramps or adaptive shares changed it between stages. Sums
over people, by stage and variant, are all that the statistics need. They are small and are stored
with each decision, so that it can be recalculated.

The sums leave out testers, people in the holdout, people who are not verified
(`counted_people.py`), and ratings by quarantined raters. Failures and answer times of quarantined
people still count.

A reply counts for the variant that gave it. Ratings do not count if the engine broke the answer off
or a fallback answered instead of the variant (`data/feedback/rating_totals.py`). The metric
`failed`, which the error guardrail compares, counts both cases, for every variant in the same way.
People who only saw a fallback count as assigned; otherwise a variant that fails would look like a
sample ratio mismatch.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson
from sqlite_utils import Database

from data.experiments import design as designs
from data.experiments import metrics
from data.experiments.counted_people import COUNTED, People, factor, factors
from data.experiments.experiments import Experiment, Variant
from data.experiments.metrics import LATER_RATING, RATING, Metric
from data.store.clock import DAY_US, now_us
from data.store.db import Row, row, rows

FOREVER_US = 2**62

# The correlation between two ratings of one person that the weights assume. The variance of a
# person's mean of n ratings is proportional to (1 + CORRELATION (n - 1)) / n. Its inverse is the
# weight: 1 for one rating, and never more than 1 / CORRELATION = 5.
CORRELATION = 0.2


@dataclass(frozen=True)
class Sums:
    """Sums over people: y is the mean of a metric over a person's answers, w the person's
    weight."""

    people: int = 0
    w: float = 0.0
    wy: float = 0.0
    ww: float = 0.0
    wwy: float = 0.0
    wwyy: float = 0.0


def equal_weight_sums(people: int, total: float, squares: float) -> Sums:
    """The sums for people of weight one, from the sum of their values and the sum of squares."""
    return Sums(people, people, total, people, total, squares)


@dataclass(frozen=True)
class PriorRatings:
    """Sums over the people with ratings who also rated before their exposure: x is the mean of
    their earlier ratings, y and w are as in the sums of the ratings."""

    people: int = 0
    w: float = 0.0
    wx: float = 0.0
    ww: float = 0.0
    wwx: float = 0.0
    wwxx: float = 0.0
    wwy: float = 0.0
    wwxy: float = 0.0


@dataclass(frozen=True)
class Cell:
    """The sums of one variant over the people who were first exposed in one stage."""

    assigned: int = 0  # people, with or without ratings
    sums: Mapping[str, Sums] = field(default_factory=dict)  # by metric; without empty sums
    earlier: PriorRatings = PriorRatings()

    def of(self, metric: str) -> Sums:
        return self.sums.get(metric, Sums())


@dataclass(frozen=True)
class StageSums:
    """A period of constant shares. `shares` and `cells` are in the order of the variants."""

    shares: tuple[float, ...]  # of the people in the comparison, summing to 1
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class VariantSums:
    label: str  # "A" is the control
    adapter: str  # `helpdesk@3`, or `base`
    replies: int = 0
    failed: int = 0
    up: int = 0  # current thumbs, all of a person's
    down: int = 0


@dataclass(frozen=True)
class PreferenceCounts:
    """Preferences between the answers of two variants, shown side by side without their labels."""

    a: str  # labels of variants
    b: str
    a_wins: int = 0
    b_wins: int = 0
    ties: int = 0


@dataclass(frozen=True)
class Ballot:
    """All preferences of a person. `people` is the number of people with exactly the same ones."""

    votes: tuple[PreferenceCounts, ...]
    people: int = 1


@dataclass(frozen=True)
class ExperimentSums:
    variants: tuple[VariantSums, ...]  # the control first
    stages: tuple[StageSums, ...]  # in chronological order
    ballots: tuple[Ballot, ...] = ()


def answers_sql(metrics: Mapping[str, Metric]) -> str:
    """The query for the sums of the metrics over people, by stage. CROSS JOIN fixes the join order,
    so that each person's answers are read once."""
    counts = {sql: f"n{i}" for i, sql in enumerate({m.sql_count: None for m in metrics.values()})}
    values = ", ".join(
        [f"{metric.sql} AS {name}" for name, metric in metrics.items()]
        + [f"{sql} AS {n}" for sql, n in counts.items()]
    )
    fallbacks_only = ", ".join(
        [metric.sql_only_fallbacks for metric in metrics.values()] + ["fallbacks"] * len(counts)
    )
    weighed = ", ".join(
        f"{name}, iif({name} IS NULL, NULL, f * {weight(counts[metric.sql_count])}) AS {name}_w"
        for name, metric in metrics.items()
    )
    summed = ", ".join(
        f"count({y}) AS {y}_people, total({y}_w) AS {y}_w, total({y}_w * {y}) AS {y}_wy, "
        f"total({y}_w * {y}_w) AS {y}_ww, total({y}_w * {y}_w * {y}) AS {y}_wwy, "
        f"total({y}_w * {y}_w * {y} * {y}) AS {y}_wwyy"
        for y in metrics
    )
    return f"""
WITH replaced AS MATERIALIZED (
    SELECT person, count(*) AS fallbacks FROM replies
    WHERE instead_of = :adapter AND variant_id IS NULL AND constrained = 0 AND domain_id = :domain
    AND status <> 'streaming' AND created_at BETWEEN :began AND :ended GROUP BY person
), answers AS (
    SELECT r.person, {values}
    FROM replies r LEFT JOIN replaced ON replaced.person = r.person
    WHERE r.variant_id = :variant AND r.status <> 'streaming' GROUP BY r.person
    UNION ALL
    SELECT person, {fallbacks_only}
    FROM replaced WHERE NOT EXISTS (
        SELECT 1 FROM replies r WHERE r.person = replaced.person AND +r.variant_id = :variant
        AND r.status <> 'streaming')
), counted AS (
    SELECT a.stage, {factor(":by_answers")} AS f, answers.* FROM answers
    CROSS JOIN assignments a ON a.experiment_id = :experiment AND a.person = answers.person
        AND a.variant_id = :variant AND {COUNTED}
), weighed AS MATERIALIZED (
    SELECT stage, {weighed} FROM counted
)
SELECT stage, {summed} FROM weighed GROUP BY stage
"""


def weight(n: str) -> str:
    """The SQL for the weight of a person with `n` ratings or answers."""
    return f"{n} / (1 + {CORRELATION} * ({n} - 1))"


WEIGHT = weight("n")

RATING_SUMS = f"""
WITH people AS (
    SELECT a.stage, rated.up * 1.0 / nullif(rated.up + rated.down, 0) AS y,
        rated.up + rated.down AS n, {factor(":by_ratings")} AS f
    FROM assignments a
    LEFT JOIN ratings rated ON rated.variant_id = a.variant_id AND rated.person = a.person
    WHERE a.experiment_id = :experiment AND a.variant_id = :variant AND {COUNTED}
), weighed AS (
    SELECT stage, y, iif(y IS NULL, NULL, f * {WEIGHT}) AS w FROM people
)
SELECT stage, count(*) AS assigned, count(y) AS people, total(w) AS w, total(w * y) AS wy,
       total(w * w) AS ww, total(w * w * y) AS wwy, total(w * w * y * y) AS wwyy
FROM weighed GROUP BY stage
"""

# Each person's mean of the ratings that they cast when the variant was no longer new to them
LATER_RATINGS = f"""
WITH later AS (
    SELECT a.stage, avg(f.value) AS y, count(*) AS n, {factor(":by_ratings")} AS f
    FROM ratings rated
    JOIN assignments a ON a.experiment_id = :experiment AND a.person = rated.person
        AND a.variant_id = rated.variant_id AND {COUNTED}
    JOIN feedback f ON f.person = a.person AND f.created_at >= a.at + :novelty
        AND f.kind = 'thumb' AND f.live = 1 AND f.counts = 1
    JOIN replies r ON r.id = f.reply_id AND r.variant_id = a.variant_id AND r.person = a.person
    WHERE rated.variant_id = :variant AND rated.up + rated.down > 0 GROUP BY a.person
), weighed AS (
    SELECT stage, y, f * {WEIGHT} AS w FROM later
)
SELECT stage, count(*) AS people, total(w) AS w, total(w * y) AS wy, total(w * w) AS ww,
       total(w * w * y) AS wwy, total(w * w * y * y) AS wwyy
FROM weighed GROUP BY stage
"""

# The median time of the control's first answers: what a slow answer is must not change later
CONTROL_MEDIAN = """
WITH early AS (
    SELECT latency_us FROM replies WHERE variant_id = :variant AND status = 'done'
    ORDER BY rowid LIMIT 1000
)
SELECT latency_us FROM early ORDER BY latency_us LIMIT 1 OFFSET (SELECT count(*) / 2 FROM early)
"""

# Each person's mean rating of earlier answers in the domain, as of their exposure
PRIOR_RATINGS = f"""
WITH known AS (
    SELECT a.stage, rated.up * 1.0 / (rated.up + rated.down) AS y, rated.up + rated.down AS n,
        avg(f.value) AS x, {factor(":by_ratings")} AS f
    FROM ratings rated
    JOIN assignments a ON a.experiment_id = :experiment AND a.person = rated.person
        AND a.variant_id = rated.variant_id AND {COUNTED}
    JOIN feedback f ON f.person = a.person AND f.created_at < a.at AND f.kind = 'thumb'
        AND f.counts = 1 AND (f.superseded_at IS NULL OR f.superseded_at >= a.at)
    JOIN replies r ON r.id = f.reply_id AND r.domain_id = :domain AND r.person = f.person
    WHERE rated.variant_id = :variant AND rated.up + rated.down > 0 GROUP BY a.person
), weighed AS (
    SELECT stage, x, y, f * {WEIGHT} AS w FROM known
)
SELECT stage, count(*) AS people, total(w) AS w, total(w * x) AS wx, total(w * w) AS ww,
       total(w * w * x) AS wwx, total(w * w * x * x) AS wwxx, total(w * w * y) AS wwy,
       total(w * w * x * y) AS wwxy
FROM weighed GROUP BY stage
"""

# Each person's preferences between the answers of two variants
PREFERENCES = f"""
SELECT p.person, a.label AS a, b.label AS b, sum(f.value = 1) AS a_wins,
       sum(f.value = 0) AS b_wins, sum(f.value = 0.5) AS ties
FROM pairings p
JOIN feedback f ON f.reply_id = p.first_reply AND f.person = p.person AND f.kind = 'pairwise'
    AND f.live = 1 AND f.counts = 1
JOIN replies first ON first.id = p.first_reply JOIN variants a ON a.id = first.variant_id
JOIN replies second ON second.id = p.second_reply JOIN variants b ON b.id = second.variant_id
WHERE p.experiment_id = :experiment AND a.id <> b.id
    AND NOT EXISTS (SELECT 1 FROM testers t
                    WHERE t.experiment_id = :experiment AND t.person = p.person)
    AND NOT EXISTS (SELECT 1 FROM assignments a WHERE a.experiment_id = :experiment
                    AND a.person = p.person AND NOT {COUNTED})
GROUP BY p.person, a.label, b.label ORDER BY p.person, a.label, b.label
"""


def collect(db: Database, experiment: Experiment, people: People | None = None) -> ExperimentSums:
    """Read the sums of a comparison from the store. `people`: whose ratings and answers count;
    None: those that the comparison reads."""
    people = people or people_of(experiment)
    median = row(db, CONTROL_MEDIAN, {"variant": experiment.variants[0].id})
    given = {
        "novelty": designs.from_json(experiment.terms).novelty_days * DAY_US,
        "control_median": median["latency_us"] if median else None,
    }
    cells = [_cells(db, experiment, v, given, people) for v in experiment.variants]
    shares = rows(
        db,
        "SELECT number, shares FROM stages WHERE experiment_id = ? ORDER BY number",
        [experiment.id],
    )
    labels = [v.label for v in experiment.variants]
    return ExperimentSums(
        variants=tuple(_variant(db, v) for v in experiment.variants),
        stages=tuple(
            StageSums(
                shares=tuple(orjson.loads(stage["shares"])[label] for label in labels),
                cells=tuple(of_variant.get(stage["number"], Cell()) for of_variant in cells),
            )
            for stage in shares
        ),
        ballots=_ballots(db, experiment, people),
    )


def people_of(experiment: Experiment) -> People:
    """Whose ratings and answers the comparison reads."""
    return designs.from_json(experiment.terms).people


def _variant(db: Database, variant: Variant) -> VariantSums:
    found = rows(
        db,
        "SELECT count(*) AS replies, coalesce(sum(status = 'failed'), 0) AS failed, "
        "(SELECT coalesce(sum(up), 0) FROM ratings WHERE variant_id = :variant) AS up, "
        "(SELECT coalesce(sum(down), 0) FROM ratings WHERE variant_id = :variant) AS down "
        "FROM replies WHERE variant_id = :variant",
        {"variant": variant.id},
    )[0]
    return VariantSums(variant.label, variant.described, **found)


def _cells(
    db: Database,
    experiment: Experiment,
    variant: Variant,
    given: Mapping[str, int | None],
    people: People,
) -> dict[int, Cell]:
    """The cells of a variant, by stage number."""
    bound: dict[str, Any] = {
        **given,
        "experiment": experiment.id,
        "variant": variant.id,
        "people": people,
        **factors(db, people, experiment.id, variant.id, CORRELATION),
        "adapter": variant.adapter_id,
        "domain": experiment.domain_id,
        "began": experiment.started_at,
        "ended": experiment.stopped_at or FOREVER_US,
    }
    measured = metrics.measured()
    answers = {
        r["stage"]: _answer_sums(r, measured) for r in rows(db, answers_sql(measured), bound)
    }
    earlier = {r.pop("stage"): PriorRatings(**r) for r in rows(db, PRIOR_RATINGS, bound)}
    later = _later_ratings(db, experiment, bound)
    found = {}
    for ratings in rows(db, RATING_SUMS, bound):
        stage, assigned = ratings.pop("stage"), ratings.pop("assigned")
        sums = answers.get(stage, {})
        if ratings["people"]:
            sums[RATING] = Sums(**ratings)
        if stage in later:
            sums[LATER_RATING] = later[stage]
        found[stage] = Cell(assigned, sums, earlier.get(stage, PriorRatings()))
    return found


def _answer_sums(found: Row, names: Iterable[str]) -> dict[str, Sums]:
    return {
        name: Sums(*(found[f"{name}_{part.name}"] for part in fields(Sums)))
        for name in names
        if found[f"{name}_people"]
    }


def _later_ratings(
    db: Database, experiment: Experiment, bound: Mapping[str, Any]
) -> dict[int, Sums]:
    """By stage; empty while the comparison is too young for any."""
    if not bound["novelty"] or now_us() < experiment.started_at + bound["novelty"]:
        return {}
    return {r.pop("stage"): Sums(**r) for r in rows(db, LATER_RATINGS, bound)}


def _ballots(db: Database, experiment: Experiment, people: People) -> tuple[Ballot, ...]:
    """One ballot for all people with the same preferences."""
    bound = {"experiment": experiment.id, "people": people}
    preferences: dict[str, list[PreferenceCounts]] = {}
    for choice in rows(db, PREFERENCES, bound):
        preferences.setdefault(choice.pop("person"), []).append(PreferenceCounts(**choice))
    counted = Counter(tuple(p) for p in preferences.values())
    return tuple(Ballot(same, people) for same, people in sorted(counted.items(), key=repr))


def from_json(stored: Mapping[str, Any]) -> ExperimentSums:
    """Read sums back from the JSON of `dataclasses.asdict`."""
    return ExperimentSums(
        variants=tuple(VariantSums(**v) for v in stored["variants"]),
        stages=tuple(_stage(s) for s in stored["stages"]),
        ballots=tuple(
            Ballot(tuple(PreferenceCounts(**v) for v in b["votes"]), b["people"])
            for b in stored["ballots"]
        ),
    )


def _stage(stored: Mapping[str, Any]) -> StageSums:
    cells = tuple(
        Cell(
            assigned=c["assigned"],
            sums={metric: Sums(**sums) for metric, sums in c["sums"].items()},
            earlier=PriorRatings(**c["earlier"]),
        )
        for c in stored["cells"]
    )
    return StageSums(tuple(stored["shares"]), cells)
