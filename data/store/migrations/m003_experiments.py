"""Experiments."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        CREATE TABLE experiments (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            salt TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('running', 'stopped')),
            started_by TEXT NOT NULL,
            started_at INTEGER NOT NULL,
            stopped_by TEXT NOT NULL DEFAULT '',
            stopped_at INTEGER
        ) STRICT;
        CREATE UNIQUE INDEX one_running_experiment ON experiments (domain_id)
            WHERE state = 'running';

        CREATE TABLE variants (
            id INTEGER PRIMARY KEY,
            experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
            label TEXT NOT NULL,                            -- 'A' is the control
            adapter_id INTEGER REFERENCES adapters (id),    -- NULL: the bare base
            share REAL NOT NULL CHECK (share > 0 AND share < 1),
            system_prompt TEXT,                             -- NULL: the domain's own
            sampling TEXT NOT NULL DEFAULT '{}',            -- JSON overrides
            UNIQUE (experiment_id, label)
        ) STRICT;

        CREATE TABLE assignments (
            experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            variant_id INTEGER NOT NULL REFERENCES variants (id) ON DELETE CASCADE,
            at INTEGER NOT NULL,
            PRIMARY KEY (experiment_id, person)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX assignments_by_variant ON assignments (variant_id);

        CREATE TABLE ratings (
            variant_id INTEGER NOT NULL REFERENCES variants (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            up INTEGER NOT NULL DEFAULT 0,                  -- live thumbs up
            down INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (variant_id, person)
        ) STRICT, WITHOUT ROWID
        """,
    )
