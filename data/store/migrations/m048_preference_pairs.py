"""Preference pairs: which answer is preferred to one that a run learns from."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        ALTER TABLE run_judgements ADD COLUMN pair_id INTEGER REFERENCES pairs (id);
        CREATE INDEX run_judgements_by_pair ON run_judgements (pair_id) WHERE pair_id IS NOT NULL;
        ALTER TABLE run_judged_answers ADD COLUMN pair_id INTEGER REFERENCES pairs (id);
        CREATE INDEX run_judged_answers_by_pair ON run_judged_answers (pair_id)
            WHERE pair_id IS NOT NULL;
        -- a liked answer of a file, in place of a pair. It stays when its author is erased
        ALTER TABLE run_judged_answers ADD COLUMN chosen_id INTEGER;
        CREATE INDEX run_judged_answers_by_chosen ON run_judged_answers (chosen_id)
            WHERE chosen_id IS NOT NULL
        """,
    )
