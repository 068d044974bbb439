"""Opting out of learning, and the format of a person's id.

If a person opts out, nothing that they write becomes a pair. A person's id is `slack:T1/U2`,
`http:KEY/USER` or `web:SESSION`, here and everywhere else.
"""

import re

from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import changed, row
from data.store.errors import Invalid

PERSON = re.compile(r"(slack|http|web|cli):[^\x00-\x1f\x7f]{1,300}")
OPTED_OUT = "withdrawn, as its author opted out of learning"


def check(person: str) -> str:
    """Return `person` if it has the format of a person's id. Raises Invalid otherwise."""
    if not PERSON.fullmatch(person):
        raise Invalid(
            f"{person[:60]!r} is not the id of a person. An id is slack:TEAM/USER, http:KEY/USER "
            "or web:SESSION."
        )
    return person


def may_learn(db: Database, *people: str) -> bool:
    """Whether the words of all these people may become a pair."""
    marks = ", ".join("?" * len(people))
    return row(db, f"SELECT 1 FROM opt_outs WHERE person IN ({marks})", list(people)) is None


def opt_out(db: Database, person: str) -> int:
    """Stop learning from this person and withdraw their pairs that are waiting for review. Returns
    the number of withdrawn pairs."""
    now = now_us()
    db.execute("INSERT OR IGNORE INTO opt_outs (person, at) VALUES (?, ?)", [person, now])
    return changed(
        db,
        "UPDATE pairs SET status = 'rejected', reviewed_by = ?, reviewed_at = ? "
        "WHERE status = 'pending' AND (author = ? "
        "OR source_ref IN (SELECT id FROM replies WHERE person = ?) "
        "OR id IN (SELECT pair_id FROM pair_words WHERE person = ?))",
        [OPTED_OUT, now, person, person, person],
    )


def opt_in(db: Database, person: str) -> None:
    """Allow learning from what the person writes from now on."""
    db.execute("DELETE FROM opt_outs WHERE person = ?", [person])
