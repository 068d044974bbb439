"""How each answer came about, the pairs that it rests on, and unanswered questions."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        -- '' stands for the usual sentence, and for the setting [answers] mode
        ALTER TABLE domains ADD COLUMN refusal TEXT NOT NULL DEFAULT '';
        ALTER TABLE domains ADD COLUMN answer_mode TEXT NOT NULL DEFAULT ''
            CHECK (answer_mode IN ('', 'grounded', 'quote', 'adapter'));
        -- NULL stands for the setting [answers] decline_below
        ALTER TABLE domains ADD COLUMN decline_below REAL;
        -- who answers what the bot cannot: T1/C1 or slack:T1/U1
        ALTER TABLE domains ADD COLUMN people TEXT NOT NULL DEFAULT '';

        ALTER TABLE replies ADD COLUMN outcome TEXT NOT NULL DEFAULT 'generated'
            CHECK (outcome IN ('generated', 'quoted', 'declined', 'small_talk'));
        -- of the question and the best pair (NULL: nothing was searched)
        ALTER TABLE replies ADD COLUMN similarity REAL;
        -- of the references in the prompt (0: none)
        ALTER TABLE replies ADD COLUMN layout INTEGER NOT NULL DEFAULT 0;

        CREATE TABLE reply_sources (
            reply_id TEXT NOT NULL REFERENCES replies (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,                      -- from 0, the best first
            pair_id INTEGER NOT NULL REFERENCES pairs (id) ON DELETE CASCADE,
            score REAL NOT NULL,
            similarity REAL NOT NULL,
            PRIMARY KEY (reply_id, position)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX reply_sources_by_pair ON reply_sources (pair_id);

        CREATE TABLE unanswered (
            reply_id TEXT PRIMARY KEY REFERENCES replies (id) ON DELETE CASCADE,
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
            state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'answered', 'dismissed')),
            pair_id INTEGER REFERENCES pairs (id) ON DELETE SET NULL,  -- the answer it got
            closed_by TEXT NOT NULL DEFAULT '',
            closed_at INTEGER,
            person_asked_at INTEGER,                        -- when the asker wanted a person
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX unanswered_open ON unanswered (domain_id, created_at) WHERE state = 'open'
        """,
    )
