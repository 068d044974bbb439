"""Metric sums: sums over people, by stage and variant."""

from dataclasses import asdict, replace
from math import log

import orjson
import pytest

from data.adapters.registry import Adapter
from data.conversations import conversations, side_by_side
from data.domains import Domain
from data.experiments import assignments, experiments, metric_sums, ramps, testers
from data.experiments.experiments import Experiment, Variant
from data.experiments.metric_sums import (
    CORRELATION,
    Ballot,
    ExperimentSums,
    PreferenceCounts,
    Sums,
    equal_weight_sums,
)
from data.feedback import feedback, raters
from data.store.clock import DAY_US, now_us
from data.store.db import Store
from tests.data import given as made


@pytest.fixture
def two(store: Store, domain: Domain) -> tuple[Adapter, Adapter]:
    with store.write() as db:
        return made.adapter(db, domain, "live"), made.adapter(db, domain)


@pytest.fixture
def running(store: Store, domain: Domain, two: tuple[Adapter, Adapter]) -> Experiment:
    with store.write() as db:
        return experiments.start(db, domain, *two, "cli:ann")


def answers(
    store: Store,
    domain: Domain,
    running: Experiment,
    person: str,
    variant: Variant,
    *thumbs: bool | None,
    status: conversations.Status = "done",
) -> list[str]:
    """Expose a person to a variant and give them one answer per thumb; None: not rated."""
    with store.write() as db:
        assignments.expose(db, running.id, person, variant.id)
        given = []
        for up in thumbs:
            given.append(made.reply(db, domain, person, variant=variant, status=status))
            if up is not None:
                feedback.thumb(db, given[-1], person, up)
        return given


def weighed(*people: tuple[int, float]) -> Sums:
    """The sums for people with so many answers and such a mean."""
    ws = [(n / (1 + CORRELATION * (n - 1)), y) for n, y in people]
    return Sums(
        len(people),
        sum(w for w, _ in ws),
        pytest.approx(sum(w * y for w, y in ws)),
        pytest.approx(sum(w * w for w, _ in ws)),
        pytest.approx(sum(w * w * y for w, y in ws)),
        pytest.approx(sum((w * y) ** 2 for w, y in ws)),
    )


def collected(store: Store, running: Experiment) -> ExperimentSums:
    return metric_sums.collect(store.db, experiments.get(store.db, running.id))


