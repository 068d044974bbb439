"""Whether a person's words may be learned, and the format of a person's id.

If a person opts out (`data/privacy/opt_out.py`), nothing that they write becomes a pair. A person's
id is `slack:T1/U2`, `http:KEY/USER` or `web:SESSION`, here and everywhere else
(`data/people/identities.py` lists the kinds).
"""

import re

from sqlite_utils import Database

from data.people.identities import normalised, person_named
from data.store.db import row
from data.store.errors import Invalid

PERSON = re.compile(r"(slack|http|web|cli|user):[^\x00-\x1f\x7f]{1,300}")


def check(person: str) -> str:
    """Return `person` in its one spelling, if it has the format of a person's id. Raises Invalid
    otherwise."""
    found = normalised(person)
    if not PERSON.fullmatch(found):
        raise Invalid(
            f"{person[:60]!r} is not the id of a person. An id is slack:TEAM/USER, user:NAME, "
            "http:KEY/USER or web:SESSION."
        )
    return found


def check_person(db: Database, identity: str) -> str:
    """Return the person whom an id means, if it has the format of a person's id. Raises Invalid
    otherwise."""
    return person_named(db, check(identity))


def may_learn(db: Database, *people: str) -> bool:
    """Whether the words of all these people may become a pair."""
    marks = ", ".join("?" * len(people))
    return row(db, f"SELECT 1 FROM opt_outs WHERE person IN ({marks})", list(people)) is None
