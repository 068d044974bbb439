"""Figures after an erasure: who comes back is the same person, and forgetting adds no vote."""

import asyncio
import random

import pytest

from data import domains
from data.domains import Domain
from data.experiments import assignments, experiments, metric_sums, testers
from data.experiments.experiments import Experiment
from data.experiments.metric_sums import ExperimentSums
from data.feedback import feedback, raters
from data.people import figures
from data.privacy import erasure, personal_data
from data.store.db import Store, rows, value
from tests.data import given

ANN, BOB = "slack:T1/UANN", "slack:T1/UBOB"


@pytest.fixture
def running(store: Store, domain: Domain) -> Experiment:
    with store.write() as db:
        live, candidate = given.adapter(db, domain, "live"), given.adapter(db, domain)
        return experiments.start(db, domain, live, candidate, "cli:root")


def forget(store: Store, person: str = ANN) -> None:
    asyncio.run(erasure.erase_person(store, store.path.parent, person, person))


def use(store: Store, domain: Domain, running: Experiment, up: bool, person: str = ANN) -> str:
    """Ask once, get the answer of the person's own variant, and rate it."""
    with store.write() as db:
        found = assignments.current_assignment(db, running, person)
        assert found is not None
        assert assignments.may_see(db, running.id, person, found.variant.id)
        assignments.expose(db, running.id, person, found.variant.id)
        reply = given.reply(db, domain, person, variant=found.variant)
        feedback.thumb(db, reply, person, up)
        return reply


def sums(store: Store, running: Experiment) -> ExperimentSums:
    return metric_sums.collect(store.db, running)


def test_forgetting_changes_no_result(store: Store, domain: Domain, running: Experiment) -> None:
    with store.write() as db:
        feedback.thumb(db, given.reply(db, domain, ANN), ANN, up=True)  # for the adjustment
        feedback.thumb(db, given.reply(db, domain, ANN, "", "", running.variants[0]), BOB, up=True)
    use(store, domain, running, up=False)
    before = sums(store, running)
    assert sum(c.earlier.people for c in before.stages[0].cells) == 1
    forget(store)
    assert sums(store, running) == before
    forget(store)
    assert sums(store, running) == before


def test_who_votes_and_forgets_again_and_again_is_one_person(
    store: Store, domain: Domain, running: Experiment
) -> None:
    """It was a new person each time: 54 rounds rolled a candidate back."""
    for _ in range(50):
        use(store, domain, running, up=False)
        forget(store)
    cells = sums(store, running).stages[0].cells
    assert sum(c.assigned for c in cells) == 1
    rated = [c.of("rating") for c in cells if c.of("rating").people]
    assert [(r.people, r.wy) for r in rated] == [(1, 0.0)]
    assert rated[0].w == pytest.approx(50 / (1 + 0.2 * 49)), "fifty ratings of one person"
    assert sum(v.down for v in sums(store, running).variants) == 50


def test_who_comes_back_is_on_the_same_side_after_a_ramp(
    store: Store, domain: Domain, running: Experiment
) -> None:
    first = assignments.variant_for(running, ANN)
    other = next(v for v in running.variants if v != first)
    with store.write() as db:
        assignments.expose(db, running.id, ANN, other.id)  # not what the hash gives
    forget(store)
    found = assignments.current_assignment(store.db, running, ANN)
    assert found == assignments.VariantAssignment(other, settled=True)
    use(store, domain, running, up=True)
    assert assignments.current_assignment(store.db, running, ANN) == found


def test_who_had_a_candidate_is_left_out_of_the_next_comparison_also_after_an_erasure(
    store: Store, domain: Domain, running: Experiment
) -> None:
    with store.write() as db:
        assignments.expose(db, running.id, ANN, running.variants[1].id)
        experiments.stop(db, running, "cli:root")
        db.execute("UPDATE experiments SET excludes = 1")
    forget(store)
    again = experiments.get(store.db, running.id)
    with store.write() as db:
        db.execute("DELETE FROM assignments WHERE person = ?", [ANN])
    assert assignments.current_assignment(store.db, again, BOB) is not None
    with store.write() as db:
        new = experiments.begin(
            db,
            domain,
            [experiments.VariantSpec(None), experiments.VariantSpec(given.adapter(db, domain))],
            "cli:root",
            excludes=running.id,
        )
    assert assignments.current_assignment(store.db, new, ANN) is None


