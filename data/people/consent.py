"""Whether what a person writes may be learned from, and what names a person.

Opting out keeps their words from becoming pairs. A person is named as everywhere: `slack:T1/U2`,
`http:KEY/USER`, `web:SESSION`.
"""

import re

from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import changed, row
from data.store.errors import Invalid

PERSON = re.compile(r"(slack|http|web|cli):[^\x00-\x1f\x7f]{1,300}")
OPTED_OUT = "withdrawn, as its author opted out of learning"


def check(person: str) -> str:
    """`person`, if that can be one. Raises Invalid."""
    if not PERSON.fullmatch(person):
        raise Invalid(
            f"{person[:60]!r} names no person. People are named by where they ask from: "
            "slack:TEAM/USER, http:KEY/USER or web:SESSION."
        )
    return person


def may_learn(db: Database, *people: str) -> bool:
    """Whether words of all these people may become a pair."""
    marks = ", ".join("?" * len(people))
    return row(db, f"SELECT 1 FROM opt_outs WHERE person IN ({marks})", list(people)) is None


def opt_out(db: Database, person: str) -> int:
    """Learn nothing from this person any more; pairs of theirs that wait for review are withdrawn.
    Returns how many."""
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
    """What the person writes from now on may be learned again."""
    db.execute("DELETE FROM opt_outs WHERE person = ?", [person])
