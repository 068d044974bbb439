"""Retraining after an erasure."""

from sqlite_utils import Database


def upgrade(db: Database) -> None:
    """Whether to replace the adapters that learned the words."""
    db.execute("ALTER TABLE forgettings ADD COLUMN retrain INTEGER NOT NULL DEFAULT 0")
