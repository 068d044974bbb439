"""Evaluating."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """An adapter is registered before it is evaluated, because the engine that will serve it gives
    the answers. A CHECK can only be changed in the schema's text, as
    https://sqlite.org/lang_altertable.html describes; no row is touched."""
    db.execute("PRAGMA writable_schema = ON")
    db.execute(
        "UPDATE sqlite_schema SET sql = replace(sql, 'IN (''candidate'', ''live''', "
        "'IN (''evaluating'', ''candidate'', ''live''') WHERE type = 'table' AND name = 'adapters'"
    )
    db.execute("PRAGMA writable_schema = RESET")
    run(
        db,
        """
        -- JSON as `canaries`: whole greedy answers of the trainer
        ALTER TABLE adapters ADD COLUMN probes TEXT NOT NULL DEFAULT '[]';
        -- share of the probes' tokens on which an engine agrees, NULL: not asked
        ALTER TABLE placements ADD COLUMN parity REAL
        """,
    )
