"""Deeds: the commands and clicks that change something, from their acknowledgement to their reply.

A deed enters the store before Slack is acknowledged. It is carried out in the same transaction
that marks it done and writes down what is to be said of it, so a crash leaves it either undone or
wholly done, and whoever starts next goes on with it. `key` is Slack's own id of the command or
click: a second delivery of the same one adds nothing.

What is said is told afterwards. For a message that everybody sees, `begun` is written before it is
posted, so that whoever goes on looks for it first.
"""

from dataclasses import dataclass
from typing import Any, Literal

import orjson
from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import Row, changed, row, rows

How = Literal["private", "thread", "channel"]
Block = dict[str, Any]


@dataclass(frozen=True)
class QueuedCommand:
    """Times in microseconds since the epoch."""

    id: int
    team: str
    channel: str
    thread_ts: str
    user: str
    command: str  # as it was typed after `/understudy`; '' for what nobody asked for: a digest
    how: How  # where its outcome is said
    response_url: str
    state: Literal["waiting", "done", "told"]
    said: tuple[Block, ...]  # the outcome, as Slack's blocks
    run_id: int | None  # the run that the message follows from then on
    begun: bool  # the outcome may have been posted
    created_at: int


def add(
    db: Database,
    *,
    team: str,
    key: str,
    channel: str,
    user: str,
    command: str,
    thread_ts: str = "",
    how: How = "private",
    response_url: str = "",
) -> int | None:
    """Take a deed in; returns its id, or None when it was taken in before."""
    at = now_us()
    found = row(
        db,
        "INSERT INTO deeds (team, key, channel, thread_ts, user, command, how, response_url, "
        "created_at, touched_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (team, key) DO NOTHING RETURNING id",
        [team, key, channel, thread_ts, user, command, how, response_url, at, at],
    )
    return None if found is None else int(found["id"])


def unfinished(db: Database, untouched_since_us: int) -> list[QueuedCommand]:
    """What is not carried out, or not told yet, the oldest first."""
    sql = f"{SELECT} WHERE state <> 'told' AND touched_at <= ? ORDER BY id"
    return [_deed(r) for r in rows(db, sql, [untouched_since_us])]


def get(db: Database, deed_id: int) -> QueuedCommand | None:
    """None: it was forgotten."""
    found = row(db, f"{SELECT} WHERE id = ?", [deed_id])
    return None if found is None else _deed(found)


def done(
    db: Database, deed_id: int, said: list[Block], how: How | None = None, run_id: int | None = None
) -> bool:
    """It is carried out, in this transaction; `said` remains to be told. False: it was before."""
    sql = (
        "UPDATE deeds SET state = 'done', said = ?, how = coalesce(?, how), run_id = ?, "
        "touched_at = ? WHERE id = ? AND state = 'waiting'"
    )
    given = [orjson.dumps(said).decode(), how, run_id, now_us(), deed_id]
    return changed(db, sql, given) > 0


def begin_telling(db: Database, deed_id: int) -> None:
    """From now on a message may be there."""
    db.execute("UPDATE deeds SET begun = 1, touched_at = ? WHERE id = ?", [now_us(), deed_id])


def not_begun(db: Database, deed_id: int) -> None:
    """Slack refused: certainly no message is there."""
    db.execute("UPDATE deeds SET begun = 0, touched_at = ? WHERE id = ?", [now_us(), deed_id])


def told(db: Database, deed_id: int) -> bool:
    """Its outcome was told; its words are removed. False: it was told before."""
    sql = (
        "UPDATE deeds SET state = 'told', said = '[]', response_url = '', touched_at = ? "
        "WHERE id = ? AND state <> 'told'"
    )
    return changed(db, sql, [now_us(), deed_id]) > 0


def end_all_of(db: Database, team: str) -> int:
    """The workspace is gone: nothing is done or told there any more. Returns how many were left."""
    sql = (
        "UPDATE deeds SET state = 'told', said = '[]', response_url = '', touched_at = ? "
        "WHERE team = ? AND state <> 'told'"
    )
    return changed(db, sql, [now_us(), team])


def forget(db: Database, older_than_us: int) -> int:
    """Drop what was told before then; returns how many."""
    sql = "DELETE FROM deeds WHERE state = 'told' AND touched_at < ?"
    return changed(db, sql, [older_than_us])


SELECT = (
    "SELECT id, team, channel, thread_ts, user, command, how, response_url, state, said, run_id, "
    "begun, created_at FROM deeds"
)


def _deed(found: Row) -> QueuedCommand:
    said = tuple(orjson.loads(found["said"]))
    return QueuedCommand(**{**found, "said": said, "begun": bool(found["begun"])})
