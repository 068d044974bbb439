"""Privacy."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """Whose words a pair holds, who does not want to be learned from, who is being forgotten, and
    the marks that people leave on answers."""
    run(
        db,
        """
        ALTER TABLE pairs ADD COLUMN forgotten_at INTEGER;  -- its words are gone: a dataset's hole

        -- people whose words are in a pair, beside its author and who asked for its reply
        CREATE TABLE pair_words (
            person TEXT NOT NULL,
            pair_id INTEGER NOT NULL REFERENCES pairs (id) ON DELETE CASCADE,
            PRIMARY KEY (person, pair_id)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE opt_outs (                             -- of learning
            person TEXT PRIMARY KEY,
            at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE forgettings (                          -- that have not come to their end
            receipt TEXT PRIMARY KEY,
            person TEXT NOT NULL UNIQUE,
            pseudonym TEXT NOT NULL,                        -- under which counts stay
            actor TEXT NOT NULL,                            -- of the audit entry
            counts TEXT NOT NULL DEFAULT '{}',              -- JSON: what was removed so far
            adapters TEXT NOT NULL DEFAULT '[]',            -- JSON: trained on what was removed
            asked_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        -- buttons and emoji under an answer: the newest that stands is the person's thumb
        CREATE TABLE marks (
            reply_id TEXT NOT NULL REFERENCES replies (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            mark TEXT NOT NULL,                             -- button, +1, -1::skin-tone-2, ...
            up INTEGER NOT NULL,
            standing INTEGER NOT NULL,                      -- 0: taken back
            at INTEGER NOT NULL,                            -- when the person did it, not we heard
            PRIMARY KEY (reply_id, person, mark)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX marks_by_person ON marks (person)
        """,
    )
