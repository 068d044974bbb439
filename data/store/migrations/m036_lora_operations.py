"""How an engine computes adapters, and under which name it is asked for the bare base."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        -- why it is slow with adapters, as a clause ('' when it is not)
        ALTER TABLE replicas ADD COLUMN lora_problem TEXT NOT NULL DEFAULT '';
        -- the model name for the bare base: 'base' where a check at its start allows it
        ALTER TABLE replicas ADD COLUMN base_name TEXT NOT NULL DEFAULT 'base@0'
        """,
    )
