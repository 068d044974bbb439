"""Erased people."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """The pseudonyms under which the figures of erased people stay. They are keyed digests, by
    which somebody who comes back is recognised; those of earlier erasures were random."""
    run(
        db,
        """
        CREATE TABLE erased_people (
            pseudonym TEXT PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE
        ) STRICT, WITHOUT ROWID
        """,
    )
