"""Trials."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """The trainings that a run compares before it settles on a recipe."""
    run(
        db,
        """
        CREATE TABLE trials (
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,                        -- from 1
            changes TEXT NOT NULL,                          -- JSON, of the recipe
            fold INTEGER,
            state TEXT NOT NULL DEFAULT 'waiting'
                CHECK (state IN ('waiting', 'running', 'done', 'failed')),
            attempts INTEGER NOT NULL DEFAULT 0,
            total_steps INTEGER NOT NULL DEFAULT 0,
            best_step INTEGER,
            train_loss REAL,
            loss REAL,
            f1 REAL,
            seconds REAL,
            error TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (run_id, number)
        ) STRICT
        """,
    )
