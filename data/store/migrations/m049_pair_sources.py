"""An index of where pairs come from, so that a page lists the sources without reading all pairs."""

from sqlite_utils import Database


def upgrade(db: Database) -> None:
    db.execute("CREATE INDEX pairs_by_source ON pairs (domain_id, source)")
