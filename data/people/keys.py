"""API keys, each with a name and a role. Only a key's SHA-256 digest is stored.

A key is 32 random bytes, so a plain digest is enough: it cannot be guessed.

An admin can mark whom a key stands for (`KeyPeople`). Unless it is marked, its `user` names are not
verified: whoever holds the key can invent them."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal, get_args

from sqlite_utils import Database

from data.people.roles import ROLES, Role
from data.store import audit
from data.store.clock import now_us
from data.store.db import changed, insert, row, rows
from data.store.errors import Invalid, NotFound

# `one`: the key belongs to one person. `vouched`: its owner signs people in, as a company's backend
# does, and gives each of them one `user` name. See `data/people/identities.py`.
KeyPeople = Literal["unverified", "one", "vouched"]
KEY_PEOPLE: tuple[KeyPeople, ...] = get_args(KeyPeople)
COLUMNS = "id, name, role, prefix, created_at, revoked_at, people"


@dataclass(frozen=True)
class Key:
    id: int
    name: str
    role: Role
    prefix: str
    created_at: int
    revoked_at: int | None
    people: KeyPeople = "unverified"


def create(
    db: Database, name: str, role: Role, actor: str, people: KeyPeople = "unverified"
) -> tuple[Key, str]:
    """Create a key and return it with its secret. The secret is not stored and cannot be shown
    again."""
    _check_people(people)
    if role not in ROLES:
        raise Invalid(f"{role!r} is not a role; the roles are {', '.join(ROLES)}.")
    if not name.strip():
        raise Invalid("Give the key a name that says who uses it.")
    secret = f"us-{secrets.token_urlsafe(32)}"
    key_id = insert(
        db,
        "api_keys",
        name=name.strip(),
        role=role,
        prefix=secret[:8],
        sha256=_sha256(secret),
        created_at=now_us(),
        people=people,
    )
    audit.record(db, actor, "key create", f"key {key_id}", name=name, role=role, people=people)
    return get(db, key_id), secret


def get(db: Database, key_id: int) -> Key:
    """Raises NotFound."""
    found = row(db, f"SELECT {COLUMNS} FROM api_keys WHERE id = ?", [key_id])
    if found is None:
        raise NotFound(f"There is no key {key_id}.")
    return Key(**found)


def verify(db: Database, secret: str) -> Key | None:
    """The key with that secret, or None if there is none or it was revoked."""
    found = row(
        db,
        f"SELECT {COLUMNS} FROM api_keys WHERE sha256 = ? AND revoked_at IS NULL",
        [_sha256(secret)],
    )
    return None if found is None else Key(**found)


def list_keys(db: Database) -> list[Key]:
    return [Key(**r) for r in rows(db, f"SELECT {COLUMNS} FROM api_keys ORDER BY id")]


def set_people(db: Database, key_id: int, people: KeyPeople, actor: str) -> Key:
    """Mark whom a key stands for, effective at once, also for running comparisons. Raises NotFound
    or Invalid."""
    _check_people(people)
    before = get(db, key_id)
    if before.people != people:
        db.execute("UPDATE api_keys SET people = ? WHERE id = ?", [people, key_id])
        audit.record(db, actor, "key people", f"key {key_id}", people=people, was=before.people)
    return get(db, key_id)


def revoke(db: Database, key_id: int, actor: str) -> Key:
    """Revoke a key, effective with the next request. Raises NotFound."""
    get(db, key_id)
    sql = "UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
    if changed(db, sql, [now_us(), key_id]):
        audit.record(db, actor, "key revoke", f"key {key_id}")
    return get(db, key_id)


def _check_people(people: str) -> None:
    if people not in KEY_PEOPLE:
        raise Invalid(f"{people!r} is not one of {', '.join(KEY_PEOPLE)}.")


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
