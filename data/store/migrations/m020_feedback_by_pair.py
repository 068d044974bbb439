"""Feedback by pair."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """Corrections are asked for by their pair when it is edited, taken back or forgotten."""
    run(db, "CREATE INDEX feedback_by_pair ON feedback (pair_id) WHERE pair_id IS NOT NULL")
