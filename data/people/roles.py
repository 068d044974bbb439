"""The roles of people and API keys, in their order, and the roles that an admin granted.

Roles that come from the settings or from Slack are not stored: `bot/slack/workspace/roles.py`
combines all of them.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from sqlite_utils import Database

from data.store import audit
from data.store.clock import now_us
from data.store.db import changed, row, rows

Granted = Literal["reviewer", "admin"]
Role = Literal["member", Granted]
GRANTED: tuple[Granted, ...] = get_args(Granted)
ROLES: tuple[Role, ...] = ("member", *GRANTED)  # each may do everything that the ones before it may


@dataclass(frozen=True)
class Grant:
    person: str  # slack:T1/U2
    role: Granted
    granted_by: str
    granted_at: int


def at_least(role: Role, needed: Role) -> bool:
    """Whether somebody with `role` may do what `needed` may."""
    return ROLES.index(role) >= ROLES.index(needed)


def highest(*held: Role) -> Role:
    """The role that may do most."""
    return max(held, key=ROLES.index)


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
    before = granted(db, person)
    db.execute(
        "INSERT INTO roles (person, role, granted_by, granted_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (person) DO UPDATE SET role = excluded.role, "
        "granted_by = excluded.granted_by, granted_at = excluded.granted_at",
        [person, role, actor, now_us()],
    )
    _limit_links(db, person, role)
    if before == "admin" and role != "admin":
        _revoke_links_made_by(db, person, actor)
    audit.record(db, actor, "grant role", person, role=role)


def revoke(db: Database, person: str, actor: str) -> bool:
    """Revoke the granted role; returns False if there was none."""
    if not changed(db, "DELETE FROM roles WHERE person = ?", [person]):
        return False
    _limit_links(db, person, "member")
    _revoke_links_made_by(db, person, actor)
    audit.record(db, actor, "revoke role", person)
    return True


def _limit_links(db: Database, person: str, role: Role) -> None:
    """The sign-in links that the person has not used yet give no other role than this one."""
    sql = "UPDATE sign_in_links SET role = ? WHERE person = ? AND used_at IS NULL"
    db.execute(sql, [role, person])


def _revoke_links_made_by(db: Database, person: str, actor: str) -> None:
    """Otherwise a former admin could come back with a link that they had made for another name."""
    sql = (
        "UPDATE sign_in_links SET revoked_at = ? WHERE created_by = ? AND used_at IS NULL "
        "AND revoked_at IS NULL RETURNING id, person"
    )
    for link in rows(db, sql, [now_us(), person]):
        audit.record(db, actor, "sign-in link revoke", link["person"], link=link["id"])
