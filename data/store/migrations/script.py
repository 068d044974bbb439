"""Several SQL statements of a migration, run one by one inside its transaction."""

from sqlite_utils import Database


def run(db: Database, script: str) -> None:
    """Run `;`-separated statements inside the transaction that is open."""
    for statement in script.split(";"):
        if statement.strip():
            db.execute(statement)
