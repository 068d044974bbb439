"""The clock of leases."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        CREATE TABLE lease_clock (                          -- one row: the machine's last start
            boot TEXT PRIMARY KEY,
            offset_us INTEGER NOT NULL                      -- added to the time since that start
        ) STRICT, WITHOUT ROWID
        """,
    )
