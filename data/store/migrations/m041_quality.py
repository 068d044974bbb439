"""Fixes of the quality checks, masked words of pending pairs, and words that are not masked."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        -- what `pairs check --fix` did to each pair, so that it can be undone
        CREATE TABLE quality_fixes (
            id INTEGER PRIMARY KEY,
            batch INTEGER NOT NULL,                 -- the first fix of the same command
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            pair_id INTEGER NOT NULL REFERENCES pairs (id) ON DELETE CASCADE,
            check_name TEXT NOT NULL,
            fix TEXT NOT NULL CHECK (fix IN ('mask', 'quarantine', 'merge')),
            status_before TEXT NOT NULL,
            new_pair_id INTEGER REFERENCES pairs (id) ON DELETE SET NULL,  -- with masked words
            at INTEGER NOT NULL,
            undone_at INTEGER
        ) STRICT;
        CREATE INDEX quality_fixes_by_domain ON quality_fixes (domain_id, batch);
        CREATE INDEX quality_fixes_by_pair ON quality_fixes (pair_id);
        CREATE INDEX quality_fixes_by_new_pair ON quality_fixes (new_pair_id);

        -- contact data and secrets of a pair that waits for review, until it is decided on
        CREATE TABLE masked_words (
            pair_id INTEGER NOT NULL REFERENCES pairs (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,                -- the order of the masks
            field TEXT NOT NULL,                    -- prompt, response, or turn N
            kind TEXT NOT NULL,                     -- such as 'phone number'
            original TEXT NOT NULL,
            PRIMARY KEY (pair_id, number)
        ) STRICT, WITHOUT ROWID;

        -- contact data that everybody may see in the pairs of a domain
        CREATE TABLE allowed_words (
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            words TEXT NOT NULL,
            PRIMARY KEY (domain_id, words)
        ) STRICT, WITHOUT ROWID
        """,
    )
