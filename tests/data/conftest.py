"""Each test gets its own store with a domain."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data import domains
from data.domains import Domain
from data.store.db import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "understudy.db") as store:
        yield store


@pytest.fixture
def domain(store: Store) -> Domain:
    with store.write() as db:
        return domains.create(db, "helpdesk", validation_share=0.2)
