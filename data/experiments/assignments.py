"""Assignments: which variant a person is on.

A salted hash gives it, so it needs no look-up and is the same in every process. A person's first
exposure is written down with the reply, and wins from then on: across threads, restarts and ramps.
"""

import hashlib
from dataclasses import dataclass

from sqlite_utils import Database

from data.experiments.experiments import Experiment, Variant
from data.store.clock import now_us
from data.store.db import Row, row, rows

BUCKETS = 10_000


def bucket(salt: str, person: str) -> int:
    """0..9999, uniform over people and independent between experiments."""
    return _draws(salt, person)[0]


def variant_for(experiment: Experiment, person: str) -> Variant:
    """The variant that the hash gives a person, before any exposure is known.

    One draw says whether it is a candidate, another one which: so a growing share of the
    candidates only ever moves people from the control to a candidate."""
    place, which = _draws(experiment.salt, person)
    total = experiment.candidate_share
    if place >= round(total * BUCKETS):
        return experiment.variants[0]
    edge = 0.0
    for variant in experiment.candidates:
        edge += variant.share / total * BUCKETS
        if which < round(edge):
            return variant
    return experiment.candidates[-1]


def _draws(salt: str, person: str) -> tuple[int, int]:
    digest = hashlib.sha256(f"{salt}:{person}".encode("utf-8", "surrogatepass")).digest()
    first, second = digest[:8], digest[8:16]
    return int.from_bytes(first, "big") % BUCKETS, int.from_bytes(second, "big") % BUCKETS


@dataclass(frozen=True)
class VariantAssignment:
    """Where a person stands in an experiment."""

    variant: Variant
    settled: bool  # they have seen it, or chose it: nothing moves them any more


def place(db: Database, experiment: Experiment, person: str) -> VariantAssignment | None:
    """The variant a tester chose, else the one they saw first, else what the hash gives. None:
    held out, or left out for an earlier experiment's sake."""
    known = rows(db, KNOWN, {"experiment": experiment.id, "person": person})[0]
    by_id = {v.id: v for v in experiment.variants}
    settled = by_id.get(known["chosen"]) or by_id.get(known["seen"])
    if settled is not None:
        return VariantAssignment(settled, settled=True)
    if known["left_out"] or _held_out(known, person):
        return None
    return VariantAssignment(variant_for(experiment, person), settled=False)


KNOWN = """
SELECT (SELECT variant_id FROM testers WHERE experiment_id = e.id AND person = :person) AS chosen,
       (SELECT variant_id FROM assignments WHERE experiment_id = e.id AND person = :person) AS seen,
       EXISTS (SELECT 1 FROM assignments a JOIN variants v ON v.id = a.variant_id
               WHERE a.experiment_id = e.excludes AND a.person = :person AND v.label <> 'A')
           AS left_out,
       p.holdout, p.holdout_salt
FROM experiments e LEFT JOIN experiment_policies p ON p.domain_id = e.domain_id
WHERE e.id = :experiment
"""


def _held_out(known: Row, person: str) -> bool:
    share = known["holdout"] or 0.0
    return share > 0 and bucket(known["holdout_salt"], person) < round(share * BUCKETS)


def expose(
    db: Database, experiment_id: int, person: str, variant_id: int, stage: int | None = None
) -> None:
    """Write a person's first exposure down, in the transaction that opens the reply. `stage` is
    the one whose shares gave the variant, by default the present one."""
    db.execute(
        "INSERT OR IGNORE INTO assignments (experiment_id, person, variant_id, stage, tester, at) "
        "VALUES (:experiment, :person, :variant, coalesce(:stage, "
        "(SELECT max(number) FROM stages WHERE experiment_id = :experiment), 1), "
        "EXISTS (SELECT 1 FROM testers WHERE experiment_id = :experiment AND person = :person), "
        ":now)",
        {
            "experiment": experiment_id,
            "person": person,
            "variant": variant_id,
            "stage": stage,
            "now": now_us(),
        },
    )


def may_see(db: Database, experiment_id: int, person: str, variant_id: int) -> bool:
    """Whether a reply of that variant may be opened for the person: the experiment still runs, and
    they have not been given another variant meanwhile."""
    found = row(
        db,
        "SELECT e.state, coalesce(t.variant_id, a.variant_id) AS variant_id FROM experiments e "
        "LEFT JOIN testers t ON t.experiment_id = e.id AND t.person = :person "
        "LEFT JOIN assignments a ON a.experiment_id = e.id AND a.person = :person "
        "WHERE e.id = :experiment",
        {"experiment": experiment_id, "person": person},
    )
    if found is None or found["state"] != "running":
        return False
    return found["variant_id"] in (None, variant_id)
