"""Pairings: two blinded answers to one question, shown side by side in random order.

The person who asked says which is better (`feedback.prefer`). One answer comes from the variant
that the person is on, the other from another variant. Only the preference between them counts.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import insert, row
from data.store.errors import NotFound


@dataclass(frozen=True)
class Pairing:
    id: int
    experiment_id: int
    person: str  # who asked
    first_reply: str  # in the order in which they are shown
    second_reply: str


def open_pairing(
    db: Database, experiment_id: int, person: str, first_reply: str, second_reply: str
) -> Pairing:
    """Record which two answers are shown together, once both replies are open."""
    insert(
        db,
        "pairings",
        experiment_id=experiment_id,
        person=person,
        first_reply=first_reply,
        second_reply=second_reply,
        created_at=now_us(),
    )
    return of_reply(db, first_reply)


def of_reply(db: Database, reply_id: str) -> Pairing:
    """The pairing that an answer belongs to. Raises NotFound if it was shown alone."""
    found = row(
        db,
        "SELECT id, experiment_id, person, first_reply, second_reply FROM pairings "
        "WHERE first_reply = ? OR second_reply = ?",
        [reply_id, reply_id],
    )
    if found is None:
        raise NotFound("That answer was shown alone; there is nothing to compare it with.")
    return Pairing(**found)
