"""The clock of leases."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """`lease_clock` has one row: the machine's last start, and what is added to the time since.
    `replies.opened_at` is by that clock; 0 is long ago."""
    run(
        db,
        """
        CREATE TABLE lease_clock (boot TEXT PRIMARY KEY, offset_us INTEGER NOT NULL)
            STRICT, WITHOUT ROWID;
        ALTER TABLE replies ADD COLUMN opened_at INTEGER NOT NULL DEFAULT 0
        """,
    )
