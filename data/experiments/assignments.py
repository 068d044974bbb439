"""Assignments of people to variants.

A salted hash gives the variant, so the assignment needs no look-up and is the same in every
process. A person's first exposure is stored with the reply. From then on the stored variant
applies, across threads, restarts and ramps.
"""

import hashlib
from dataclasses import dataclass

from sqlite_utils import Database

from data.experiments.experiments import Experiment, Variant
from data.people import figures
from data.people.identities import kind_of, source_of
from data.store.clock import now_us
from data.store.db import Row, row, rows, value

BUCKETS = 10_000


def bucket(salt: str, person: str) -> int:
    """0..9999, uniform over people and independent between experiments."""
    return _draws(salt, person)[0]


def variant_for(experiment: Experiment, person: str) -> Variant:
    """The variant that the hash gives a person who has not been exposed yet.

    One hash value decides between the control and the candidates, another one between the
    candidates. So if the candidates' share grows, people only move from the control to a
    candidate."""
    position, choice = _draws(experiment.salt, person)
    total = experiment.candidate_share
    if position >= round(total * BUCKETS):
        return experiment.variants[0]
    edge = 0.0
    for variant in experiment.candidates:
        edge += variant.share / total * BUCKETS
        if choice < round(edge):
            return variant
    return experiment.candidates[-1]


def _draws(salt: str, person: str) -> tuple[int, int]:
    digest = hashlib.sha256(f"{salt}:{person}".encode("utf-8", "surrogatepass")).digest()
    first, second = digest[:8], digest[8:16]
    return int.from_bytes(first, "big") % BUCKETS, int.from_bytes(second, "big") % BUCKETS


@dataclass(frozen=True)
class VariantAssignment:
    """The variant of a person in an experiment."""

    variant: Variant
    settled: bool  # the person has seen it or chose it, so it no longer changes


def current_assignment(
    db: Database, experiment: Experiment, person: str
) -> VariantAssignment | None:
    """The variant that the person chose as a tester, or else saw first, or else gets from the hash.
    None if they are held out, or excluded because of an earlier experiment."""
    _, erased = figures.names(db, experiment.domain_id, person)
    bound = {"experiment": experiment.id, "person": person, "erased": erased}
    known = rows(db, KNOWN, bound)[0]
    by_id = {v.id: v for v in experiment.variants}
    settled = by_id.get(known["chosen"]) or by_id.get(known["seen"])
    if settled is not None:
        return VariantAssignment(settled, settled=True)
    if known["left_out"] or _held_out(known, person):
        return None
    return VariantAssignment(variant_for(experiment, person), settled=False)


KNOWN = """
SELECT (SELECT variant_id FROM testers
        WHERE experiment_id = e.id AND person IN (:person, :erased)) AS chosen,
       (SELECT variant_id FROM assignments
        WHERE experiment_id = e.id AND person IN (:person, :erased)) AS seen,
       EXISTS (SELECT 1 FROM assignments a JOIN variants v ON v.id = a.variant_id
               WHERE a.experiment_id = e.excludes AND a.person IN (:person, :erased)
               AND v.label <> 'A')
           AS left_out,
       p.holdout, p.holdout_salt
FROM experiments e LEFT JOIN experiment_policies p ON p.domain_id = e.domain_id
WHERE e.id = :experiment
"""


def _held_out(known: Row, person: str) -> bool:
    share = known["holdout"] or 0.0
    return share > 0 and bucket(known["holdout_salt"], person) < round(share * BUCKETS)


def expose(
    db: Database,
    experiment_id: int,
    person: str,
    variant_id: int,
    stage: int | None = None,
    address: str = "",
) -> None:
    """Store a person's first exposure, in the transaction that opens the reply. `stage` is the
    stage whose shares gave the variant, by default the current one. `address` is the IP address of
    a browser; its digest becomes the source of the identity. A person who comes back after an
    erasure keeps their exposure."""
    domain_id = value(db, "SELECT domain_id FROM experiments WHERE id = ?", [experiment_id])
    figures.recognise(db, domain_id, person)
    db.execute(
        "INSERT OR IGNORE INTO assignments "
        "(experiment_id, person, variant_id, stage, tester, kind, source, at) "
        "VALUES (:experiment, :person, :variant, coalesce(:stage, "
        "(SELECT max(number) FROM stages WHERE experiment_id = :experiment), 1), "
        "EXISTS (SELECT 1 FROM testers WHERE experiment_id = :experiment AND person = :person), "
        ":kind, :source, :now)",
        {
            "experiment": experiment_id,
            "person": person,
            "variant": variant_id,
            "stage": stage,
            "kind": kind_of(person) or "",
            "source": source_of(db, person, address),
            "now": now_us(),
        },
    )


def take_back(db: Database, domain_id: int, person: str, since: int, thread: str) -> None:
    """Remove a person's exposure of `since` or later (microseconds), unless another reply of the
    domain needs it. A second blinded answer, which stands beside `thread`, needs none."""
    db.execute(
        "DELETE FROM assignments WHERE person = :person AND at >= :since "
        "AND experiment_id IN (SELECT id FROM experiments WHERE domain_id = :domain) "
        "AND NOT EXISTS (SELECT 1 FROM replies r JOIN conversations c ON c.id = r.conversation_id "
        "WHERE r.person = :person AND r.domain_id = :domain AND r.created_at >= :since "
        "AND substr(c.thread, 1, length(:beside)) <> :beside)",
        {"person": person, "since": since, "domain": domain_id, "beside": f"{thread}/beside/"},
    )


def may_see(db: Database, experiment_id: int, person: str, variant_id: int) -> bool:
    """Whether a reply of that variant may be opened for the person: the experiment is still
    running, and the person has not been assigned another variant in the meantime."""
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
