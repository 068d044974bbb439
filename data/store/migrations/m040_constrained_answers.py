"""Whether the caller constrained the words of an answer."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        -- 1: by a form such as JSON, or by a bias of its tokens, so it is no plain answer
        ALTER TABLE replies ADD COLUMN constrained INTEGER NOT NULL DEFAULT 0
        """,
    )
