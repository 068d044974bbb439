"""Removals."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """An adapter whose files are to be deleted, as soon as no engine holds it."""
    run(db, "ALTER TABLE adapters ADD COLUMN removal_asked_at INTEGER")
