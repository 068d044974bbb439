"""People of comparisons."""

from sqlite_utils import Database


def upgrade(db: Database) -> None:
    """Comparisons that have ended show the people that they were decided by: all of them. Running
    ones read verified people from now on."""
    db.execute(
        "UPDATE experiments SET terms = json_set(terms, '$.people', 'everyone') "
        "WHERE state = 'stopped'"
    )
