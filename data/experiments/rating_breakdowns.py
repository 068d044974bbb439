"""The ratings of a comparison by day and by segment, as the sums that the statistics need.

They hold the same ratings as `metric_sums.py`: of people who count, on their own variant, within
the daily cap. A segment is a part of the people that was fixed before they saw their variant: where
they ask from, and whether they had asked before the comparison began.
"""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

import orjson
from sqlite_utils import Database

from data.experiments.counted_people import COUNTED, factor, factors
from data.experiments.experiments import Experiment, Variant
from data.experiments.metric_sums import (
    CORRELATION,
    WEIGHT,
    Cell,
    ExperimentSums,
    StageSums,
    Sums,
    VariantSums,
    people_of,
)
from data.experiments.metrics import RATING
from data.store.clock import DAY_US
from data.store.db import rows

SURFACES = {  # a kind of identity -> where its people ask from
    "slack": "Slack",
    "signed_in": "web page, signed in",
    "web_session": "web page",
    "key": "HTTP",
    "key_user": "HTTP",
    "operator": "command line",
    "": "unknown",
}

BY_SEGMENT = f"""
WITH people AS (
    SELECT a.stage, a.kind, EXISTS (
            SELECT 1 FROM replies r WHERE r.person = a.person AND r.created_at < :began
            AND r.domain_id = :domain) AS returning_,
        rated.up * 1.0 / (rated.up + rated.down) AS y, rated.up + rated.down AS n,
        {factor(":by_ratings")} AS f
    FROM ratings rated JOIN assignments a ON a.experiment_id = :experiment
        AND a.person = rated.person AND a.variant_id = rated.variant_id AND {COUNTED}
    WHERE rated.variant_id = :variant AND rated.up + rated.down > 0
), weighed AS (
    SELECT stage, kind, returning_, y, f * {WEIGHT} AS w FROM people
)
SELECT stage, kind, returning_, count(*) AS people, total(w) AS w, total(w * y) AS wy,
    total(w * w) AS ww, total(w * w * y) AS wwy, total(w * w * y * y) AS wwyy
FROM weighed GROUP BY stage, kind, returning_
"""

BY_DAY = f"""
SELECT a.person, a.stage, (f.created_at - :began) / {DAY_US} AS day, total(f.value) AS up,
    count(*) AS n, {factor(":by_ratings")} AS f
FROM ratings rated JOIN assignments a ON a.experiment_id = :experiment
    AND a.person = rated.person AND a.variant_id = rated.variant_id AND {COUNTED}
JOIN feedback f ON f.person = a.person AND f.kind = 'thumb' AND f.live = 1 AND f.counts = 1
    AND f.created_at >= :began
JOIN replies r ON r.id = f.reply_id AND r.variant_id = a.variant_id AND r.person = a.person
WHERE rated.variant_id = :variant AND rated.up + rated.down > 0
GROUP BY a.person, day ORDER BY day
"""


@dataclass(frozen=True)
class Segment:
    """A part of the people, with the sums of their ratings."""

    group: str  # what divides the people
    name: str  # this part of them
    sums: ExperimentSums


def by_segment(db: Database, experiment: Experiment) -> list[Segment]:
    """The segments in which somebody rated."""
    parts: dict[tuple[str, str], dict[tuple[int, int], Sums]] = {}
    for side, variant in enumerate(experiment.variants):
        for found in rows(db, BY_SEGMENT, _bound(db, experiment, variant)):
            place = side, found.pop("stage")
            surface = SURFACES.get(found.pop("kind"), "unknown")
            known = "had asked before" if found.pop("returning_") else "new"
            for segment in (("Where they ask", surface), ("New or returning", known)):
                cells = parts.setdefault(segment, {})
                cells[place] = _added(cells.get(place, Sums()), Sums(**found))
    stages = _stages(db, experiment)
    return [Segment(*names, _sums(experiment, stages, parts[names])) for names in sorted(parts)]


def by_day(
    db: Database, experiment: Experiment, most: int = 60
) -> list[tuple[int, ExperimentSums]]:
    """The sums of all ratings up to the end of each day on which somebody rated: microseconds since
    the epoch, and the sums. At most `most` days, the last one among them."""
    events = [
        (r["day"], side, r)
        for side, variant in enumerate(experiment.variants)
        for r in rows(db, BY_DAY, _bound(db, experiment, variant))
    ]
    events.sort(key=lambda event: event[0])
    days = sorted({day for day, _, _ in events})
    every = max(1, -(-len(days) // most))
    wanted = set(days[::-every])
    stages, found = _stages(db, experiment), []
    of_person: dict[str, tuple[float, int]] = {}
    cells: dict[tuple[int, int], Sums] = {}
    for number, (day, side, r) in enumerate(events):
        up, n = of_person.get(r["person"], (0.0, 0))
        of_person[r["person"]] = up + r["up"], n + r["n"]
        place = side, r["stage"]
        before, after = _of_one(up, n, r["f"]), _of_one(up + r["up"], n + r["n"], r["f"])
        cells[place] = _added(_added(cells.get(place, Sums()), before, -1), after)
        last = number + 1 == len(events) or events[number + 1][0] != day
        if last and day in wanted:
            at = experiment.started_at + (day + 1) * DAY_US
            found.append((at, _sums(experiment, stages, cells)))
    return found


def _of_one(up: float, n: int, f: float) -> Sums:
    if not n:
        return Sums()
    y, w = up / n, f * n / (1 + CORRELATION * (n - 1))
    return Sums(1, w, w * y, w * w, w * w * y, w * w * y * y)


def _added(one: Sums, other: Sums, sign: int = 1) -> Sums:
    return Sums(*(a + sign * b for a, b in zip(astuple(one), astuple(other), strict=True)))


def _bound(db: Database, experiment: Experiment, variant: Variant) -> dict[str, object]:
    people = people_of(experiment)
    return {
        **factors(db, people, experiment.id, variant.id, CORRELATION),
        "experiment": experiment.id,
        "variant": variant.id,
        "people": people,
        "domain": experiment.domain_id,
        "began": experiment.started_at,
    }


def _stages(db: Database, experiment: Experiment) -> list[tuple[int, tuple[float, ...]]]:
    found = rows(
        db,
        "SELECT number, shares FROM stages WHERE experiment_id = ? ORDER BY number",
        [experiment.id],
    )
    labels = [v.label for v in experiment.variants]
    shares = [orjson.loads(stage["shares"]) for stage in found]
    return [
        (stage["number"], tuple(share[label] for label in labels))
        for stage, share in zip(found, shares, strict=True)
    ]


def _sums(
    experiment: Experiment,
    stages: Iterable[tuple[int, tuple[float, ...]]],
    cells: Mapping[tuple[int, int], Sums],
) -> ExperimentSums:
    def cell(side: int, stage: int) -> Cell:
        known = cells.get((side, stage), Sums())
        return Cell(known.people, {RATING: known} if known.people else {})

    sides = range(len(experiment.variants))
    return ExperimentSums(
        variants=tuple(VariantSums(v.label, v.described) for v in experiment.variants),
        stages=tuple(
            StageSums(shares, tuple(cell(side, number) for side in sides))
            for number, shares in stages
        ),
    )
