"""Preferences."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """Runs that learn from thumbs, and from which."""
    run(
        db,
        """
        ALTER TABLE runs ADD COLUMN learns TEXT NOT NULL DEFAULT 'pairs'
            CHECK (learns IN ('pairs', 'preferences'));

        CREATE TABLE run_judgements (
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            reply_id TEXT NOT NULL REFERENCES replies (id) ON DELETE CASCADE,
            liked INTEGER NOT NULL,
            PRIMARY KEY (run_id, reply_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX run_judgements_by_reply ON run_judgements (reply_id)
        """,
    )
