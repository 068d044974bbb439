"""Sessions of the console: the browsers in which people are signed in.

A session is a random cookie, of which only a digest is stored. It ends when it is revoked, when it
was not used for 30 days, and at the latest after 180 days.
"""

import hashlib
import secrets
from dataclasses import dataclass

from sqlite_utils import Database

from data.store import audit
from data.store.clock import DAY_US, now_us
from data.store.db import changed, insert, row, rows
from data.store.errors import NotFound

IDLE_US = 30 * DAY_US
LASTS_US = 180 * DAY_US
HOUR_US = DAY_US // 24
COLUMNS = "id, person, browser, created_at, used_at, expires_at, revoked_at"
VALID = "revoked_at IS NULL AND expires_at > :now AND used_at > :now - :idle"


@dataclass(frozen=True)
class ConsoleSession:
    """Times in microseconds since the epoch."""

    id: int
    person: str
    browser: str  # Firefox on Linux
    created_at: int
    used_at: int  # to the hour
    expires_at: int
    revoked_at: int | None


def begin(db: Database, person: str, browser: str) -> str:
    """Sign a person in; returns the secret for the cookie, which is not stored."""
    secret, now = secrets.token_urlsafe(32), now_us()
    session_id = insert(
        db,
        "console_sessions",
        sha256=_sha256(secret),
        person=person,
        browser=browser,
        created_at=now,
        used_at=now,
        expires_at=now + LASTS_US,
    )
    audit.record(db, person, "sign in", f"session {session_id}", browser=browser)
    return secret


def find(db: Database, secret: str) -> ConsoleSession | None:
    """The session with that cookie, if it has not ended."""
    sql = f"SELECT {COLUMNS} FROM console_sessions WHERE sha256 = :sha256 AND {VALID}"
    found = row(db, sql, {"sha256": _sha256(secret), "now": now_us(), "idle": IDLE_US})
    return None if found is None else ConsoleSession(**found)


def needs_touch(session: ConsoleSession) -> bool:
    """Whether the time of its last use should be stored again."""
    return session.used_at < now_us() - HOUR_US


def touch(db: Database, session: ConsoleSession) -> None:
    """Store that it is in use."""
    db.execute("UPDATE console_sessions SET used_at = ? WHERE id = ?", [now_us(), session.id])


def list_sessions(db: Database, person: str | None = None) -> list[ConsoleSession]:
    """The sessions that have not ended, of one person or of everybody, the last used first."""
    whose = "" if person is None else "AND person = :person"
    sql = f"SELECT {COLUMNS} FROM console_sessions WHERE {VALID} {whose} ORDER BY used_at DESC, id"
    found = rows(db, sql, {"now": now_us(), "idle": IDLE_US, "person": person or ""})
    return [ConsoleSession(**r) for r in found]


def get(db: Database, session_id: int) -> ConsoleSession:
    """Raises NotFound."""
    found = row(db, f"SELECT {COLUMNS} FROM console_sessions WHERE id = ?", [session_id])
    if found is None:
        raise NotFound(f"There is no session {session_id}.")
    return ConsoleSession(**found)


def end(db: Database, session_id: int, actor: str) -> ConsoleSession:
    """End a session, effective with the next request. Raises NotFound."""
    session = get(db, session_id)
    sql = "UPDATE console_sessions SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
    if changed(db, sql, [now_us(), session_id]):
        audit.record(db, actor, "sign out", f"session {session_id}", person=session.person)
    return session


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
