"""Deeds roles and reviews."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        CREATE TABLE deeds (
            id INTEGER PRIMARY KEY,
            team TEXT NOT NULL,
            key TEXT NOT NULL,                              -- Slack's id of the command or click
            channel TEXT NOT NULL,
            thread_ts TEXT NOT NULL,
            user TEXT NOT NULL,
            command TEXT NOT NULL,                          -- as it was typed
            how TEXT NOT NULL CHECK (how IN ('private', 'thread', 'channel')),
            response_url TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'told')),
            said TEXT NOT NULL DEFAULT '[]',                -- JSON: the outcome, as blocks
            run_id INTEGER REFERENCES runs (id) ON DELETE SET NULL,  -- that the message follows
            begun INTEGER NOT NULL DEFAULT 0,               -- the outcome may be posted
            created_at INTEGER NOT NULL,
            touched_at INTEGER NOT NULL DEFAULT 0,
            UNIQUE (team, key)
        ) STRICT;
        CREATE INDEX deeds_unfinished ON deeds (team, id) WHERE state <> 'told';
        CREATE INDEX deeds_told ON deeds (touched_at) WHERE state = 'told';

        CREATE TABLE roles (
            person TEXT PRIMARY KEY,
            role TEXT NOT NULL CHECK (role IN ('reviewer', 'admin')),
            granted_by TEXT NOT NULL,
            granted_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE review_leases (
            pair_id INTEGER PRIMARY KEY REFERENCES pairs (id) ON DELETE CASCADE,
            reviewer TEXT NOT NULL,
            until INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX review_leases_by_reviewer ON review_leases (reviewer);

        ALTER TABLE pairs ADD COLUMN review_reason TEXT NOT NULL DEFAULT '';
        CREATE INDEX pairs_reviewed ON pairs (reviewed_at) WHERE reviewed_at IS NOT NULL;

        -- the loss curve was uploaded below the message, or may have been
        ALTER TABLE run_watchers ADD COLUMN curve INTEGER NOT NULL DEFAULT 0
        """,
    )
