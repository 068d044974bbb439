"""The figures of a person in a domain, under their id or under the pseudonym of an erased person.

Comparisons count people, so a person's exposures, ratings, answer times and quarantine stay when
their words are erased (`data/privacy/erasure.py`). They stay under a pseudonym: a keyed digest of
the domain and the id, which nobody can compute without the secret of the store. When the person
comes back to the domain, `recognise` finds the digest and gives them their figures back. So they
are the same person on the same side of a comparison, with the same quarantine; forgetting and
voting again adds no vote.

A pseudonym is of one domain, because a quarantine and the adjustment by earlier ratings (CUPED) are
of a domain, too. The same person has unrelated pseudonyms in two domains.
"""

from typing import Any

from sqlite_utils import Database

from data.store.db import row
from data.store.secret import keyed_digest

# The rows of a person, as a condition with :person and :domain
OF_EXPERIMENT = (
    "person = :person AND experiment_id IN (SELECT id FROM experiments WHERE domain_id = :domain)"
)
OF_VARIANT = (
    "person = :person AND variant_id IN (SELECT v.id FROM variants v "
    "JOIN experiments e ON e.id = v.experiment_id WHERE e.domain_id = :domain)"
)
OF_DOMAIN = "person = :person AND domain_id = :domain"
OF_REPLY = "person = :person AND reply_id IN (SELECT id FROM replies WHERE domain_id = :domain)"
COUNTED_IN = ("feedback", "assignments", "testers", "voters")


def pseudonym(db: Database, domain_id: int, person: str) -> str:
    """The name under which the person's figures in a domain stay when they are erased."""
    return f"forgotten:{keyed_digest(db, f'person in domain {domain_id}', person)}"


def names(db: Database, domain_id: int, person: str) -> tuple[str, str]:
    """The person's id, and the pseudonym that they have if they were erased."""
    return person, pseudonym(db, domain_id, person)


def erase(db: Database, domain_id: int, person: str) -> None:
    """Give the person's figures in a domain their pseudonym. Safe to repeat, also if the person
    came back in between."""
    rename(db, domain_id, person, pseudonym(db, domain_id, person))
    make_recognisable(db, domain_id, person)


def make_recognisable(db: Database, domain_id: int, person: str) -> None:
    """Note that figures in the domain have the person's pseudonym, so that `recognise` finds them.
    An erasure that takes several transactions notes it with the first, so that somebody who comes
    back in between is no second person."""
    hidden = pseudonym(db, domain_id, person)
    has_some = " UNION ".join(
        f"SELECT 1 FROM {table} WHERE person = :hidden" for table in ("replies", *COUNTED_IN)
    )
    db.execute(
        "INSERT OR IGNORE INTO erased_people (pseudonym, domain_id) SELECT :hidden, :domain "
        f"WHERE EXISTS ({has_some})",
        {"hidden": hidden, "domain": domain_id},
    )


def recognise(db: Database, domain_id: int, person: str) -> bool:
    """Give a person who comes back to a domain after an erasure their figures back. Returns False
    if there are none."""
    hidden = pseudonym(db, domain_id, person)
    if row(db, "SELECT 1 FROM erased_people WHERE pseudonym = ?", [hidden]) is None:
        return False
    db.execute("DELETE FROM erased_people WHERE pseudonym = ?", [hidden])
    rename(db, domain_id, hidden, person)
    return True


def rename(db: Database, domain_id: int, person: str, name: str) -> None:
    """Make all figures of `person` in the domain those of `name`. If both have some, they become
    those of one person: the first exposure, the sum of the ratings, and a quarantine of either."""
    bound: dict[str, Any] = {"person": person, "name": name, "domain": domain_id}
    _move(db, "replies", OF_DOMAIN, bound)
    db.execute(  # of two current judgements of one answer, that of `name` stays
        f"UPDATE OR IGNORE feedback SET person = :name WHERE {OF_REPLY}", bound
    )
    db.execute(f"UPDATE feedback SET live = 0, person = :name WHERE {OF_REPLY}", bound)
    _move(db, "pairings", OF_EXPERIMENT, bound)
    _move(db, "testers", OF_EXPERIMENT, bound)
    _first_exposure(db, bound)
    for table, where, key in (
        ("ratings", OF_VARIANT, "variant_id"),
        ("tallies", OF_DOMAIN, "domain_id, adapter_id, variant_id"),
    ):
        db.execute(
            f"INSERT INTO {table} ({key}, person, up, down) "
            f"SELECT {key}, :name, up, down FROM {table} WHERE {where} "
            "ON CONFLICT DO UPDATE SET up = up + excluded.up, down = down + excluded.down",
            bound,
        )
        db.execute(f"DELETE FROM {table} WHERE {where}", bound)
    db.execute(
        "DELETE FROM voters WHERE person = :name AND domain_id = :domain AND EXISTS "
        f"(SELECT 1 FROM voters WHERE {OF_DOMAIN} AND state = 'quarantined')",
        bound,
    )
    _move(db, "voters", OF_DOMAIN, bound)
    _count_no_quarantined(db, bound)


def _move(db: Database, table: str, where: str, bound: dict[str, Any]) -> None:
    """Rename the rows; of two rows with one key, that of `name` stays."""
    db.execute(f"UPDATE OR IGNORE {table} SET person = :name WHERE {where}", bound)
    db.execute(f"DELETE FROM {table} WHERE {where}", bound)


def _first_exposure(db: Database, bound: dict[str, Any]) -> None:
    db.execute(
        "DELETE FROM assignments AS late WHERE person = :name AND EXISTS (SELECT 1 "
        "FROM assignments first WHERE first.experiment_id = late.experiment_id "
        "AND first.person = :person AND first.at < late.at) AND late.experiment_id IN "
        "(SELECT id FROM experiments WHERE domain_id = :domain)",
        bound,
    )
    _move(db, "assignments", OF_EXPERIMENT, bound)
    db.execute(
        "UPDATE assignments SET tester = 1 WHERE person = :name AND experiment_id IN "
        "(SELECT experiment_id FROM testers WHERE person = :name)",
        bound,
    )


def _count_no_quarantined(db: Database, bound: dict[str, Any]) -> None:
    """If `name` is quarantined now because `person` was, the ratings of `name` count no longer."""
    quarantined = (
        "EXISTS (SELECT 1 FROM voters v WHERE v.person = :name AND v.domain_id = :domain "
        "AND v.state = 'quarantined')"
    )
    of_name = {**bound, "person": bound["name"]}
    db.execute(
        f"UPDATE feedback SET counts = 0 WHERE {OF_REPLY} AND live = 1 AND counts = 1 "
        f"AND {quarantined}",
        of_name,
    )
    db.execute(f"DELETE FROM ratings WHERE {OF_VARIANT} AND {quarantined}", of_name)
