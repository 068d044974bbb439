"""Digests that only one store can compute."""

import re

import pytest

from data.store.db import Store
from data.store.errors import UnderstudyError
from data.store.secret import keyed_digest


def test_a_digest_is_the_same_in_one_store_and_different_in_another(store: Store) -> None:
    found = keyed_digest(store.db, "address", "192.0.2.1")
    assert re.fullmatch("[0-9a-f]{32}", found)
    assert keyed_digest(store.db, "address", "192.0.2.1") == found
    assert keyed_digest(store.db, "address", "192.0.2.2") != found
    with Store(store.path.parent / "another.db") as another:
        assert keyed_digest(another.db, "address", "192.0.2.1") != found


def test_digests_for_different_purposes_differ(store: Store) -> None:
    assert keyed_digest(store.db, "address", "a") != keyed_digest(store.db, "person", "a")


def test_a_store_without_its_secret_says_so(store: Store) -> None:
    with store.write() as db:
        db.execute("DELETE FROM store_secret")
    with pytest.raises(UnderstudyError, match="has lost its secret"):
        keyed_digest(store.db, "address", "a")
