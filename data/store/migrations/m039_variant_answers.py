"""Whether the answers of a variant rest on approved pairs, where it differs from its domain."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        -- '': as the domain answers, adapter: without references and without a search
        ALTER TABLE variants ADD COLUMN answer_mode TEXT NOT NULL DEFAULT ''
            CHECK (answer_mode IN ('', 'grounded', 'adapter'))
        """,
    )
