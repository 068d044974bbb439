"""Holes."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """Pairs whose words are gone are few, and asked for whenever somebody looks at the state."""
    run(
        db,
        "CREATE INDEX pairs_forgotten ON pairs (domain_id, status) WHERE forgotten_at IS NOT NULL",
    )
