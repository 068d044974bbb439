"""API keys: shown once, stored as a digest, useless once revoked."""

import pytest

from data.people import keys
from data.people.keys import Key
from data.people.roles import ROLES, Role
from data.store import audit
from data.store.db import Store, rows
from data.store.errors import Invalid, NotFound


def create(store: Store, role: Role = "member", name: str = "ci") -> tuple[Key, str]:
    with store.write() as db:
        return keys.create(db, name, role, "cli:ann")


@pytest.mark.parametrize("role", ROLES)
def test_a_key_is_known_by_its_secret(store: Store, role: Role) -> None:
    key, secret = create(store, role)
    assert keys.verify(store.db, secret) == key
    assert (key.role, key.name, key.revoked_at) == (role, "ci", None)


def test_the_secret_is_nowhere_in_the_store(store: Store) -> None:
    _, secret = create(store)
    for table in ("api_keys", "audit"):
        for found in rows(store.db, f"SELECT * FROM {table}"):
            assert secret not in str(found)
            assert secret[8:24] not in str(found)
    store.close()
    for file in store.path.parent.iterdir():
        assert secret.encode() not in file.read_bytes()


def test_secrets_are_long_and_never_the_same(store: Store) -> None:
    secrets = {create(store)[1] for _ in range(50)}
    assert len(secrets) == 50
    assert all(secret.startswith("us-") and len(secret) >= 43 for secret in secrets)


@pytest.mark.parametrize("wrong", ["", "us-", "nonsense", "us-\ud800", "é" * 5_000])
def test_any_other_text_is_not_a_key(store: Store, wrong: str) -> None:
    create(store)
    assert keys.verify(store.db, wrong) is None


def test_a_prefix_or_different_case_is_not_a_key(store: Store) -> None:
    _, secret = create(store)
    assert keys.verify(store.db, secret[:-1]) is None
    assert keys.verify(store.db, secret.swapcase()) is None
    assert keys.verify(store.db, secret + " ") is None


def test_a_revoked_key_is_useless_and_stays_listed(store: Store) -> None:
    key, secret = create(store)
    with store.write() as db:
        revoked = keys.revoke(db, key.id, "cli:ann")
        again = keys.revoke(db, key.id, "cli:ann")
    assert revoked.revoked_at is not None
    assert again == revoked  # the first time is when it was
    assert keys.verify(store.db, secret) is None
    assert keys.list_keys(store.db) == [revoked]
    assert [e.action for e in audit.recent(store.db)] == ["key revoke", "key create"]


def test_a_key_needs_a_role_and_a_name(store: Store) -> None:
    with pytest.raises(Invalid, match="'owner' is not a role; the roles are member"):
        create(store, "owner")  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="Give the key a name"):
        create(store, name=" ")


def test_an_unknown_key_is_reported(store: Store) -> None:
    with pytest.raises(NotFound, match="no key 7"), store.write() as db:
        keys.revoke(db, 7, "cli:ann")
