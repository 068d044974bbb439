"""Opting out of learning, and opting in again. `data/people/consent.py` says who has opted out."""

from sqlite_utils import Database

from data.pairs import review_status
from data.store.clock import now_us


def opt_out(db: Database, person: str) -> int:
    """Stop learning from this person and withdraw their pairs that are waiting for review. Returns
    the number of withdrawn pairs."""
    db.execute("INSERT OR IGNORE INTO opt_outs (person, at) VALUES (?, ?)", [person, now_us()])
    return review_status.withdraw_pending(db, person, "opted out")


def opt_in(db: Database, person: str) -> None:
    """Allow learning from what the person writes from now on."""
    db.execute("DELETE FROM opt_outs WHERE person = ?", [person])
