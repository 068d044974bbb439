"""Probe loss."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """Held-out phrasings are what training is judged by where there are some: their loss is shown,
    too."""
    run(db, "ALTER TABLE run_points ADD COLUMN probe_loss REAL")