def test_a_quarantine_survives_an_erasure(
    store: Store, domain: Domain, running: Experiment
) -> None:
    use(store, domain, running, up=False)
    with store.write() as db:
        raters.quarantine(db, domain, ANN, "a test", "cli:root")
    forget(store)
    assert raters.count_quarantined(store.db, domain.id) == 1
    reply = use(store, domain, running, up=False)
    assert raters.quarantined(store.db, domain.id, ANN)
    rating = feedback.live(store.db, reply, ANN, "thumb")
    assert rating is not None
    assert not rating.counts


def test_an_old_answer_can_be_rated_anew(store: Store, domain: Domain, running: Experiment) -> None:
    """The message of an erased answer may still be in Slack, with its buttons."""
    reply = use(store, domain, running, up=False)
    forget(store)
    with store.write() as db:
        feedback.thumb(db, reply, ANN, up=True)
    assert sum(c.of("rating").wy for c in sums(store, running).stages[0].cells) == 1.0
    assert len(rows(store.db, "SELECT 1 FROM feedback WHERE live = 1 AND kind = 'thumb'")) == 1


def test_who_comes_back_while_they_are_being_erased_stops_nothing(
    store: Store, domain: Domain, running: Experiment
) -> None:
    """After a crash, the next attempt found two exposures of one person, and failed for ever."""
    use(store, domain, running, up=True)
    with store.write() as db:
        receipt = erasure.begin(db, ANN, ANN)
        while not erasure.step(db, receipt):
            pass
    use(store, domain, running, up=True)
    with store.write() as db:  # as if it had not been recognised: two rows of one person
        figures.rename(db, domain.id, ANN, figures.pseudonym(db, domain.id, ANN))
        assignments.expose(db, running.id, BOB, running.variants[0].id)
        db.execute("UPDATE assignments SET person = ?, at = 1 WHERE person = ?", [ANN, BOB])
    (done,) = asyncio.run(erasure.resume(store, store.path.parent))
    assert done.receipt == receipt
    assert erasure.begin(store.db, ANN, ANN) != receipt, "it is finished"
    people = [r["person"] for r in rows(store.db, "SELECT person FROM assignments")]
    assert people == [figures.pseudonym(store.db, domain.id, ANN)]
    assert value(store.db, "SELECT at FROM assignments") == 1, "the first exposure stays"


CURRENT = """
SELECT r.variant_id, r.person, sum(f.value = 1) AS up, sum(f.value = 0) AS down
FROM feedback f JOIN replies r ON r.id = f.reply_id AND r.person = f.person
WHERE f.kind = 'thumb' AND f.live = 1 AND f.counts = 1 GROUP BY 1, 2 ORDER BY 1, 2
"""


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_during_an_erasure_a_person_is_one(
    store: Store, domain: Domain, running: Experiment, seed: int
) -> None:
    """An erasure takes several transactions, or is interrupted. Who rated an old answer anew in
    between was a second person, and the erasure then failed for ever."""
    dice, replies = random.Random(seed), [use(store, domain, running, up=True)]

    def ask() -> None:
        replies.append(use(store, domain, running, up=dice.random() < 0.5))

    def rate_anew() -> None:
        with store.write() as db:
            feedback.thumb(db, dice.choice(replies), ANN, up=dice.random() < 0.5)

    def erase_a_part() -> None:
        with store.write() as db:
            receipt = erasure.begin(db, ANN, ANN)
            for _ in range(dice.randrange(1, 12)):
                erasure.step(db, receipt, most=dice.choice([1, 2, 5]))

    def resume() -> None:
        asyncio.run(erasure.resume(store, store.path.parent))

    for _ in range(40):
        dice.choice([ask, rate_anew, erase_a_part, resume])()
    resume()
    forget(store)
    kept = "SELECT * FROM ratings WHERE up + down > 0 ORDER BY variant_id"
    assert [dict(r) for r in rows(store.db, kept)] == rows(store.db, CURRENT)
    assert sum(c.assigned for c in sums(store, running).stages[0].cells) == 1


