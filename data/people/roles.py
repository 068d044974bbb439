"""Roles that were granted by a command. Those from the settings and from Slack are not in here;
`bot/slack/workspace/roles.py` puts all of them together."""

from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from data.store import audit
from data.store.clock import now_us
from data.store.db import changed, row, rows

Granted = Literal["reviewer", "admin"]


@dataclass(frozen=True)
class Grant:
    person: str  # slack:T1/U2
    role: Granted
    granted_by: str
    granted_at: int


def granted(db: Database, person: str) -> Granted | None:
    """The role that an admin granted to the person, or None."""
    found = row(db, "SELECT role FROM roles WHERE person = ?", [person])
    return None if found is None else found["role"]


def list_grants(db: Database) -> list[Grant]:
    """All grants, admins first."""
    sql = "SELECT person, role, granted_by, granted_at FROM roles ORDER BY role, granted_at"
    return [Grant(**r) for r in rows(db, sql)]


def grant(db: Database, person: str, role: Granted, actor: str) -> None:
    """Grant a role to a person; it replaces an earlier grant."""
    db.execute(
        "INSERT INTO roles (person, role, granted_by, granted_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (person) DO UPDATE SET role = excluded.role, "
        "granted_by = excluded.granted_by, granted_at = excluded.granted_at",
        [person, role, actor, now_us()],
    )
    audit.record(db, actor, "grant role", person, role=role)


def revoke(db: Database, person: str, actor: str) -> bool:
    """Revoke the granted role; returns False if there was none."""
    if not changed(db, "DELETE FROM roles WHERE person = ?", [person]):
        return False
    audit.record(db, actor, "revoke role", person)
    return True
