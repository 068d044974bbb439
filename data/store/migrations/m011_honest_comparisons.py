"""Honest comparisons."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """More kinds of judgement, votes that count and votes that do not, stages, decisions."""
    run(
        db,
        """
        CREATE TABLE new_feedback (
            id INTEGER PRIMARY KEY,
            reply_id TEXT NOT NULL REFERENCES replies (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            kind TEXT NOT NULL
                CHECK (kind IN ('thumb', 'reason', 'correction', 'pairwise', 'follow_up')),
            -- thumb: 1 up, 0 down. follow_up: 1 it helped. pairwise: 1 the first of the pairing is
            -- better, 0.5 a tie, 0 the second, and reply_id is the first
            value REAL,
            text TEXT NOT NULL DEFAULT '',
            pair_id INTEGER REFERENCES pairs (id),          -- the pair a correction became
            live INTEGER NOT NULL DEFAULT 1,
            counts INTEGER NOT NULL DEFAULT 1,              -- 0: stored and shown, not counted
            over_cap INTEGER NOT NULL DEFAULT 0,            -- beyond the person's share of the day
            created_at INTEGER NOT NULL,
            superseded_at INTEGER
        ) STRICT;
        INSERT INTO new_feedback
            (id, reply_id, person, kind, value, text, pair_id, live, created_at, superseded_at)
            SELECT id, reply_id, person, kind, value, text, pair_id, live, created_at, superseded_at
            FROM feedback;
        DROP TABLE feedback;
        ALTER TABLE new_feedback RENAME TO feedback;
        CREATE UNIQUE INDEX one_live_judgement ON feedback (reply_id, person, kind)
            WHERE live = 1;
        CREATE INDEX feedback_by_person ON feedback (person, created_at);

        -- how each person voted on the answers of each adapter and variant: live thumbs within the
        -- daily cap, those of quarantined voters too
        CREATE TABLE tallies (
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            adapter_id INTEGER NOT NULL,                    -- 0: the bare base
            variant_id INTEGER NOT NULL,                    -- 0: in no comparison
            person TEXT NOT NULL,
            up INTEGER NOT NULL DEFAULT 0,
            down INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (domain_id, adapter_id, variant_id, person)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX tallies_by_person ON tallies (person);
        INSERT INTO tallies
            SELECT r.domain_id, coalesce(r.adapter_id, 0), coalesce(r.variant_id, 0), f.person,
                   sum(f.value = 1), sum(f.value = 0)
            FROM feedback f JOIN replies r ON r.id = f.reply_id
            WHERE f.kind = 'thumb' AND f.live = 1 GROUP BY 1, 2, 3, 4;

        CREATE TABLE voters (
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('quarantined', 'released')),
            rule TEXT NOT NULL,                             -- same_button, outlier, by_hand
            why TEXT NOT NULL,                              -- a sentence, with the numbers
            changed_by TEXT NOT NULL,                       -- a person, or '' for the test itself
            changed_at INTEGER NOT NULL,
            PRIMARY KEY (domain_id, person)
        ) STRICT, WITHOUT ROWID;

        ALTER TABLE experiments ADD COLUMN pairwise REAL NOT NULL DEFAULT 0;  -- share of questions
        ALTER TABLE experiments ADD COLUMN terms TEXT NOT NULL DEFAULT '{}';  -- JSON, as it began
        -- the least share of a variant when shares follow the results, 0: they do not
        ALTER TABLE experiments ADD COLUMN adaptive REAL NOT NULL DEFAULT 0;
        -- the experiment whose candidates' people are left out of this one
        ALTER TABLE experiments ADD COLUMN excludes INTEGER REFERENCES experiments (id);

        CREATE TABLE stages (
            experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,                        -- from 1
            shares TEXT NOT NULL,                           -- JSON: label -> share of the people
            started_by TEXT NOT NULL,
            started_at INTEGER NOT NULL,
            PRIMARY KEY (experiment_id, number)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO stages
            SELECT e.id, 1, json_group_object(v.label, v.share), e.started_by, e.started_at
            FROM experiments e JOIN variants v ON v.experiment_id = e.id GROUP BY e.id;

        ALTER TABLE assignments ADD COLUMN stage INTEGER NOT NULL DEFAULT 1;  -- of the exposure
        ALTER TABLE assignments ADD COLUMN tester INTEGER NOT NULL DEFAULT 0; -- in no statistic

        CREATE TABLE testers (
            experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            variant_id INTEGER NOT NULL REFERENCES variants (id) ON DELETE CASCADE,
            PRIMARY KEY (experiment_id, person)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE pairings (
            id INTEGER PRIMARY KEY,
            experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            first_reply TEXT NOT NULL UNIQUE REFERENCES replies (id) ON DELETE CASCADE,
            second_reply TEXT NOT NULL UNIQUE REFERENCES replies (id) ON DELETE CASCADE,
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX pairings_by_experiment ON pairings (experiment_id);
        CREATE INDEX pairings_by_person ON pairings (person);

        CREATE TABLE experiment_policies (
            domain_id INTEGER PRIMARY KEY REFERENCES domains (id) ON DELETE CASCADE,
            policy TEXT NOT NULL DEFAULT 'advise'
                CHECK (policy IN ('advise', 'auto-promote', 'auto-roll-back', 'auto')),
            holdout REAL NOT NULL DEFAULT 0 CHECK (holdout BETWEEN 0 AND 0.5),
            holdout_salt TEXT NOT NULL
        ) STRICT;

        CREATE TABLE decisions (
            id INTEGER PRIMARY KEY,
            experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
            at INTEGER NOT NULL,
            policy TEXT NOT NULL,
            state TEXT NOT NULL,                            -- of the results
            variant TEXT NOT NULL DEFAULT '',               -- the label it is about
            action TEXT NOT NULL CHECK (action IN ('hold', 'advise', 'promote', 'roll back')),
            sentence TEXT NOT NULL,
            evidence TEXT NOT NULL,                         -- JSON: all that the results came from
            terms TEXT NOT NULL,                            -- JSON
            results TEXT NOT NULL                           -- JSON
        ) STRICT;
        CREATE INDEX decisions_by_experiment ON decisions (experiment_id, id)
        """,
    )
