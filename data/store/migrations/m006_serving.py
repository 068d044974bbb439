"""Serving."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """What replicas and placements say is of the engines' present lives: both begin anew."""
    run(
        db,
        """
        DROP TABLE placements;
        DROP TABLE replicas;
        CREATE TABLE replicas (
            name TEXT PRIMARY KEY,
            url TEXT NOT NULL,
            base_model TEXT NOT NULL,
            precision TEXT NOT NULL DEFAULT '',             -- of the base's weights: bfloat16, nf4
            state TEXT NOT NULL
                CHECK (state IN ('starting', 'ready', 'draining', 'asleep', 'down')),
            detail TEXT NOT NULL DEFAULT '',
            generation INTEGER NOT NULL DEFAULT 0,          -- counts the engine's starts
            max_loras INTEGER NOT NULL DEFAULT 0,           -- as it was started, 0: unknown
            max_cpu_loras INTEGER NOT NULL DEFAULT 0,
            max_rank INTEGER NOT NULL DEFAULT 0,
            restart_asked_at INTEGER,                       -- NULL: nobody asks for a restart
            restart_asked_by TEXT NOT NULL DEFAULT '',
            heartbeat_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- A row is also a lease on the adapter's files: it is there from before an engine is told
        -- to load them until after it has dropped them.
        CREATE TABLE placements (
            replica TEXT NOT NULL REFERENCES replicas (name) ON DELETE CASCADE,
            adapter_id INTEGER NOT NULL REFERENCES adapters (id) ON DELETE CASCADE,
            state TEXT NOT NULL CHECK (state IN ('loading', 'loaded', 'draining', 'failed')),
            attempts INTEGER NOT NULL DEFAULT 0,
            load_ms REAL,
            agreement REAL,                                 -- of its canaries, NULL: it has none
            error TEXT NOT NULL DEFAULT '',
            updated_at INTEGER NOT NULL,
            PRIMARY KEY (replica, adapter_id)
        ) STRICT, WITHOUT ROWID;

        -- JSON: [{pair_id, prompt, answer, logprob}], tokens that training's end recorded
        ALTER TABLE adapters ADD COLUMN canaries TEXT NOT NULL DEFAULT '[]';
        ALTER TABLE adapters ADD COLUMN removed_at INTEGER;          -- when its files were deleted

        ALTER TABLE replies ADD COLUMN replica TEXT NOT NULL DEFAULT '';
        ALTER TABLE replies ADD COLUMN precision TEXT NOT NULL DEFAULT '';  -- the replica's
        -- the adapter that should have answered and could not
        ALTER TABLE replies ADD COLUMN instead_of INTEGER REFERENCES adapters (id);
        CREATE INDEX replies_streaming ON replies (replica, adapter_id) WHERE status = 'streaming'
        """,
    )
