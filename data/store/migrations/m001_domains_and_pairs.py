"""Domains and pairs."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        CREATE TABLE domains (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            title TEXT NOT NULL,
            system_prompt TEXT NOT NULL DEFAULT '',
            suggested_prompts TEXT NOT NULL DEFAULT '[]',   -- JSON list of questions
            validation_share REAL NOT NULL DEFAULT 0.1 CHECK (validation_share BETWEEN 0 AND 0.5),
            is_default INTEGER NOT NULL DEFAULT 0,
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX one_default_domain ON domains (is_default) WHERE is_default = 1;

        CREATE TABLE domain_channels (
            team TEXT NOT NULL,
            channel TEXT NOT NULL,
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            PRIMARY KEY (team, channel)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE pairs (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            prompt TEXT NOT NULL,
            response TEXT NOT NULL,
            system TEXT NOT NULL DEFAULT '',                -- '' means: the domain's own
            turns TEXT NOT NULL DEFAULT '[]',               -- earlier turns, [{role, content}]
            fact TEXT NOT NULL,                             -- paraphrases of one fact share it
            split TEXT NOT NULL DEFAULT 'auto'
                CHECK (split IN ('auto', 'train', 'validation', 'golden')),
            source TEXT NOT NULL,                           -- import, correction, teach, docs, ...
            source_ref TEXT NOT NULL DEFAULT '',            -- file:line, reply id, ...
            author TEXT NOT NULL DEFAULT '',                -- a person, or ''
            status TEXT NOT NULL
                CHECK (status IN ('pending', 'approved', 'rejected', 'quarantined')),
            fingerprint TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            reviewed_at INTEGER,
            reviewed_by TEXT NOT NULL DEFAULT ''
        ) STRICT;
        CREATE UNIQUE INDEX pairs_once ON pairs (domain_id, fingerprint);
        CREATE INDEX pairs_by_status ON pairs (domain_id, status, id);
        CREATE INDEX pairs_by_author ON pairs (author) WHERE author <> '';

        CREATE TABLE datasets (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            sha256 TEXT NOT NULL,
            train INTEGER NOT NULL,
            validation INTEGER NOT NULL,
            probe INTEGER NOT NULL,
            golden INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            UNIQUE (domain_id, sha256)
        ) STRICT;

        CREATE TABLE dataset_pairs (
            dataset_id INTEGER NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
            pair_id INTEGER NOT NULL REFERENCES pairs (id),
            split TEXT NOT NULL CHECK (split IN ('train', 'validation', 'probe', 'golden')),
            PRIMARY KEY (dataset_id, pair_id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX dataset_pairs_by_pair ON dataset_pairs (pair_id)
        """,
    )
