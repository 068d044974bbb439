"""Testers: people who choose their variant and are left out of the experiment's statistics.

A tester stays out of the statistics for the rest of the experiment, because they know which variant
they saw.
"""

from sqlite_utils import Database

from data.experiments.experiments import Experiment, Variant
from data.people import consent
from data.store import audit
from data.store.db import rows, value
from data.store.errors import Invalid


def set_variant(
    db: Database, experiment: Experiment, person: str, label: str, actor: str
) -> Variant:
    """Make a person a tester of the variant with that label. Raises Invalid."""
    person = consent.check_person(db, person)
    variant = next((v for v in experiment.variants if v.label == label.upper()), None)
    if variant is None:
        labels = ", ".join(v.label for v in experiment.variants)
        raise Invalid(f"There is no variant {label!r} (there are: {labels}).")
    db.execute(
        "INSERT INTO testers (experiment_id, person, variant_id) VALUES (?, ?, ?) "
        "ON CONFLICT (experiment_id, person) DO UPDATE SET variant_id = excluded.variant_id",
        [experiment.id, person, variant.id],
    )
    db.execute(
        "UPDATE assignments SET tester = 1 WHERE experiment_id = ? AND person = ?",
        [experiment.id, person],
    )
    audit.record(db, actor, "ab tester", f"experiment {experiment.id}", who=person, variant=label)
    return variant


def list_testers(db: Database, experiment: Experiment) -> dict[str, str]:
    """The testers of an experiment: person -> label of their variant."""
    found = rows(
        db,
        "SELECT t.person, v.label FROM testers t JOIN variants v ON v.id = t.variant_id "
        "WHERE t.experiment_id = ? ORDER BY t.person",
        [experiment.id],
    )
    return {r["person"]: r["label"] for r in found}


def is_tester(db: Database, experiment: Experiment, person: str) -> bool:
    """Whether the person is a tester of the experiment."""
    sql = "SELECT 1 FROM testers WHERE experiment_id = ? AND person = ?"
    return value(db, sql, [experiment.id, person]) is not None
