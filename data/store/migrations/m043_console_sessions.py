"""Sign-in links and sessions of the console."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        CREATE TABLE sign_in_links (
            id INTEGER PRIMARY KEY,
            sha256 TEXT NOT NULL UNIQUE,              -- of its secret
            person TEXT NOT NULL,                     -- who signs in with it: user:ann
            role TEXT NOT NULL CHECK (role IN ('member', 'reviewer', 'admin')),
            created_by TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            used_at INTEGER,
            revoked_at INTEGER
        ) STRICT;
        CREATE INDEX sign_in_links_by_person ON sign_in_links (person);
        CREATE TABLE console_sessions (
            id INTEGER PRIMARY KEY,
            sha256 TEXT NOT NULL UNIQUE,              -- of the cookie
            person TEXT NOT NULL,
            browser TEXT NOT NULL,                    -- as people know it: Firefox on Linux
            created_at INTEGER NOT NULL,
            used_at INTEGER NOT NULL,                 -- to the hour
            expires_at INTEGER NOT NULL,              -- at the latest
            revoked_at INTEGER
        ) STRICT;
        CREATE INDEX console_sessions_by_person ON console_sessions (person)
        """,
    )
