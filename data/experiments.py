"""Experiments: A/B comparisons of adapters within one domain, and who is on which variant.

The unit is the person. Assignment is a salted hash, so it needs no look-up and is the same in
every process; a person's first exposure is written down with the reply, and wins from then on.
Variants are laid out from the top of the scale, the control 'A' last, so growing a candidate's
share only ever moves people from the control to the candidate.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

import orjson
from sqlite_utils import Database

from data import adapters, audit
from data.adapters import Adapter
from data.clock import now_us
from data.db import Row, insert, row, rows, value
from data.domains import Domain
from data.errors import Conflict, Invalid, NotFound

BUCKETS = 10_000


@dataclass(frozen=True)
class Variant:
    id: int
    label: str  # "A" is the control
    adapter_id: int | None  # None: the bare base
    adapter: str  # `helpdesk@3`, or `base`
    share: float  # of the people, 0..1
    system_prompt: str | None
    sampling: dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    id: int
    domain_id: int
    domain: str
    salt: str
    state: str  # running, stopped
    started_by: str
    started_at: int
    stopped_at: int | None
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class VariantCounts:
    """Exact sums for one variant. `ratings` holds each rated person's mean in 0..1."""

    variant: Variant
    people: int  # were answered at least once
    replies: int
    failed: int
    up: int
    down: int
    ratings: tuple[float, ...]


def start(
    db: Database,
    domain: Domain,
    control: Adapter | None,
    candidate: Adapter | None,
    actor: str,
    share: float = 0.5,
) -> Experiment:
    """Begin a comparison; None stands for the bare base. `share` is the candidate's.

    Raises Invalid for two equal sides or a share outside 0..1, Conflict when one is running."""
    if (control and control.id) == (candidate and candidate.id):
        raise Invalid("A comparison needs two different adapters.")
    for adapter in (control, candidate):
        if adapter is not None and adapter.domain_id != domain.id:
            raise Invalid(f"{adapter.name} is not an adapter of {domain.name}.")
        if adapter is not None:
            adapters.refuse_unsettled(adapter)
            adapters.refuse_removed(adapters.by_id(db, adapter.id))
    if not 0 < share < 1:
        raise Invalid("The candidate's share must lie between 0 and 1 (0.5 is half of the people).")
    current = running(db, domain.id)
    if current is not None:
        names = " and ".join(v.adapter for v in current.variants)
        raise Conflict(f"{domain.name} is comparing {names} already. Stop that comparison first.")
    experiment_id = insert(
        db,
        "experiments",
        domain_id=domain.id,
        salt=secrets.token_hex(16),
        state="running",
        started_by=actor,
        started_at=now_us(),
    )
    for label, adapter, part in (("A", control, 1 - share), ("B", candidate, share)):
        insert(
            db,
            "variants",
            experiment_id=experiment_id,
            label=label,
            adapter_id=adapter.id if adapter else None,
            share=part,
        )
    started = get(db, experiment_id)
    sides = [v.adapter for v in started.variants]
    audit.record(db, actor, "ab start", f"experiment {experiment_id}", variants=sides)
    return started


def stop(db: Database, experiment: Experiment, actor: str) -> Experiment:
    """End a comparison; everyone gets the live adapter from the next message on."""
    if experiment.state != "running":
        raise Conflict(f"Experiment {experiment.id} has been stopped already.")
    db.execute(
        "UPDATE experiments SET state = 'stopped', stopped_by = ?, stopped_at = ? WHERE id = ?",
        [actor, now_us(), experiment.id],
    )
    audit.record(db, actor, "ab stop", f"experiment {experiment.id}")
    return get(db, experiment.id)


SELECT = """
SELECT e.id, e.domain_id, d.name AS domain, e.salt, e.state, e.started_by, e.started_at,
       e.stopped_at
FROM experiments e JOIN domains d ON d.id = e.domain_id
"""


def get(db: Database, experiment_id: int) -> Experiment:
    """Raises NotFound."""
    found = row(db, SELECT + "WHERE e.id = ?", [experiment_id])
    if found is None:
        raise NotFound(f"There is no experiment {experiment_id}.")
    return _experiment(db, found)


def running(db: Database, domain_id: int) -> Experiment | None:
    """The domain's running comparison, or None."""
    found = row(db, SELECT + "WHERE e.domain_id = ? AND e.state = 'running'", [domain_id])
    return None if found is None else _experiment(db, found)


