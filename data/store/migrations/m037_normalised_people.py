"""Normalised people."""

import unicodedata
from collections.abc import Iterator
from typing import Any

from sqlite_utils import Database

# Tables and their column with the id of a person. Those of ONE_ROW have one row of a person and a
# thing: of two, the row of the normalised id stays.
ANY_NUMBER = (
    ("replies", "person"),
    ("conversations", "person"),
    ("messages", "person"),
    ("pairings", "person"),
    ("forgettings", "person"),
    ("joined_identities", "person"),
    ("pairs", "author"),
    ("review_leases", "reviewer"),
)
ONE_ROW = (
    ("testers", "person"),
    ("assignments", "person"),
    ("voters", "person"),
    ("pair_words", "person"),
    ("opt_outs", "person"),
    ("domain_choices", "person"),
    ("marks", "person"),
    ("roles", "person"),
    ("joined_identities", "identity"),
)
PREFIXES = ("slack", "user", "cli", "http", "web")
SUMS = (("ratings", "variant_id"), ("tallies", "domain_id, adapter_id, variant_id"))


def upgrade(db: Database) -> None:
    """People have one spelling. Ids from before then are normalised, and two that differed only in
    spelling become one person: with the first exposure to a comparison, the ratings of both, and
    the quarantine of either. The ids of erased people were digests already, and stay."""
    for person in list(_people(db)):
        name = _normalised(person)
        if name != person:
            _rename(db, {"person": person, "name": name})


def _people(db: Database) -> Iterator[str]:
    columns = [*ANY_NUMBER, *ONE_ROW, ("feedback", "person")]
    columns += [(table, "person") for table, _ in SUMS]
    every = " UNION ".join(f"SELECT {column} FROM {table}" for table, column in columns)
    for (person,) in db.execute(every):
        if person is not None and person.partition(":")[0] in PREFIXES:
            yield person


def _rename(db: Database, bound: dict[str, Any]) -> None:
    db.execute(  # the later exposure of the two
        "DELETE FROM assignments AS late WHERE person IN (:person, :name) AND EXISTS (SELECT 1 "
        "FROM assignments first WHERE first.experiment_id = late.experiment_id "
        "AND first.person IN (:person, :name) AND first.person <> late.person "
        "AND (first.at, first.person) < (late.at, late.person))",
        bound,
    )
    db.execute(
        "DELETE FROM voters AS other WHERE person = :name AND EXISTS (SELECT 1 FROM voters v "
        "WHERE v.domain_id = other.domain_id AND v.person = :person AND v.state = 'quarantined')",
        bound,
    )
    for table, column in ANY_NUMBER:
        db.execute(f"UPDATE {table} SET {column} = :name WHERE {column} = :person", bound)
    for table, column in ONE_ROW:
        db.execute(f"UPDATE OR IGNORE {table} SET {column} = :name WHERE {column} = :person", bound)
        db.execute(f"DELETE FROM {table} WHERE {column} = :person", bound)
    db.execute("UPDATE OR IGNORE feedback SET person = :name WHERE person = :person", bound)
    db.execute("UPDATE feedback SET live = 0, person = :name WHERE person = :person", bound)
    for table, key in SUMS:
        db.execute(
            f"INSERT INTO {table} ({key}, person, up, down) "
            f"SELECT {key}, :name, up, down FROM {table} WHERE person = :person "
            "ON CONFLICT DO UPDATE SET up = up + excluded.up, down = down + excluded.down",
            bound,
        )
        db.execute(f"DELETE FROM {table} WHERE person = :person", bound)
    db.execute(
        "UPDATE assignments SET tester = 1 WHERE person = :name AND experiment_id IN "
        "(SELECT experiment_id FROM testers WHERE person = :name)",
        bound,
    )
    if bound["name"].startswith("http:") and "/" not in bound["name"]:  # the name was blank
        db.execute("UPDATE assignments SET kind = 'key' WHERE person = :name", bound)


def _normalised(person: str) -> str:
    """As `data/people/identities.py` did when this was written."""
    prefix, _, rest = person.partition(":")
    if prefix == "http":
        key, _, name = rest.partition("/")
        name = unicodedata.normalize("NFC", name).strip()
        name = _folded(name) if "@" in name else name
        return f"http:{key.strip()}/{name}" if name else f"http:{key.strip()}"
    rest = unicodedata.normalize("NFC", rest).strip()
    if prefix == "slack":
        return f"slack:{rest.upper()}"
    return f"user:{_folded(rest)}" if prefix == "user" else f"{prefix}:{rest}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
