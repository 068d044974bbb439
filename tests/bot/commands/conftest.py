"""A store with a domain, three versions that an engine holds, pairs, and an earlier comparison."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.experiments import decider
from data import domains
from data.adapters import registry
from data.domains import Domain
from data.experiments import experiments
from data.feedback import feedback
from data.pairs.pairs import Draft
from data.store.db import Store
from tests.bot.conftest import add_adapter, add_replica
from tests.bot.experiments.test_decider import rate
from tests.data import given


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with Store(home / "understudy.db") as opened:
        yield opened


@pytest.fixture
def domain(store: Store) -> Domain:
    with store.write() as db:
        domain = domains.create(db, "helpdesk", "the help desk", "Answer.")
        made = [add_adapter(db, domain, version) for version in (1, 2, 3)]
        registry.promote(db, made[0], "test")
        add_replica(db, "http://127.0.0.1:1", *made)
        given.approved(db, domain, *(Draft(f"Question {n}?", f"Answer {n}.") for n in range(3)))
        for number in range(8):
            person = f"slack:T1/U{100 + number}"
            reply = given.reply(db, domain, person, f"Thumb {number}?", f"Answer {number}.")
            feedback.thumb(db, reply, person, number % 2 == 0)
        before = given.same_sides(db, experiments.start(db, domain, made[0], made[1], "test"))
        rate(db, before, {"A": 0.2, "B": 0.9}, 60)
        considered = decider.evaluate_experiment(db, before)
        assert considered is not None
        decider.apply_verdict(db, considered)
        experiments.stop(db, before, "test")
        db.execute("DELETE FROM audit")
    return domain
