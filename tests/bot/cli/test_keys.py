"""`understudy keys`."""

from data.people import keys
from data.store.db import Store, rows
from tests.bot.cli.conftest import Run


def test_a_key_works_until_it_is_revoked(run: Run, store: Store) -> None:
    secret = run("keys", "create", "ci", "--role", "reviewer").stdout.strip()

    found = keys.verify(store.db, secret)
    assert found is not None
    assert (found.name, found.role) == ("ci", "reviewer")
    run("keys", "revoke", str(found.id))
    assert keys.verify(store.db, secret) is None


def test_the_secret_is_nowhere_in_the_store(run: Run, store: Store) -> None:
    secret = run("keys", "create", "ci").stdout.strip()

    dump = str([rows(store.db, f"SELECT * FROM {t}") for t in ("api_keys", "audit")])

    assert secret not in dump
    assert secret[9:] not in dump
