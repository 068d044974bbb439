"""Broken off."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """What was said of answers that the engine broke off never counted; now it is written down."""
    run(
        db,
        """
        UPDATE feedback SET counts = 0
            WHERE reply_id IN (SELECT id FROM replies WHERE status = 'partial');
        CREATE INDEX feedback_over_cap ON feedback (person) WHERE over_cap = 1
        """,
    )
