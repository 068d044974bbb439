"""Sign-in links and sessions of the console."""

import pytest

from data.people import console_sessions, joining, roles, sign_in_links
from data.people.sign_in_links import LinkNotValid
from data.privacy import erasure
from data.store import audit
from data.store.db import Store, rows
from data.store.errors import Invalid, NotFound

ANN = "user:ann"


def test_a_link_works_once_and_gives_its_role(store: Store) -> None:
    with store.write() as db:
        _, secret = sign_in_links.create(db, " Ann ", "reviewer", "cli:root")
        assert sign_in_links.find(db, secret).person == ANN
        assert roles.granted(db, ANN) is None
        assert sign_in_links.use(db, secret).used_at is not None
        assert roles.granted(db, ANN) == "reviewer"
        with pytest.raises(LinkNotValid):
            sign_in_links.use(db, secret)


def test_a_link_never_lowers_a_role(store: Store) -> None:
    with store.write() as db:
        roles.grant(db, ANN, "admin", "cli:root")
        _, secret = sign_in_links.create(db, "ann", "member", "cli:root")
        sign_in_links.use(db, secret)
    assert roles.granted(store.db, ANN) == "admin"


def test_an_unused_link_does_not_bring_back_a_role_that_was_revoked(store: Store) -> None:
    with store.write() as db:
        roles.grant(db, ANN, "admin", "cli:root")
        _, secret = sign_in_links.create(db, "ann", "admin", "cli:root")
        roles.revoke(db, ANN, "cli:root")
        sign_in_links.use(db, secret)
    assert roles.granted(store.db, ANN) is None


@pytest.mark.parametrize("demote", [True, False])
def test_the_links_of_a_former_admin_are_revoked(store: Store, demote: bool) -> None:
    with store.write() as db:
        roles.grant(db, ANN, "admin", "cli:root")
        _, secret = sign_in_links.create(db, "somebody-else", "admin", ANN)
        sign_in_links.create(db, "bob", "member", "cli:root")
        if demote:
            roles.grant(db, ANN, "reviewer", "cli:root")
        else:
            roles.revoke(db, ANN, "cli:root")
        with pytest.raises(LinkNotValid):
            sign_in_links.use(db, secret)
    assert [link.person for link in sign_in_links.list_open(store.db)] == ["user:bob"]
    assert "sign-in link revoke" in [e.action for e in audit.recent(store.db, 3)]


@pytest.mark.parametrize("column", ["expires_at", "revoked_at"])
def test_an_expired_or_revoked_link_is_refused(store: Store, column: str) -> None:
    with store.write() as db:
        _, secret = sign_in_links.create(db, "ann", "admin", "cli:root")
        db.execute(f"UPDATE sign_in_links SET {column} = 1")
        assert sign_in_links.list_open(db) == []
        with pytest.raises(LinkNotValid):
            sign_in_links.use(db, secret)


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a\nb", "x" * 101])
def test_a_name_must_be_usable(store: Store, name: str) -> None:
    with store.write() as db, pytest.raises(Invalid, match="name or an e-mail"):
        sign_in_links.create(db, name, "member", "cli:root")


def test_the_first_admin_gets_one_link_at_a_time_until_somebody_signed_in(store: Store) -> None:
    with store.write() as db:
        _, invited = sign_in_links.create(db, "bob", "member", "cli:root")
        first = sign_in_links.first_admin(db, "root", "understudy up")
        second = sign_in_links.first_admin(db, "root", "understudy up")
        assert first is not None
        assert second is not None
        with pytest.raises(LinkNotValid):
            sign_in_links.find(db, first)
        sign_in_links.find(db, invited)
        sign_in_links.use(db, second)
        assert sign_in_links.first_admin(db, "root", "understudy up") is None


def test_a_session_lasts_until_it_is_ended(store: Store) -> None:
    with store.write() as db:
        secret = console_sessions.begin(db, ANN, "Firefox on Linux")
        found = console_sessions.find(db, secret)
        assert found is not None
        assert (found.person, found.browser) == (ANN, "Firefox on Linux")
        assert console_sessions.list_sessions(db, ANN) == [found]
        console_sessions.end(db, found.id, ANN)
        assert console_sessions.find(db, secret) is None
        assert console_sessions.list_sessions(db) == []
        with pytest.raises(NotFound):
            console_sessions.end(db, 99, ANN)
    assert [(e.action, e.subject) for e in audit.recent(store.db)] == [
        ("sign out", "session 1"),
        ("sign in", "session 1"),
    ]


@pytest.mark.parametrize("column", ["used_at", "expires_at"])
def test_a_session_ends_by_itself(store: Store, column: str) -> None:
    with store.write() as db:
        secret = console_sessions.begin(db, ANN, "Firefox")
        db.execute(f"UPDATE console_sessions SET {column} = {column} - ?", [181 * 86_400_000_000])
        assert console_sessions.find(db, secret) is None


def test_a_session_in_use_does_not_end(store: Store) -> None:
    with store.write() as db:
        secret = console_sessions.begin(db, ANN, "Firefox")
        db.execute("UPDATE console_sessions SET used_at = used_at - ?", [29 * 86_400_000_000])
        found = console_sessions.find(db, secret)
        assert found is not None
        assert console_sessions.needs_touch(found)
        console_sessions.touch(db, found)
        again = console_sessions.find(db, secret)
        assert again is not None
        assert not console_sessions.needs_touch(again)


def test_secrets_are_nowhere_in_the_store(store: Store) -> None:
    with store.write() as db:
        secrets = [
            sign_in_links.create(db, "ann", "admin", "cli:root")[1],
            console_sessions.begin(db, ANN, "Firefox"),
        ]
    tables = ("sign_in_links", "console_sessions", "audit")
    stored = str([rows(store.db, f"SELECT * FROM {table}") for table in tables])
    assert not any(secret in stored for secret in secrets)


async def test_an_erased_person_is_signed_out(store: Store) -> None:
    with store.write() as db:
        secret = console_sessions.begin(db, ANN, "Firefox")
        sign_in_links.create(db, "ann", "member", "cli:root")
        receipt = erasure.begin(db, ANN, "cli:root")
        while not erasure.step(db, receipt):
            pass
        assert console_sessions.find(db, secret) is None
        assert sign_in_links.list_open(db) == []


def test_a_joined_sign_in_is_the_same_person(store: Store) -> None:
    with store.write() as db:
        secret = console_sessions.begin(db, ANN, "Firefox")
        joining.join(db, ANN, "slack:T1/UANN", "cli:root")
        found = console_sessions.find(db, secret)
        assert found is not None
        assert found.person == "slack:T1/UANN"
        assert sign_in_links.create(db, "ann", "member", "cli:root")[0].person == "slack:T1/UANN"
