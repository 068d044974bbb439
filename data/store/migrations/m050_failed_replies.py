"""Failed replies by time."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """The alerts ask for those of the last hour, and would read all replies for them."""
    run(db, "CREATE INDEX replies_failed ON replies (created_at) WHERE status = 'failed'")
