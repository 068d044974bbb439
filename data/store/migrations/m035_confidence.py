"""The confidence of each answer, and from which confidence on a domain's questions are answered."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        -- the probability that the best pair answers (NULL: not known)
        ALTER TABLE replies ADD COLUMN confidence REAL;
        -- 1: the answer was given although that is not much more than the least for an answer
        ALTER TABLE replies ADD COLUMN uncertain INTEGER NOT NULL DEFAULT 0
            CHECK (uncertain IN (0, 1));

        CREATE TABLE domain_calibrations (
            domain_id INTEGER PRIMARY KEY REFERENCES domains (id) ON DELETE CASCADE,
            encoder TEXT NOT NULL,          -- digest of the encoder that it was measured with
            answer_from REAL NOT NULL,      -- the least confidence of an answer
            low REAL NOT NULL,              -- interval of answer_from
            high REAL NOT NULL,
            questions INTEGER NOT NULL,     -- golden questions that it was measured on
            created_at INTEGER NOT NULL
        ) STRICT
        """,
    )
