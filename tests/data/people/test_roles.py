"""Roles: their order, and roles granted by an admin."""

import pytest

from data.people import keys, roles
from data.people.roles import GRANTED, ROLES, Grant
from data.store.db import Store


def test_each_role_may_do_what_those_before_it_may() -> None:
    assert ROLES == ("member", "reviewer", "admin")
    may = {role: [needed for needed in ROLES if roles.at_least(role, needed)] for role in ROLES}
    assert may == {
        "member": ["member"],
        "reviewer": ["member", "reviewer"],
        "admin": ["member", "reviewer", "admin"],
    }


def test_the_highest_role_counts() -> None:
    assert roles.highest("member") == "member"
    assert roles.highest("reviewer", "member") == "reviewer"
    assert roles.highest("reviewer", "admin", "member") == "admin"


@pytest.mark.parametrize("role", ROLES)
def test_a_key_can_have_every_role(store: Store, role: roles.Role) -> None:
    with store.write() as db:
        key, _ = keys.create(db, "ci", role, "cli:ann")
    assert key.role == role


@pytest.mark.parametrize("role", GRANTED)
def test_a_granted_role_replaces_the_one_before_and_can_be_revoked(
    store: Store, role: roles.Granted
) -> None:
    with store.write() as db:
        roles.grant(db, "slack:T1/U2", "reviewer", "cli:ann")
        roles.grant(db, "slack:T1/U2", role, "cli:bob")
    (found,) = roles.list_grants(store.db)
    assert found == Grant("slack:T1/U2", role, "cli:bob", found.granted_at)
    with store.write() as db:
        assert roles.revoke(db, "slack:T1/U2", "cli:ann")
        assert not roles.revoke(db, "slack:T1/U2", "cli:ann")
        assert roles.granted(db, "slack:T1/U2") is None