def latest(db: Database, domain: Domain) -> Experiment:
    """The running comparison, else the last one. Raises NotFound."""
    found = row(db, SELECT + "WHERE e.domain_id = ? ORDER BY e.id DESC", [domain.id])
    if found is None:
        raise NotFound(f"{domain.name} has had no comparison yet: `understudy ab start A B`.")
    return _experiment(db, found)


def every(db: Database, domain: Domain | None = None) -> list[Experiment]:
    """All comparisons, newest first."""
    where, params = ("WHERE e.domain_id = ? ", [domain.id]) if domain else ("", [])
    found = rows(db, SELECT + where + "ORDER BY e.id DESC", params)
    return [_experiment(db, r) for r in found]


def bucket(salt: str, person: str) -> int:
    """0..9999, uniform over people and independent between experiments."""
    digest = hashlib.sha256(f"{salt}:{person}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def variant_for(experiment: Experiment, person: str) -> Variant:
    """The variant that the hash gives a person, before any exposure is known."""
    place = bucket(experiment.salt, person)
    edge = 0.0
    for variant in experiment.variants[1:]:
        edge += variant.share * BUCKETS
        if place < round(edge):
            return variant
    return experiment.variants[0]


def assigned(db: Database, experiment: Experiment, person: str) -> Variant:
    """The variant a person is on: the one they saw first, else what the hash gives."""
    first = value(
        db,
        "SELECT variant_id FROM assignments WHERE experiment_id = ? AND person = ?",
        [experiment.id, person],
    )
    by_id = {v.id: v for v in experiment.variants}
    return by_id[first] if first in by_id else variant_for(experiment, person)


def expose(db: Database, experiment_id: int, person: str, variant_id: int) -> None:
    """Write a person's first exposure down, in the transaction that opens the reply."""
    db.execute(
        "INSERT OR IGNORE INTO assignments (experiment_id, person, variant_id, at) "
        "VALUES (?, ?, ?, ?)",
        [experiment_id, person, variant_id, now_us()],
    )


def unexpose(db: Database, experiment_id: int, person: str, variant_id: int) -> None:
    """Take an exposure back when nothing that the person was told came from the variant."""
    db.execute(
        "DELETE FROM assignments WHERE experiment_id = ? AND person = ? AND variant_id = ? "
        "AND NOT EXISTS (SELECT 1 FROM replies WHERE person = ? AND variant_id = ?)",
        [experiment_id, person, variant_id, person, variant_id],
    )


def counts(db: Database, experiment: Experiment) -> list[VariantCounts]:
    """What was collected so far, per variant, the control first."""
    return [_counts(db, variant) for variant in experiment.variants]


def _counts(db: Database, variant: Variant) -> VariantCounts:
    sql = (
        "SELECT count(*) AS replies, coalesce(sum(status = 'failed'), 0) AS failed "
        "FROM replies WHERE variant_id = ?"
    )
    answers = rows(db, sql, [variant.id])[0]
    sql = "SELECT up, down FROM ratings WHERE variant_id = ? AND up + down > 0 ORDER BY person"
    rated = rows(db, sql, [variant.id])
    people = value(db, "SELECT count(*) FROM assignments WHERE variant_id = ?", [variant.id])
    return VariantCounts(
        variant=variant,
        people=int(people),
        replies=answers["replies"],
        failed=answers["failed"],
        up=sum(r["up"] for r in rated),
        down=sum(r["down"] for r in rated),
        ratings=tuple(r["up"] / (r["up"] + r["down"]) for r in rated),
    )


def _experiment(db: Database, found: Row) -> Experiment:
    members = rows(
        db,
        "SELECT v.id, v.label, v.adapter_id, v.share, v.system_prompt, v.sampling, "
        "coalesce(d.name || '@' || a.version, 'base') AS adapter "
        "FROM variants v LEFT JOIN adapters a ON a.id = v.adapter_id "
        "LEFT JOIN domains d ON d.id = a.domain_id WHERE v.experiment_id = ? ORDER BY v.label",
        [found["id"]],
    )
    variants = tuple(Variant(**{**m, "sampling": orjson.loads(m["sampling"])}) for m in members)
    return Experiment(**found, variants=variants)
