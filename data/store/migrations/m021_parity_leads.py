"""Parity leads."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """By how much an engine preferred another token than the trainer, wherever it did."""
    run(db, "ALTER TABLE placements ADD COLUMN parity_leads TEXT NOT NULL DEFAULT '[]'")
