"""Which pairs a threshold was measured on."""

from sqlite_utils import Database


def upgrade(db: Database) -> None:
    """The revision of the domain's pairs (`search_changes`); NULL: not known."""
    db.execute("ALTER TABLE domain_calibrations ADD COLUMN revision INTEGER")
