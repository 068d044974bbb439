"""Which ratings count, and their running totals.

All feedback is stored, shown and learned from. It counts if it is within its author's daily cap,
its author is not quarantined (`raters.py`), and it is informative about the adapter that answered.
Feedback on an answer that an engine failure interrupted is not informative. Of two answers shown
side by side, only the preference between them is.

In a comparison, only the judgement of the person who asked counts, about the answer that they were
given. What others press under it is no sample of anything: one of them could press under every
answer in a channel, and each press would count as another asker's.

Two tables hold totals, which are updated in the transaction of the rating. `ratings` counts the
ratings that count of the people who asked, by variant; comparisons read it. `tallies` counts
all ratings within the daily cap by the person who rated; the tests for rater anomalies read it.
"""

from collections.abc import Mapping

from sqlite_utils import Database

from data.conversations import side_by_side
from data.conversations.conversations import Reply
from data.store.clock import DAY_US
from data.store.db import row, value

DAILY_CAP = 50  # ratings of one kind that count, per person, domain and UTC day


def day_began(at_us: int) -> int:
    """The start of that UTC day, in microseconds since the epoch."""
    return at_us - at_us % DAY_US


def over_cap(db: Database, domain_id: int, person: str, kind: str, at_us: int) -> bool:
    """Whether the person has reached the daily cap."""
    used = value(
        db,
        "SELECT count(*) FROM feedback f JOIN replies r ON r.id = f.reply_id "
        "WHERE f.person = ? AND f.created_at >= ? AND f.kind = ? AND f.live = 1 "
        "AND f.over_cap = 0 AND r.domain_id = ?",
        [person, day_began(at_us), kind, domain_id],
    )
    return int(used) >= DAILY_CAP


def is_informative(db: Database, reply: Reply, kind: str) -> bool:
    """Whether feedback of that kind is informative about the adapter that wrote the answer. A
    preference between two answers is informative only if both are complete."""
    if kind == "pairwise":
        sql = "SELECT 1 FROM replies WHERE id IN (?, ?) AND status = 'partial'"
        pairing = side_by_side.of_reply(db, reply.id)
        return row(db, sql, [pairing.first_reply, pairing.second_reply]) is None
    return reply.status != "partial" and not shown_side_by_side(db, reply.id)


def shown_side_by_side(db: Database, reply_id: str) -> bool:
    """Whether the answer was one of two answers to the same question."""
    sql = "SELECT 1 FROM pairings WHERE first_reply = ? OR second_reply = ?"
    return row(db, sql, [reply_id, reply_id]) is not None


def add_to_ratings(db: Database, reply: Reply, rater: str, up: bool, change: int) -> None:
    """Add a thumb that counts to the `ratings`, if the rater is the person who asked."""
    if reply.variant_id is not None and rater == reply.person:
        key = {"variant_id": reply.variant_id, "person": reply.person}
        _add(db, "ratings", key, up, change)


def add_to_tallies(db: Database, reply: Reply, rater: str, up: bool, change: int) -> None:
    """Add a thumb within the daily cap to the `tallies` of the rater."""
    key = {
        "domain_id": reply.domain_id,
        "adapter_id": reply.adapter_id or 0,
        "variant_id": reply.variant_id or 0,
        "person": rater,
    }
    _add(db, "tallies", key, up, change)


def _add(db: Database, table: str, key: Mapping[str, object], up: bool, change: int) -> None:
    column = "up" if up else "down"
    names, placeholders = ", ".join(key), ", ".join("?" * (len(key) + 1))
    db.execute(
        f"INSERT INTO {table} ({names}, {column}) VALUES ({placeholders}) "
        f"ON CONFLICT ({names}) DO UPDATE SET {column} = {column} + excluded.{column}",
        [*key.values(), change],
    )
