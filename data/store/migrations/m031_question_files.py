"""The files that were sent with a question in Slack."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        -- JSON: [{"name": ..., "kind": ..., "size": ..., "url": ...}]
        ALTER TABLE questions ADD COLUMN files TEXT NOT NULL DEFAULT '[]'
        """,
    )
