"""Stand ins."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """Answers by stand-ins are few, and counted whenever somebody looks at the state."""
    run(
        db,
        "CREATE INDEX replies_by_stand_in ON replies (created_at) WHERE instead_of IS NOT NULL",
    )
