"""Runs and adapters."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        CREATE TABLE adapters (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            version INTEGER NOT NULL CHECK (version > 0),
            sha256 TEXT NOT NULL,
            path TEXT NOT NULL,                             -- relative to the home folder
            base_model TEXT NOT NULL,
            rank INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL,
            recipe TEXT NOT NULL,                           -- JSON
            scores TEXT NOT NULL DEFAULT '{}',              -- JSON
            dataset_id INTEGER REFERENCES datasets (id),
            parent_id INTEGER REFERENCES adapters (id),
            run_id INTEGER,
            state TEXT NOT NULL CHECK (state IN ('candidate', 'live', 'retired', 'rejected')),
            state_reason TEXT NOT NULL DEFAULT '',
            created_at INTEGER NOT NULL,
            live_at INTEGER,                                -- when it last became live
            UNIQUE (domain_id, version)
        ) STRICT;
        CREATE UNIQUE INDEX one_live_adapter ON adapters (domain_id) WHERE state = 'live';

        CREATE TABLE promotions (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            adapter_id INTEGER REFERENCES adapters (id),    -- NULL: the bare base
            previous_id INTEGER REFERENCES adapters (id),
            kind TEXT NOT NULL CHECK (kind IN ('promote', 'rollback')),
            actor TEXT NOT NULL,
            at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX promotions_by_domain ON promotions (domain_id, id);

        CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            kind TEXT NOT NULL CHECK (kind IN ('full', 'incremental')),
            state TEXT NOT NULL
                CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
            recipe TEXT NOT NULL DEFAULT '{}',              -- JSON: what was asked to differ
            dataset_id INTEGER REFERENCES datasets (id),
            parent_id INTEGER REFERENCES adapters (id),
            adapter_id INTEGER REFERENCES adapters (id),    -- the result
            requested_by TEXT NOT NULL,
            cancel_requested INTEGER NOT NULL DEFAULT 0,
            attempts INTEGER NOT NULL DEFAULT 0,
            worker TEXT NOT NULL DEFAULT '',
            phase TEXT NOT NULL DEFAULT 'waiting for a worker',
            step INTEGER NOT NULL DEFAULT 0,
            total_steps INTEGER NOT NULL DEFAULT 0,
            loss REAL,
            validation_loss REAL,
            eta_s REAL,
            error TEXT NOT NULL DEFAULT '',
            queued_at INTEGER NOT NULL,
            started_at INTEGER,
            heartbeat_at INTEGER,
            finished_at INTEGER
        ) STRICT;
        CREATE UNIQUE INDEX one_open_run ON runs (domain_id) WHERE state IN ('queued', 'running');
        CREATE INDEX runs_by_state ON runs (state, id);

        CREATE TABLE run_points (
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            step INTEGER NOT NULL,
            loss REAL,
            validation_loss REAL,
            learning_rate REAL,
            at INTEGER NOT NULL,
            PRIMARY KEY (run_id, step)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE run_watchers (
            run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            team TEXT NOT NULL,
            channel TEXT NOT NULL,
            ts TEXT NOT NULL,
            finished INTEGER NOT NULL DEFAULT 0,            -- the final state was shown
            PRIMARY KEY (run_id, channel, ts)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE replicas (
            name TEXT PRIMARY KEY,
            url TEXT NOT NULL,
            base_model TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('starting', 'ready', 'down')),
            detail TEXT NOT NULL DEFAULT '',
            generation INTEGER NOT NULL DEFAULT 0,          -- counts the engine's starts
            heartbeat_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE placements (
            replica TEXT NOT NULL REFERENCES replicas (name) ON DELETE CASCADE,
            adapter_id INTEGER NOT NULL REFERENCES adapters (id) ON DELETE CASCADE,
            state TEXT NOT NULL CHECK (state IN ('loaded', 'failed')),
            attempts INTEGER NOT NULL DEFAULT 0,
            load_ms REAL,
            error TEXT NOT NULL DEFAULT '',
            updated_at INTEGER NOT NULL,
            PRIMARY KEY (replica, adapter_id)
        ) STRICT, WITHOUT ROWID
        """,
    )
