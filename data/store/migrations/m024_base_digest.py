"""The base that an adapter belongs to, by its content."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """Digests of the parts of the base, as a JSON object. Those of earlier adapters are not known:
    for them the name of the base counts, as before."""
    run(db, "ALTER TABLE adapters ADD COLUMN base_digest TEXT NOT NULL DEFAULT '{}'")
