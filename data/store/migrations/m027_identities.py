"""Identities."""

import secrets

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """How people are known: whom a key stands for, identities that belong to one person, and the
    kind and source of each identity in a comparison."""
    run(
        db,
        """
        ALTER TABLE api_keys ADD COLUMN people TEXT NOT NULL DEFAULT 'unverified'
            CHECK (people IN ('unverified', 'one', 'vouched'));

        CREATE TABLE joined_identities (                    -- other ids of a person
            identity TEXT PRIMARY KEY,
            person TEXT NOT NULL,
            joined_by TEXT NOT NULL,
            joined_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX joined_by_person ON joined_identities (person);

        CREATE TABLE store_secret (                         -- one row: the key of digests
            id INTEGER PRIMARY KEY CHECK (id = 1),
            secret BLOB NOT NULL
        ) STRICT;

        ALTER TABLE assignments ADD COLUMN kind TEXT NOT NULL DEFAULT '';    -- of the identity
        -- what vouches for an identity that is not verified: key:3, or address: and a digest
        ALTER TABLE assignments ADD COLUMN source TEXT NOT NULL DEFAULT '';
        UPDATE assignments SET kind = CASE
            WHEN person LIKE 'slack:%' THEN 'slack'
            WHEN person LIKE 'cli:%' THEN 'operator'
            WHEN person LIKE 'web:%' THEN 'web_session'
            WHEN person LIKE 'http:%/%' THEN 'key_user'
            WHEN person LIKE 'http:%' THEN 'key'
            ELSE '' END;
        UPDATE assignments SET source = 'key:' || substr(person, 6,
            iif(kind = 'key', length(person), instr(person, '/') - 6))
            WHERE kind IN ('key', 'key_user')
        """,
    )
    db.execute("INSERT INTO store_secret (id, secret) VALUES (1, ?)", [secrets.token_bytes(32)])
