"""The queue of commands that change something, from acknowledgement to delivered result.

A command enters the store before its front end acknowledges it. It is executed in the transaction
that marks it as executed and stores its result. So a crash leaves it either not executed or
completely executed, and the next process continues. `key` is the front end's own id of the command
or click. When the same one arrives again, nothing is added.

The result is delivered afterwards. For a message that everyone sees, `begun` is written before the
message is posted, so that the process that continues looks for the message first.

Commands and results are JSON objects, which `bot/commands/command_json.py` reads and writes. The
table is `deeds`; its column `said` holds the result.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import Row, changed, row, rows

Audience = Literal["private", "thread", "channel"]  # who sees the result, and where
Json = dict[str, Any]


@dataclass(frozen=True)
class DeliveryAddress:
    """Where the front end delivers the result. The fields are named as Slack names them, which was
    the first front end; another one uses them as it likes, with its own name as the team."""

    team: str
    channel: str = ""
    thread_ts: str = ""
    response_url: str = ""


@dataclass(frozen=True)
class QueuedCommand:
    """Times in microseconds since the epoch."""

    id: int
    address: DeliveryAddress
    user: str  # who gave it, as the front end names them; empty: nobody, as for a digest
    command: Json  # empty: there was none
    audience: Audience
    state: Literal["waiting", "done", "told"]  # done: executed; told: its result was delivered
    result: Json  # empty until it is done, and once it was delivered
    run_id: int | None  # the run that the delivered message follows
    begun: bool  # the result may have been posted
    created_at: int


def add(
    db: Database,
    *,
    key: str,
    user: str,
    command: Json,
    address: DeliveryAddress,
    audience: Audience = "private",
) -> int | None:
    """Queue a command; returns its id, or None when it was queued before."""
    at = now_us()
    found = row(
        db,
        "INSERT INTO deeds (team, key, channel, thread_ts, user, command, how, response_url, "
        "created_at, touched_at) VALUES (:team, :key, :channel, :thread_ts, :user, :command, "
        ":how, :response_url, :at, :at) ON CONFLICT (team, key) DO NOTHING RETURNING id",
        {
            **asdict(address),
            "key": key,
            "user": user,
            "command": _dumped(command),
            "how": audience,
            "at": at,
        },
    )
    return None if found is None else int(found["id"])


def unfinished(db: Database, untouched_since_us: int) -> list[QueuedCommand]:
    """Commands that are not executed, or whose result is not delivered, the oldest first."""
    sql = f"{SELECT} WHERE state <> 'told' AND touched_at <= ? ORDER BY id"
    return [_command(r) for r in rows(db, sql, [untouched_since_us])]


def get(db: Database, command_id: int) -> QueuedCommand | None:
    """None: it was deleted."""
    found = row(db, f"{SELECT} WHERE id = ?", [command_id])
    return None if found is None else _command(found)


def mark_executed(
    db: Database,
    command_id: int,
    result: Json,
    audience: Audience | None = None,
    run_id: int | None = None,
) -> bool:
    """Store the result of a command that this transaction executed. False: it was executed
    before."""
    sql = (
        "UPDATE deeds SET state = 'done', said = ?, how = coalesce(?, how), run_id = ?, "
        "touched_at = ? WHERE id = ? AND state = 'waiting'"
    )
    return changed(db, sql, [_dumped(result), audience, run_id, now_us(), command_id]) > 0


def begin_delivery(db: Database, command_id: int) -> None:
    """Record that a message with the result may exist from now on."""
    db.execute("UPDATE deeds SET begun = 1, touched_at = ? WHERE id = ?", [now_us(), command_id])


def reset_delivery(db: Database, command_id: int) -> None:
    """Record that no message exists, because the front end refused it."""
    db.execute("UPDATE deeds SET begun = 0, touched_at = ? WHERE id = ?", [now_us(), command_id])


def mark_delivered(db: Database, command_id: int) -> bool:
    """Remove the delivered result. False: it was delivered before."""
    sql = (
        "UPDATE deeds SET state = 'told', said = '', response_url = '', touched_at = ? "
        "WHERE id = ? AND state <> 'told'"
    )
    return changed(db, sql, [now_us(), command_id]) > 0


def end_all_of(db: Database, team: str) -> int:
    """End all open commands of a workspace that is gone, without executing or delivering them.
    Returns how many there were."""
    sql = (
        "UPDATE deeds SET state = 'told', said = '', response_url = '', touched_at = ? "
        "WHERE team = ? AND state <> 'told'"
    )
    return changed(db, sql, [now_us(), team])


def forget(db: Database, older_than_us: int) -> int:
    """Delete commands that were delivered before then; returns how many."""
    sql = "DELETE FROM deeds WHERE state = 'told' AND touched_at < ?"
    return changed(db, sql, [older_than_us])


SELECT = (
    "SELECT id, team, channel, thread_ts, user, command, how, response_url, state, said, run_id, "
    "begun, created_at FROM deeds"
)


def _command(found: Row) -> QueuedCommand:
    address = DeliveryAddress(
        found["team"], found["channel"], found["thread_ts"], found["response_url"]
    )
    return QueuedCommand(
        id=found["id"],
        address=address,
        user=found["user"],
        command=_loaded(found["command"]),
        audience=found["how"],
        state=found["state"],
        result=_loaded(found["said"]),
        run_id=found["run_id"],
        begun=bool(found["begun"]),
        created_at=found["created_at"],
    )


def _dumped(given: Json) -> str:
    return json.dumps(given, ensure_ascii=False) if given else ""


def _loaded(text: str) -> Json:
    """Empty for an empty text, and for the default of the column: []."""
    return json.loads(text) or {} if text else {}
