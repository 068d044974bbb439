"""Which ratings do not count in a comparison, why, and whose do."""

import pytest

from data.conversations import side_by_side
from data.domains import Domain
from data.experiments import assignments, experiments, metric_sums, testers
from data.experiments.design import ExperimentDesign
from data.experiments.experiments import Experiment
from data.feedback import feedback, raters, uncounted
from data.people import keys
from data.store.db import Store
from data.store.errors import Invalid
from tests.data import given

ANN, BOB = "slack:T1/UANN", "slack:T1/UBOB"
HTTP, WEB = "http:1/ann", "web:0a1b"


@pytest.fixture
def running(store: Store, domain: Domain) -> Experiment:
    with store.write() as db:
        keys.create(db, "backend", "member", "cli:root")
        live, candidate = given.adapter(db, domain, "live"), given.adapter(db, domain)
        return experiments.start(db, domain, live, candidate, "cli:root")


def rate(
    store: Store, domain: Domain, running: Experiment, person: str, up: bool = True, side: int = 1
) -> str:
    with store.write() as db:
        assignments.expose(db, running.id, person, running.variants[side].id)
        reply = given.reply(db, domain, person, variant=running.variants[side])
        feedback.thumb(db, reply, person, up)
        return reply


def reasons(store: Store, running: Experiment) -> dict[str, int]:
    found = uncounted.uncounted(store.db, running)
    return {u.reason: u.ratings for u in found}


def raters_of_b(store: Store, running: Experiment) -> int:
    return metric_sums.collect(store.db, running).stages[0].cells[1].of("rating").people


def test_every_rating_of_a_verified_asker_counts(
    store: Store, domain: Domain, running: Experiment
) -> None:
    for person in (ANN, BOB, "cli:root", "user:ann"):
        rate(store, domain, running, person)
    assert uncounted.uncounted(store.db, running) == []
    assert uncounted.heading([]) == uncounted.advice(running, []) == ""
    assert raters_of_b(store, running) == 4


def test_people_whom_nobody_answers_for_do_not_count(
    store: Store, domain: Domain, running: Experiment
) -> None:
    for person in (HTTP, WEB, "http:1"):
        rate(store, domain, running, person, up=person == WEB)
    found = uncounted.uncounted(store.db, running)
    assert [(u.reason, u.ratings, u.people, u.up, u.down) for u in found] == [
        ("unverified", 3, 3, 1, 2)
    ]
    assert uncounted.heading(found) == (
        "Ratings that do not count: 3 ratings by people who are not verified (1 up, 2 down)."
    )
    assert "keys mark KEY vouched" in uncounted.advice(running, found)
    (stage,) = metric_sums.collect(store.db, running).stages
    assert [c.assigned for c in stage.cells] == [0, 0], "nor in the split of the people"
    assert stage.cells[1].sums == {}, "nor in any other metric"


@pytest.mark.parametrize(("people", "counted"), [("unverified", 0), ("one", 1), ("vouched", 2)])
def test_marking_a_key_makes_its_people_count_at_once(
    store: Store, domain: Domain, running: Experiment, people: keys.KeyPeople, counted: int
) -> None:
    for person in ("http:1", HTTP, "http:1/bob", WEB):
        rate(store, domain, running, person)
    with store.write() as db:
        keys.set_people(db, 1, people, "cli:root")
    assert raters_of_b(store, running) == counted
    assert reasons(store, running) == {"unverified": 4 - counted}


@pytest.mark.parametrize("people", ["anyone", "everyone"])
def test_a_comparison_can_count_others_too(store: Store, domain: Domain, people: str) -> None:
    with store.write() as db:
        live, candidate = given.adapter(db, domain, "live"), given.adapter(db, domain)
        running = experiments.begin(
            db,
            domain,
            [experiments.VariantSpec(live), experiments.VariantSpec(candidate)],
            "cli:root",
            terms={"people": people},
        )
    for person in (ANN, HTTP, WEB):
        rate(store, domain, running, person)
    assert raters_of_b(store, running) == 3
    assert uncounted.uncounted(store.db, running) == []


def test_only_known_choices_of_people_are_taken() -> None:
    assert ExperimentDesign().people == "verified"
    with pytest.raises(Invalid, match="'all' is not one of verified, anyone, everyone"):
        ExperimentDesign(people="all")  # type: ignore[arg-type]


def test_every_other_reason_is_named(store: Store, domain: Domain, running: Experiment) -> None:
    a, b = running.variants
    seen = rate(store, domain, running, ANN)
    with store.write() as db:
        feedback.thumb(db, seen, BOB, up=False)
        testers.set_variant(db, running, "slack:T1/UT", "B", "cli:root")
        feedback.thumb(db, given.reply(db, domain, ANN, variant=a), ANN, up=True)
        broken = given.reply(db, domain, ANN, variant=b, status="partial")
        feedback.thumb(db, broken, ANN, up=True)
        first, second = (given.reply(db, domain, ANN, variant=b) for _ in range(2))
        side_by_side.open_pairing(db, running.id, ANN, first, second)
        feedback.thumb(db, first, ANN, up=True)
        feedback.thumb(db, second, ANN, up=True)
    rate(store, domain, running, "slack:T1/UT")
    rate(store, domain, running, "slack:T1/UQ", up=False)
    for _ in range(51):
        rate(store, domain, running, "slack:T1/UC")
    with store.write() as db:
        raters.quarantine(db, domain, "slack:T1/UQ", "a test", "cli:root")
    assert reasons(store, running) == {
        "bystander": 1,
        "tester": 1,
        "another_variant": 1,
        "interrupted": 1,
        "side_by_side": 2,
        "quarantined": 1,
        "over_cap": 1,
    }
    assert set(reasons(store, running)) | {"unverified"} == set(uncounted.REASONS)
    assert "2 ratings of answers that were shown side by side" in uncounted.heading(
        uncounted.uncounted(store.db, running)
    )
    assert uncounted.advice(running, uncounted.uncounted(store.db, running)) == ""


def test_preferences_of_people_who_are_not_verified_do_not_count(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    for person in (ANN, WEB):
        with store.write() as db:
            assignments.expose(db, running.id, person, b.id)
            first, second = (given.reply(db, domain, person, variant=v) for v in (a, b))
            side_by_side.open_pairing(db, running.id, person, first, second)
            feedback.prefer(db, first, person, "first")
    (ballot,) = metric_sums.collect(store.db, running).ballots
    assert ballot.people == 1
