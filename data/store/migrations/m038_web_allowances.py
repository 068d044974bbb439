"""Web allowances."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """How many questions an address may still ask in the web chat, for all bot processes."""
    run(
        db,
        """
        CREATE TABLE web_allowances (
            address TEXT PRIMARY KEY,                 -- a keyed digest
            remaining REAL NOT NULL,
            as_of INTEGER NOT NULL                    -- since when it has been growing
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX web_allowances_by_time ON web_allowances (as_of)
        """,
    )
