"""The expected number of raters: those of the last four weeks, within limits."""

import pytest

from data import domains
from data.domains import Domain
from data.experiments.expected_people import LATELY_DAYS, expected_people
from data.feedback import feedback
from data.people import keys
from data.store.clock import DAY_US, now_us
from data.store.db import Store
from tests.data import given


def rate(store: Store, domain: Domain, people: int, first: int = 0) -> None:
    with store.write() as db:
        for n in range(first, first + people):
            person = f"slack:T1/U{n}"
            feedback.thumb(db, given.reply(db, domain, person), person, True)


@pytest.mark.parametrize(("raters", "expected"), [(0, 1000), (19, 1000), (20, 100), (101, 101)])
def test_those_who_rated_lately_are_expected_again(
    store: Store, domain: Domain, raters: int, expected: int
) -> None:
    rate(store, domain, raters)
    assert expected_people(store.db, domain.id) == expected


def test_a_person_counts_once_and_only_in_their_domain(store: Store, domain: Domain) -> None:
    rate(store, domain, 110)
    rate(store, domain, 110)
    with store.write() as db:
        other = domains.create(db, "other")
    rate(store, other, 120, first=500)
    assert expected_people(store.db, domain.id) == 110


def test_only_ratings_that_count_and_are_recent_are_known(store: Store, domain: Domain) -> None:
    rate(store, domain, 130)
    began = now_us() - LATELY_DAYS * DAY_US
    with store.write() as db:
        db.execute("UPDATE feedback SET created_at = ? WHERE person = 'slack:T1/U1'", [began - 1])
        db.execute(
            "UPDATE feedback SET created_at = ? WHERE person = 'slack:T1/U2'",
            [began + 60_000_000],
        )
        db.execute("UPDATE feedback SET counts = 0 WHERE person = 'slack:T1/U3'")
        feedback_id = "(SELECT id FROM feedback WHERE person = 'slack:T1/U4')"
        db.execute(f"UPDATE feedback SET live = 0 WHERE id = {feedback_id}")
        db.execute("UPDATE feedback SET kind = 'follow_up' WHERE person = 'slack:T1/U5'")
    assert expected_people(store.db, domain.id) == 126


def test_those_are_expected_whose_ratings_will_count(store: Store, domain: Domain) -> None:
    """A crowd of visitors of the web page made a small team wait for as many raters."""
    rate(store, domain, 120)
    with store.write() as db:
        keys.create(db, "backend", "member", "cli:root", "vouched")
        for n in range(20):
            person = f"http:1/{n}"
            feedback.thumb(db, given.reply(db, domain, person), person, up=True)
        for n in range(150):
            reply = given.reply(db, domain, f"web:{n}")
            feedback.thumb(db, reply, f"web:{n}", up=True)
            feedback.thumb(db, reply, f"slack:T1/BYSTANDER{n}", up=False)
    assert expected_people(store.db, domain.id) == 140
    assert expected_people(store.db, domain.id, "anyone") == 290
