"""Joining identities: a web sign-in of a Slack member is one person."""

import pytest

from data.domains import Domain
from data.experiments import assignments, experiments, metric_sums
from data.feedback import feedback, raters
from data.people import consent, identities
from data.people.joining import join
from data.privacy import opt_out, personal_data
from data.store.db import Store, rows
from data.store.errors import Conflict, Invalid
from tests.data import given

ANN, SIGNED_IN, SESSION = "slack:T1/UANN", "user:ann@example.org", "web:0a1b"


def test_they_are_one_person_in_a_comparison(store: Store, domain: Domain) -> None:
    with store.write() as db:
        live, candidate = given.adapter(db, domain, "live"), given.adapter(db, domain)
        running = experiments.start(db, domain, live, candidate, "cli:root")
        for number, person in enumerate((ANN, SIGNED_IN)):
            side = running.variants[number]
            assignments.expose(db, running.id, person, side.id)
            feedback.thumb(db, given.reply(db, domain, person, variant=side), person, up=True)
        assert sum(c.assigned for c in metric_sums.collect(db, running).stages[0].cells) == 2
        join(db, SIGNED_IN, ANN, "cli:root")
    (stage,) = metric_sums.collect(store.db, running).stages
    assert [c.assigned for c in stage.cells] == [1, 0], "on the side that the person saw first"
    assert [c.of("rating").people for c in stage.cells] == [1, 0]


@pytest.mark.parametrize("also", [False, True])
def test_who_was_seen_as_a_session_first_is_verified(
    store: Store, domain: Domain, also: bool
) -> None:
    """The exposure of the session stays. It was that of an unverified person for ever."""
    with store.write() as db:
        live, candidate = given.adapter(db, domain, "live"), given.adapter(db, domain)
        running = experiments.start(db, domain, live, candidate, "cli:root")
        for person in (SESSION, ANN) if also else (SESSION,):
            side = running.variants[1]
            assignments.expose(db, running.id, person, side.id, address="192.0.2.1")
            feedback.thumb(db, given.reply(db, domain, person, variant=side), person, up=True)
        assert metric_sums.collect(db, running).stages[0].cells[1].of("rating").people == also
        join(db, SESSION, ANN, "cli:root")
    rated = metric_sums.collect(store.db, running).stages[0].cells[1].of("rating")
    assert (rated.people, rated.wy / rated.w) == (1, 1.0)
    (kept,) = rows(store.db, "SELECT person, kind, source FROM assignments")
    assert kept == {"person": ANN, "kind": "slack", "source": ""}


def test_a_quarantine_of_either_is_one_of_both(store: Store, domain: Domain) -> None:
    with store.write() as db:
        live, candidate = given.adapter(db, domain, "live"), given.adapter(db, domain)
        running = experiments.start(db, domain, live, candidate, "cli:root")
        side = running.variants[1]
        for person in (ANN, SESSION):
            assignments.expose(db, running.id, person, side.id)
            feedback.thumb(db, given.reply(db, domain, person, variant=side), person, up=True)
        raters.quarantine(db, domain, SESSION, "a test", "cli:root")
        join(db, SESSION, ANN, "cli:root")
    assert raters.quarantined(store.db, domain.id, ANN)
    assert metric_sums.collect(store.db, running).stages[0].cells[1].of("rating").people == 0
    with store.write() as db:
        raters.release(db, domain, SESSION, "cli:root")
    assert metric_sums.collect(store.db, running).stages[0].cells[1].of("rating").people == 1


def test_the_data_of_a_joined_id_are_the_persons(store: Store) -> None:
    with store.write() as db:
        join(db, SESSION, ANN, "cli:root")
    assert consent.check_person(store.db, SESSION) == ANN
    assert consent.check_person(store.db, " slack:t1/uann") == ANN
    with pytest.raises(Invalid):
        consent.check_person(store.db, "ann")


def test_everything_of_the_identity_becomes_the_persons(store: Store, domain: Domain) -> None:
    with store.write() as db:
        reply = given.reply(db, domain, SESSION, "How?", "So.")
        feedback.correction(db, reply, SESSION, "Better so.")
        opt_out.opt_out(db, SESSION)
        join(db, SESSION, ANN, "cli:root")
        join(db, SESSION, ANN, "cli:root")
    assert identities.person_of(store.db, SESSION) == ANN
    seen = personal_data.summarise(store.db, ANN)
    assert (seen.questions, seen.corrections) == (1, 1)
    assert not consent.may_learn(store.db, ANN)
    for table in store.db.table_names():
        if table not in ("joined_identities", "audit"):
            for column in store.db[table].columns_dict:
                found = rows(store.db, f"SELECT 1 FROM [{table}] WHERE [{column}] = ?", [SESSION])
                assert found == [], (table, column)


def test_only_sign_ins_and_sessions_are_joined_to_verified_people(store: Store) -> None:
    with store.write() as db:
        for identity in (ANN, "http:1/ann", "cli:ann"):
            with pytest.raises(Invalid, match="cannot be joined"):
                join(db, identity, "slack:T1/UBOB", "cli:root")
        with pytest.raises(Invalid, match="is not verified"):
            join(db, SIGNED_IN, "web:1", "cli:root")
        join(db, SIGNED_IN, ANN, "cli:root")
        with pytest.raises(Conflict, match="another person"):
            join(db, SIGNED_IN, "slack:T1/UBOB", "cli:root")
        with pytest.raises(Conflict, match="not in a chain"):
            join(db, SESSION, SIGNED_IN, "cli:root")