def test_two_ratings_of_one_answer_stop_no_erasure(
    store: Store, domain: Domain, running: Experiment
) -> None:
    """As an interrupted erasure of an earlier version left them."""
    reply = use(store, domain, running, up=True)
    with store.write() as db:
        feedback.thumb(db, reply, BOB, up=False)
        hidden = figures.pseudonym(db, domain.id, ANN)
        db.execute("UPDATE feedback SET person = ? WHERE person = ?", [hidden, BOB])
    forget(store)
    live = rows(store.db, "SELECT person, value FROM feedback WHERE live = 1")
    assert live == [{"person": hidden, "value": 0.0}]


def test_nothing_names_them_and_domains_cannot_be_linked(
    store: Store, domain: Domain, running: Experiment
) -> None:
    use(store, domain, running, up=True)
    with store.write() as db:
        other = domains.create(db, "travel")
        feedback.thumb(db, given.reply(db, other, ANN), ANN, up=True)
    forget(store)
    found = {r["person"] for r in rows(store.db, "SELECT person FROM replies")}
    assert found == {figures.pseudonym(store.db, d.id, ANN) for d in (domain, other)}
    assert len(found) == 2
    assert all(name.startswith("forgotten:") for name in found)
    with Store(store.path.parent / "another.db") as another:
        assert figures.pseudonym(another.db, domain.id, ANN) not in found
    assert personal_data.summarise(store.db, ANN).questions == 0
    use(store, domain, running, up=True)
    assert personal_data.summarise(store.db, ANN).questions == 1, "the erased one has no words"


def test_only_who_was_erased_is_recognised(
    store: Store, domain: Domain, running: Experiment
) -> None:
    use(store, domain, running, up=True)
    forget(store)
    with store.write() as db:
        assert not figures.recognise(db, domain.id, BOB)
        assert len(rows(db, "SELECT 1 FROM erased_people")) == 1
        figures.erase(db, domain.id, BOB)
        assert len(rows(db, "SELECT 1 FROM erased_people")) == 1, "there is nothing of Bob's"
        assert figures.recognise(db, domain.id, ANN)
        assert not figures.recognise(db, domain.id, ANN)


def test_the_figures_of_two_ids_become_those_of_one_person(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    with store.write() as db:
        for person, side, up in ((ANN, a, True), (BOB, a, False), (BOB, b, False)):
            assignments.expose(db, running.id, person, side.id)
            feedback.thumb(db, given.reply(db, domain, person, variant=side), person, up)
        both = given.reply(db, domain, ANN, variant=a)
        feedback.thumb(db, both, ANN, up=True)
        feedback.thumb(db, both, BOB, up=False)
        testers.set_variant(db, running, BOB, "A", "cli:root")
        raters.quarantine(db, domain, BOB, "a test", "cli:root")
        figures.rename(db, domain.id, BOB, ANN)
    for table in ("replies", "feedback", "assignments", "ratings", "tallies", "voters", "testers"):
        assert rows(store.db, f"SELECT 1 FROM {table} WHERE person = ?", [BOB]) == [], table
    rated = rows(store.db, "SELECT up, down FROM ratings WHERE variant_id = ?", [a.id])
    assert rated == [], "one person is quarantined, with all that they rated"
    assert value(store.db, "SELECT sum(up) FROM tallies") == 2
    assert raters.quarantined(store.db, domain.id, ANN)
    live = rows(store.db, "SELECT value FROM feedback WHERE reply_id = ? AND live = 1", [both])
    assert live == [{"value": 1.0}]
    with store.write() as db:
        raters.release(db, domain, ANN, "cli:root")
    rated = rows(store.db, "SELECT up, down FROM ratings WHERE variant_id = ?", [a.id])
    assert rated == [{"up": 2, "down": 1}], "of the answer that both rated, one rating"
    assert value(store.db, "SELECT tester FROM assignments") == 1
