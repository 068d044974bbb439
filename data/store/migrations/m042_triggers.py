"""Triggers."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """When a domain retrains by itself, and which runs were queued that way."""
    run(
        db,
        """
        CREATE TABLE trigger_rules (                        -- one row a domain, once it is set
            domain_id INTEGER PRIMARY KEY REFERENCES domains (id),
            schedule TEXT NOT NULL DEFAULT '',              -- cron, or '' for none
            time_zone TEXT NOT NULL DEFAULT 'UTC',
            new_pairs INTEGER,                              -- 0: off, NULL: the settings' number
            rating_fall INTEGER NOT NULL DEFAULT 0,
            topic_questions INTEGER NOT NULL DEFAULT 0,     -- 0: off
            new_base INTEGER NOT NULL DEFAULT 0,
            quiet_hours TEXT NOT NULL DEFAULT '',           -- as 08:00-18:00
            cool_down_hours REAL NOT NULL DEFAULT 0,
            weekly_runs INTEGER NOT NULL DEFAULT 0,         -- 0: no limit
            weekly_hours REAL NOT NULL DEFAULT 0,
            follow_up TEXT NOT NULL DEFAULT 'ask'
                CHECK (follow_up IN ('ask', 'compare', 'promote')),
            armed_at INTEGER NOT NULL                       -- later times of the schedule are due
        ) STRICT;

        CREATE TABLE triggered_runs (
            run_id INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            trigger TEXT NOT NULL,                          -- schedule, pairs, ...
            key TEXT NOT NULL,                              -- the occasion, which fires once
            why TEXT NOT NULL,                              -- a sentence
            followed_up TEXT NOT NULL DEFAULT '',           -- what was done with the adapter
            at INTEGER NOT NULL,
            UNIQUE (domain_id, trigger, key)
        ) STRICT
        """,
    )
