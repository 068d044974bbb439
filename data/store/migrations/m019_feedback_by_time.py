"""Feedback by time."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """What people thought this week is read whenever somebody looks at the Home tab."""
    run(db, "CREATE INDEX feedback_by_time ON feedback (created_at) WHERE live = 1")
