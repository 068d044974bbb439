"""Whose judgement counts in a comparison: the asker's, of the answer given to them, and no other.

What other people press under an answer is stored, shown and learned from."""

import pytest

from data.domains import Domain
from data.experiments import assignments, experiments, metric_sums
from data.experiments.experiments import Experiment
from data.experiments.metric_sums import Cell
from data.feedback import feedback, raters
from data.pairs import pairs, preference_sets
from data.store.db import Store
from tests.data import given

ANN, BOB = "slack:T1/UANN", "slack:T1/UBOB"


@pytest.fixture
def running(store: Store, domain: Domain) -> Experiment:
    with store.write() as db:
        live, candidate = given.adapter(db, domain, "live"), given.adapter(db, domain)
        return experiments.start(db, domain, live, candidate, "cli:root")


@pytest.fixture
def reply(store: Store, domain: Domain, running: Experiment) -> str:
    """An answer of B, which Ann asked for."""
    with store.write() as db:
        assignments.expose(db, running.id, ANN, running.variants[1].id)
        return given.reply(db, domain, ANN, variant=running.variants[1])


def cell_b(store: Store, running: Experiment) -> Cell:
    return metric_sums.collect(store.db, running).stages[0].cells[1]


def test_presses_on_the_answers_of_others_move_nothing(
    store: Store, domain: Domain, running: Experiment
) -> None:
    with store.write() as db:
        replies = []
        for number in range(50):
            person, b = f"slack:T1/U{number}", running.variants[1]
            assignments.expose(db, running.id, person, b.id)
            replies.append(given.reply(db, domain, person, variant=b))
            feedback.thumb(db, replies[-1], person, up=True)
    before = cell_b(store, running)
    with store.write() as db:
        for reply in replies:
            feedback.thumb(db, reply, BOB, up=False)

    assert cell_b(store, running) == before
    assert before.of("rating").people == 50
    assert feedback.counts(store.db, domain.id)["down"] == 50, "they are shown"
    (line,) = [r for r in raters.page(store.db, domain, everyone=True) if r.person == BOB]
    assert (line.up, line.down) == (0, 50)


def test_the_asker_counts_whatever_others_press(
    store: Store, running: Experiment, reply: str
) -> None:
    with store.write() as db:
        feedback.thumb(db, reply, BOB, up=False)
        feedback.thumb(db, reply, ANN, up=True)
        feedback.withdraw(db, reply, BOB, "thumb")
    rated = cell_b(store, running).of("rating")
    assert (rated.people, rated.wy) == (1, 1.0)


def test_a_quarantine_and_a_release_of_a_bystander_move_nothing(
    store: Store, domain: Domain, running: Experiment, reply: str
) -> None:
    with store.write() as db:
        feedback.thumb(db, reply, ANN, up=True)
        feedback.thumb(db, reply, BOB, up=False)
        before = cell_b(store, running)
        raters.quarantine(db, domain, BOB, "a test", "cli:root")
        assert cell_b(store, running) == before
        raters.release(db, domain, BOB, "cli:root")
        assert cell_b(store, running) == before


@pytest.mark.parametrize(("person", "corrected"), [(ANN, 1.0), (BOB, 0.0)])
def test_a_correction_counts_if_the_asker_wrote_it(
    store: Store, domain: Domain, running: Experiment, reply: str, person: str, corrected: float
) -> None:
    with store.write() as db:
        feedback.correction(db, reply, person, "Better so.")
    assert cell_b(store, running).of("correction").wy == corrected
    assert len(pairs.list_pairs(store.db, domain, "pending")) == 1, "both are learned from"


@pytest.mark.parametrize(("person", "again"), [(ANN, 0.5), (BOB, 0.0)])
def test_a_regeneration_counts_if_the_asker_wanted_it(
    store: Store, domain: Domain, running: Experiment, reply: str, person: str, again: float
) -> None:
    with store.write() as db:
        assignments.expose(db, running.id, BOB, running.variants[0].id)
        side = running.variants[1] if person == ANN else running.variants[0]
        anew = given.reply(db, domain, person, variant=side)
        db.execute("UPDATE replies SET again_of = ? WHERE id = ?", [reply, anew])
    found = cell_b(store, running).of("regenerate")
    assert found.wy / found.w == again


def test_whether_it_helped_is_the_askers_to_say(
    store: Store, running: Experiment, reply: str
) -> None:
    with store.write() as db:
        feedback.follow_up(db, reply, BOB, helped=False)
    assert cell_b(store, running).of("follow_up").people == 0
    with store.write() as db:
        feedback.follow_up(db, reply, ANN, helped=True)
    helped = cell_b(store, running).of("follow_up")
    assert (helped.people, helped.wy) == (1, 1.0)


def test_ratings_before_the_comparison_adjust_it_only_on_own_answers(
    store: Store, domain: Domain, running: Experiment
) -> None:
    """The adjustment by earlier ratings (CUPED) reads how the person rates what they are given."""
    b = running.variants[1]
    with store.write() as db:
        feedback.thumb(db, given.reply(db, domain, BOB), ANN, up=False)
        feedback.thumb(db, given.reply(db, domain, ANN), ANN, up=True)
        assignments.expose(db, running.id, ANN, b.id)
        feedback.thumb(db, given.reply(db, domain, ANN, variant=b), ANN, up=True)
    earlier = cell_b(store, running).earlier
    assert (earlier.people, earlier.wx) == (1, 1.0)


def test_a_run_learns_from_what_bystanders_press(store: Store, domain: Domain, reply: str) -> None:
    with store.write() as db:
        feedback.thumb(db, reply, BOB, up=False)
    assert preference_sets.counts(store.db, domain) == (0, 1)