def test_a_person_contributes_one_value_no_matter_how_often_they_rate(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    answers(store, domain, running, "p1", a, True, True, True, False)
    answers(store, domain, running, "p2", a, False, False, None)
    answers(store, domain, running, "p3", a, None)
    answers(store, domain, running, "slack:T1/P4", b, True)
    found = collected(store, running)
    (stage,) = found.stages
    assert stage.shares == (0.5, 0.5)
    assert [c.assigned for c in stage.cells] == [3, 1]
    of_a, of_b = (c.of("rating") for c in stage.cells)
    four, two = 4 / (1 + 3 * CORRELATION), 2 / (1 + CORRELATION)  # weights of p1 and p2
    assert asdict(of_a) == pytest.approx(
        {
            "people": 2,
            "w": four + two,
            "wy": 0.75 * four,
            "ww": four**2 + two**2,
            "wwy": 0.75 * four**2,
            "wwyy": (0.75 * four) ** 2,
        }
    )
    assert of_b == equal_weight_sums(1, 1.0, 1.0)
    control = found.variants[0]
    assert (control.adapter, control.replies, control.up, control.down) == ("helpdesk@1", 8, 3, 3)


def test_people_belong_to_the_stage_of_their_first_exposure(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    answers(store, domain, running, "p1", b, True)
    with store.write() as db:
        ramped = ramps.ramp(db, running, 0.8, "cli:ann")
    answers(store, domain, ramped, "p1", b, True)
    answers(store, domain, ramped, "p2", b, False)
    answers(store, domain, ramped, "p3", a, True)
    first, second = collected(store, running).stages
    assert (first.shares, second.shares) == ((0.5, 0.5), pytest.approx((0.2, 0.8)))
    assert [c.of("rating").people for c in (*first.cells, *second.cells)] == [0, 1, 1, 1]
    assert [c.assigned for c in (*first.cells, *second.cells)] == [0, 1, 1, 1]
    assert first.cells[1].of("failed") == weighed((2, 0.0))


def test_testers_are_in_no_sum(store: Store, domain: Domain, running: Experiment) -> None:
    a, b = running.variants
    answers(store, domain, running, "p1", a, True)
    answers(store, domain, running, "web:p2", b, True)
    with store.write() as db:
        testers.set_variant(db, running, "web:p2", "B", "cli:ann")
        testers.set_variant(db, running, "web:p3", "B", "cli:ann")
    answers(store, domain, running, "web:p3", b, True)
    (stage,) = collected(store, running).stages
    assert [c.assigned for c in stage.cells] == [1, 0]
    assert stage.cells[1].sums == {}


def test_the_metrics_of_answers_are_summed(
    store: Store, domain: Domain, running: Experiment
) -> None:
    _, b = running.variants
    first, second, third, fourth = answers(store, domain, running, "p1", b, True, None, None, None)
    answers(store, domain, running, "p2", b, None, status="failed")
    answers(store, domain, running, "p3", b, None, status="partial")
    answers(store, domain, running, "slack:T1/P4", b, None, status="streaming")
    with store.write() as db:
        feedback.correction(db, first, "p1", "Better so.")
        feedback.follow_up(db, first, "p1", True)
        feedback.follow_up(db, second, "p1", False)
        db.execute("UPDATE replies SET again_of = ? WHERE id = ?", [second, third])
        db.execute("UPDATE replies SET latency_us = 2000000 WHERE id = ?", [third])
        db.execute("UPDATE replies SET latency_us = 4000000 WHERE id = ?", [fourth])
    cell = collected(store, running).stages[0].cells[1]
    # p3's answer was broken off and counts as a failure only
    assert cell.of("correction") == weighed((4, 0.25))
    assert cell.of("regenerate") == weighed((4, 0.25))
    assert cell.of("follow_up") == weighed((2, 0.5))
    assert cell.of("failed") == weighed((4, 0.0), (1, 1.0), (1, 1.0))
    assert cell.of("latency") == weighed((2, log(3_000_000)))
    assert cell.assigned == 4


def test_a_fallbacks_answer_counts_only_as_a_failure_of_the_variant(
    store: Store, domain: Domain, running: Experiment
) -> None:
    """Its rating does not count. It counts as a failure for the guardrail, but only for people who
    are assigned to the variant."""
    a, b = running.variants
    answers(store, domain, running, "p1", b, True)
    answers(store, domain, running, "p2", a, True)
    with store.write() as db:
        for person in ("p1", "p2"):
            fallback = made.reply(db, domain, person)
            db.execute("UPDATE replies SET instead_of = ? WHERE id = ?", [b.adapter_id, fallback])
            feedback.thumb(db, fallback, person, False)
            feedback.correction(db, fallback, person, "Better so.")
        db.execute("UPDATE replies SET latency_us = 9000000 WHERE variant_id IS NULL")
        db.execute("UPDATE replies SET latency_us = 3000000 WHERE variant_id = ?", [b.id])
    control, candidate = collected(store, running).stages[0].cells
    assert candidate.of("failed") == weighed((2, 0.5))
    assert candidate.of("latency").people == 1
    assert candidate.of("latency").wy == pytest.approx(log(3_000_000))
    assert candidate.of("rating") == equal_weight_sums(1, 1.0, 1.0)
    assert candidate.of("correction") == equal_weight_sums(1, 0.0, 0.0)
    assert (control.of("failed"), control.of("rating")) == (
        equal_weight_sums(1, 0.0, 0.0),
        equal_weight_sums(1, 1.0, 1.0),
    )


def test_feedback_that_does_not_count_is_in_no_sum(
    store: Store, domain: Domain, running: Experiment
) -> None:
    _, b = running.variants
    (reply,) = answers(store, domain, running, "p1", b, None)
    with store.write() as db:
        feedback.follow_up(db, reply, "p1", True)
        feedback.correction(db, reply, "p1", "Better so.")
        db.execute("UPDATE feedback SET counts = 0")
    cell = collected(store, running).stages[0].cells[1]
    assert cell.of("follow_up").people == 0
    assert cell.of("correction") == equal_weight_sums(1, 0.0, 0.0)


def test_prior_ratings_are_those_that_were_current_at_the_exposure(
    store: Store, domain: Domain, running: Experiment
) -> None:
    _, b = running.variants
    with store.write() as db:
        before = [made.reply(db, domain, "p1") for _ in range(2)]
        for reply in before:
            feedback.thumb(db, reply, "p1", True)
        feedback.thumb(db, made.reply(db, domain, "p2"), "p2", True)
    answers(store, domain, running, "p1", b, False)
    with store.write() as db:
        feedback.thumb(db, before[0], "p1", False)  # after the exposure
        feedback.thumb(db, made.reply(db, domain, "p1"), "p1", False)
    answers(store, domain, running, "p2", b, None)  # rated before, not in the comparison
    answers(store, domain, running, "p3", b, True)  # rated in the comparison, not before
    earlier = collected(store, running).stages[0].cells[1].earlier
    assert asdict(earlier) == {
        "people": 1,
        "w": 1.0,
        "wx": 1.0,
        "ww": 1.0,
        "wwx": 1.0,
        "wwxx": 1.0,
        "wwy": 0.0,
        "wwxy": 0.0,
    }


def test_a_person_with_many_ratings_weighs_at_most_five(
    store: Store, domain: Domain, running: Experiment
) -> None:
    _, b = running.variants
    answers(store, domain, running, "p1", b, *[True] * 45)
    rating = collected(store, running).stages[0].cells[1].of("rating")
    assert rating.w == pytest.approx(45 / (1 + 44 * CORRELATION))
    assert rating.w < 1 / CORRELATION == 5


def test_preferences_between_two_answers_are_grouped_into_ballots(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants

    def choose(person: str, *which: feedback.Preferred, swapped: bool = False) -> None:
        with store.write() as db:
            for preferred in which:
                shown = [made.reply(db, domain, person, variant=v) for v in (a, b)]
                first, second = shown[::-1] if swapped else shown
                side_by_side.open_pairing(db, running.id, person, first, second)
                feedback.prefer(db, first, person, preferred)

    choose("p1", "first", "second", "second", "tie")
    choose("p2", "first", "second", "second", "tie")
    choose("p3", "first", swapped=True)
    with store.write() as db:
        testers.set_variant(db, running, "slack:T1/P4", "B", "cli:ann")
    choose("slack:T1/P4", "first")
    assert collected(store, running).ballots == (
        Ballot((PreferenceCounts("A", "B", 1, 2, 1),), people=2),
        Ballot((PreferenceCounts("B", "A", 1, 0, 0),), people=1),
    )


def test_variants_without_people_have_empty_sums(store: Store, running: Experiment) -> None:
    found = collected(store, running)
    assert [c.assigned for c in found.stages[0].cells] == [0, 0]
    assert all(not c.sums for c in found.stages[0].cells)


def test_a_stopped_comparison_counts_no_later_fallbacks(
    store: Store, domain: Domain, running: Experiment
) -> None:
    _, b = running.variants
    answers(store, domain, running, "p1", b, True)
    with store.write() as db:
        ended = experiments.stop(db, running, "cli:ann")
        late = made.reply(db, domain, "p1")
        db.execute(
            "UPDATE replies SET instead_of = ?, created_at = ? WHERE id = ?",
            [b.adapter_id, now_us() + 1_000_000, late],
        )
    assert collected(store, ended).stages[0].cells[1].of("failed") == equal_weight_sums(1, 0.0, 0.0)


def test_sums_survive_a_round_trip_through_json(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    answers(store, domain, running, "p1", a, True, False, False)
    answers(store, domain, running, "p2", b, True)
    found = replace(
        collected(store, running), ballots=(Ballot((PreferenceCounts("A", "B", 1),), 3),)
    )
    assert metric_sums.from_json(orjson.loads(orjson.dumps(asdict(found)))) == found


# The checks of the ratings


def test_thumbs_are_shares_of_all_answers_that_could_be_rated(
    store: Store, domain: Domain, running: Experiment
) -> None:
    _, b = running.variants
    answers(store, domain, running, "p1", b, True, True, False, None)
    answers(store, domain, running, "p2", b, None, None)
    answers(store, domain, running, "p3", b, None, status="failed")
    cell = collected(store, running).stages[0].cells[1]
    assert cell.of("rated") == weighed((4, 0.75), (2, 0.0))
    assert cell.of("thumbs_up") == weighed((4, 0.5), (2, 0.0))
    assert cell.of("thumbs_down") == weighed((4, 0.25), (2, 0.0))


def test_quarantined_people_are_not_taken_for_people_who_do_not_rate(
    store: Store, domain: Domain, running: Experiment
) -> None:
    _, b = running.variants
    for person in ("p1", "p2"):
        answers(store, domain, running, person, b, True)
    with store.write() as db:
        raters.quarantine(db, domain, "p1", "a bot", "cli:ann")
    cell = collected(store, running).stages[0].cells[1]
    assert cell.of("rated") == weighed((1, 1.0))
    with store.write() as db:
        raters.release(db, domain, "p1", "cli:ann")
    cell = collected(store, running).stages[0].cells[1]
    assert cell.of("rated") == weighed((1, 1.0), (1, 1.0))


def test_slow_answers_take_over_three_times_the_median_of_the_controls_first_answers(
    store: Store, domain: Domain, running: Experiment
) -> None:
    a, b = running.variants
    timed = answers(store, domain, running, "p1", a, None, None, None)
    slow = answers(store, domain, running, "p2", b, None, None)
    with store.write() as db:
        for reply, latency in zip([*timed, *slow], (1, 10, 100, 30, 31), strict=True):
            db.execute("UPDATE replies SET latency_us = ? WHERE id = ?", [latency, reply])
    control, candidate = collected(store, running).stages[0].cells
    assert control.of("slow") == weighed((3, 1 / 3))
    assert candidate.of("slow") == weighed((2, 0.5))


def test_without_answers_of_the_control_no_answer_is_slow(
    store: Store, domain: Domain, running: Experiment
) -> None:
    _, b = running.variants
    answers(store, domain, running, "p1", b, True)
    assert collected(store, running).stages[0].cells[1].of("slow") == Sums()


def test_later_ratings_are_cast_once_the_variant_is_no_longer_new_to_the_person(
    store: Store, domain: Domain, running: Experiment
) -> None:
    _, b = running.variants
    first, second, third = answers(store, domain, running, "p1", b, True, False, False)
    answers(store, domain, running, "p2", b, True)
    with store.write() as db:
        db.execute("UPDATE assignments SET at = 1000")
        for reply, at in ((first, 1000 + 7 * DAY_US - 1), (second, 1000 + 7 * DAY_US)):
            db.execute("UPDATE feedback SET created_at = ? WHERE reply_id = ?", [at, reply])
        feedback.thumb(db, third, "p1", True)  # changed now; only the new rating is current
        sql = "UPDATE feedback SET created_at = 2000 WHERE person = 'p2'"
        db.execute(sql)
    assert collected(store, running).stages[0].cells[1].of("later_rating") == Sums()
    with store.write() as db:
        began = now_us() - 7 * DAY_US
        db.execute("UPDATE experiments SET started_at = ?", [began])
    cell = collected(store, running).stages[0].cells[1]
    assert cell.of("later_rating") == weighed((2, 0.5))
    assert cell.of("rating") == weighed((3, 2 / 3), (1, 1.0))


@pytest.mark.parametrize("days", [0, 30])
def test_the_novelty_days_are_those_of_the_design(
    store: Store, domain: Domain, running: Experiment, days: int
) -> None:
    _, b = running.variants
    answers(store, domain, running, "p1", b, True)
    with store.write() as db:
        began = now_us() - 10 * DAY_US
        db.execute("UPDATE experiments SET started_at = ?", [began])
        db.execute("UPDATE assignments SET at = ?", [began])

    def later() -> int:
        return collected(store, running).stages[0].cells[1].of("later_rating").people

    assert later() == 1
    with store.write() as db:
        terms = orjson.dumps(running.terms | {"novelty_days": days}).decode()
        db.execute("UPDATE experiments SET terms = ?", [terms])
    assert later() == 0
