"""Sign-in links: each signs one person in to the console, once. Only a link's digest is stored.

A link carries the role that it gives. Whoever changes a person's role afterwards changes what the
open links of that person give, too (`data/people/roles.py`), so an old link never gives back a role
that was revoked. The secret is 32 random bytes, so a plain digest is enough.
"""

import hashlib
import secrets
from dataclasses import dataclass

from sqlite_utils import Database

from data.people import identities, roles
from data.people.roles import ROLES, Role
from data.store import audit
from data.store.clock import DAY_US, now_us
from data.store.db import changed, insert, row, rows, value
from data.store.errors import Forbidden, Invalid, NotFound

LASTS_US = 3 * DAY_US
COLUMNS = "id, person, role, created_by, created_at, expires_at, used_at, revoked_at"
OPEN = "used_at IS NULL AND revoked_at IS NULL AND expires_at > ?"
MAX_NAME = 100  # characters


class LinkNotValid(Forbidden):
    """The link is unknown, or was used or revoked, or has expired."""


@dataclass(frozen=True)
class SignInLink:
    """Times in microseconds since the epoch."""

    id: int
    person: str  # user:ann
    role: Role
    created_by: str
    created_at: int
    expires_at: int
    used_at: int | None
    revoked_at: int | None


def person_of_name(name: str) -> str:
    """The id of the person who signs in under that name. Raises Invalid for no usable name."""
    person = identities.normalised(f"user:{name}")
    name = person.removeprefix("user:")
    if not name or len(name) > MAX_NAME or not name.isprintable() or "/" in name:
        raise Invalid(
            "Give the person a name or an e-mail address: up to "
            f"{MAX_NAME} characters, on one line, without a slash."
        )
    return person


def create(
    db: Database, name: str, role: Role, actor: str, lasts_us: int = LASTS_US
) -> tuple[SignInLink, str]:
    """Create a link for the person of that name; returns it with its secret, which is not stored.
    Raises Invalid for a name or a role that does not exist."""
    if role not in ROLES:
        raise Invalid(f"{role!r} is not a role; the roles are {', '.join(ROLES)}.")
    person = identities.person_of(db, person_of_name(name))
    secret, now = secrets.token_urlsafe(32), now_us()
    link_id = insert(
        db,
        "sign_in_links",
        sha256=_sha256(secret),
        person=person,
        role=role,
        created_by=actor,
        created_at=now,
        expires_at=now + lasts_us,
    )
    audit.record(db, actor, "sign-in link", person, role=role, link=link_id)
    return _get(db, link_id), secret


def find(db: Database, secret: str) -> SignInLink:
    """The open link with that secret. Raises LinkNotValid."""
    sql = f"SELECT {COLUMNS} FROM sign_in_links WHERE sha256 = ? AND {OPEN}"
    found = row(db, sql, [_sha256(secret), now_us()])
    if found is None:
        raise LinkNotValid(
            "This sign-in link is not valid: it was used before, has expired or was revoked. Ask "
            "an admin for another one, or create one with `understudy console link`."
        )
    return SignInLink(**found)


def use(db: Database, secret: str) -> SignInLink:
    """Use a link up, and give its person the role that it carries, unless theirs is higher. Raises
    LinkNotValid."""
    link = find(db, secret)
    sql = f"UPDATE sign_in_links SET used_at = ? WHERE id = ? AND {OPEN}"
    now = now_us()
    changed(db, sql, [now, link.id, now])
    held = roles.granted(db, link.person) or "member"
    if link.role != "member" and roles.highest(held, link.role) != held:
        roles.grant(db, link.person, link.role, link.created_by)
    return _get(db, link.id)


def list_open(db: Database) -> list[SignInLink]:
    """The links that can still be used, the newest first."""
    sql = f"SELECT {COLUMNS} FROM sign_in_links WHERE {OPEN} ORDER BY id DESC"
    return [SignInLink(**r) for r in rows(db, sql, [now_us()])]


def revoke(db: Database, link_id: int, actor: str) -> SignInLink:
    """Revoke a link that was not used. Raises NotFound."""
    link = _get(db, link_id)
    sql = f"UPDATE sign_in_links SET revoked_at = ? WHERE id = ? AND {OPEN}"
    if changed(db, sql, [now_us(), link_id, now_us()]):
        audit.record(db, actor, "sign-in link revoke", link.person, link=link_id)
    return _get(db, link_id)


def first_admin(db: Database, name: str, actor: str) -> str | None:
    """The secret of a new link for the first admin of the console; None once anybody has signed in
    with a link. It replaces the unused links that were made for this before."""
    if value(db, "SELECT 1 FROM sign_in_links WHERE used_at IS NOT NULL LIMIT 1") is not None:
        return None
    for link in list_open(db):
        if link.created_by == actor:
            revoke(db, link.id, actor)
    return create(db, name, "admin", actor)[1]


def _get(db: Database, link_id: int) -> SignInLink:
    found = row(db, f"SELECT {COLUMNS} FROM sign_in_links WHERE id = ?", [link_id])
    if found is None:
        raise NotFound(f"There is no sign-in link {link_id}.")
    return SignInLink(**found)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
