"""Votes that count, and the sums that are kept of them.

Every judgement is stored and shown. It counts when it is within its author's share of the day, its
author is not quarantined (`raters.py`), and it says something about who answered: not about an
answer that the engine broke off, nor about one of two that were shown side by side, where only the
choice between them counts.

Two sums are kept in the transaction of the vote: `ratings`, of the votes that count, for whoever
asked, by variant, which comparisons read; and `tallies`, of all votes within the daily cap, for
whoever voted, which tell odd voters from the rest.
"""

from collections.abc import Mapping

from sqlite_utils import Database

from data.conversations import side_by_side
from data.conversations.conversations import Reply
from data.store.db import row, value

DAILY_CAP = 50  # judgements of a kind that count, a person, domain and UTC day
DAY_US = 24 * 3600 * 1_000_000


def day_began(at_us: int) -> int:
    """The midnight before, in UTC, as microseconds."""
    return at_us - at_us % DAY_US


def over_cap(db: Database, domain_id: int, person: str, kind: str, at_us: int) -> bool:
    """Whether the person's share of the day is used up."""
    used = value(
        db,
        "SELECT count(*) FROM feedback f JOIN replies r ON r.id = f.reply_id "
        "WHERE f.person = ? AND f.created_at >= ? AND f.kind = ? AND f.live = 1 "
        "AND f.over_cap = 0 AND r.domain_id = ?",
        [person, day_began(at_us), kind, domain_id],
    )
    return int(used) >= DAILY_CAP


def says_something(db: Database, judged: Reply, kind: str) -> bool:
    """Whether a judgement of that kind is evidence about who wrote the answer; a choice between
    two needs both of them whole."""
    if kind == "pairwise":
        sql = "SELECT 1 FROM replies WHERE id IN (?, ?) AND status = 'partial'"
        pairing = side_by_side.of_reply(db, judged.id)
        return row(db, sql, [pairing.first_reply, pairing.second_reply]) is None
    return judged.status != "partial" and not in_a_pairing(db, judged.id)


def in_a_pairing(db: Database, reply_id: str) -> bool:
    """Whether the answer was one of two to the same question."""
    sql = "SELECT 1 FROM pairings WHERE first_reply = ? OR second_reply = ?"
    return row(db, sql, [reply_id, reply_id]) is not None


def rate(db: Database, judged: Reply, up: bool, change: int) -> None:
    """Move the ratings of who asked, whoever pressed, by one thumb that counts."""
    if judged.variant_id is not None:
        key = {"variant_id": judged.variant_id, "person": judged.person}
        _move(db, "ratings", key, up, change)


def tally(db: Database, judged: Reply, voter: str, up: bool, change: int) -> None:
    """Move what is known of how a person votes by one thumb within the cap."""
    key = {
        "domain_id": judged.domain_id,
        "adapter_id": judged.adapter_id or 0,
        "variant_id": judged.variant_id or 0,
        "person": voter,
    }
    _move(db, "tallies", key, up, change)


def _move(db: Database, table: str, key: Mapping[str, object], up: bool, change: int) -> None:
    column = "up" if up else "down"
    names, marks = ", ".join(key), ", ".join("?" * (len(key) + 1))
    db.execute(
        f"INSERT INTO {table} ({names}, {column}) VALUES ({marks}) "
        f"ON CONFLICT ({names}) DO UPDATE SET {column} = {column} + excluded.{column}",
        [*key.values(), change],
    )
