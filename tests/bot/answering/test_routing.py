"""Which targets are planned for a question, in which order, and why none can be."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlite_utils import Database

from bot.answering.routing import NoEngine, Route, Target, all_held, replicas_holding, targets_for
from data import domains
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import assignments, experiments, policies, ramps
from data.experiments.experiments import Experiment
from data.store.db import Store
from data.store.errors import Invalid, NotFound
from serving.client import AdapterMissing
from tests.bot.conftest import add_adapter, add_replica
from tests.data import given

PEOPLE = [f"slack:T1/U{n}" for n in range(200)]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with Store(tmp_path / "understudy.db") as store, store.write() as db:
        yield db


@pytest.fixture
def domain(db: Database) -> Domain:
    return domains.create(db, "helpdesk")


@pytest.fixture
def three(db: Database, domain: Domain) -> list[Adapter]:
    """The third is live, the second was; `one` holds all, `two` the second and the third."""
    adapters = [add_adapter(db, domain, version) for version in (1, 2, 3)]
    for adapter in adapters[1:]:
        registry.promote(db, adapter, "cli:ann")
    add_replica(db, "http://one", *adapters, name="one")
    add_replica(db, "http://two", *adapters[1:], name="two")
    return adapters


def planned(
    db: Database, domain: Domain, person: str = "p", **more: str
) -> list[tuple[str, list[str]]]:
    """The targets' names and their replicas."""
    targets = targets_for(db, domain, person, **more)
    return [(target.name, [replica.name for replica in target.replicas]) for target in targets]


def compared(db: Database, domain: Domain, a: Adapter | None, b: Adapter | None) -> Experiment:
    return given.same_sides(db, experiments.start(db, domain, a, b, "cli:ann"))


def on(experiment: Experiment, label: str) -> str:
    return next(p for p in PEOPLE if assignments.variant_for(experiment, p).label == label)


def test_the_live_adapter_answers_then_the_one_before_it_then_the_base(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    assert planned(db, domain) == [
        ("helpdesk@3", ["one", "two"]),
        ("helpdesk@2", ["one", "two"]),
        ("base", ["one", "two"]),
    ]


def test_an_adapter_that_no_engine_holds_stays_planned(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    db.execute("DELETE FROM placements WHERE adapter_id = ?", [three[2].id])
    assert planned(db, domain)[0] == ("helpdesk@3", [])


def test_without_a_live_adapter_the_base_answers(db: Database, domain: Domain) -> None:
    add_replica(db, "http://one", add_adapter(db, domain, 1), name="one")
    assert planned(db, domain) == [("base", ["one"])]


def test_after_a_roll_back_to_the_base_no_adapter_is_a_fallback(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    registry.demote(db, three[2], "cli:ann")
    assert planned(db, domain) == [("base", ["one", "two"])]


def test_a_person_gets_their_variant_and_the_usual_adapters_as_fallbacks(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    running = compared(db, domain, three[2], three[0])
    first = targets_for(db, domain, on(running, "B"))[0]
    assert first.variant == running.variants[1]
    assert (first.experiment_id, first.stage, first.is_second_answer) == (running.id, 1, False)
    assert planned(db, domain, on(running, "B")) == [
        ("helpdesk@1", ["one"]),
        ("helpdesk@3", ["one", "two"]),
        ("helpdesk@2", ["one", "two"]),
        ("base", ["one", "two"]),
    ]


def test_no_adapter_is_planned_twice(db: Database, domain: Domain, three: list[Adapter]) -> None:
    running = compared(db, domain, three[2], three[0])
    targets = targets_for(db, domain, on(running, "A"))
    assert [target.name for target in targets] == ["helpdesk@3", "helpdesk@2", "base"]
    assert targets[0].variant == running.variants[0]
    assert targets[1].variant is None


def test_the_base_may_be_a_variant(db: Database, domain: Domain, three: list[Adapter]) -> None:
    running = compared(db, domain, None, three[2])
    first = targets_for(db, domain, on(running, "A"))[0]
    assert (first.name, first.variant) == ("base", running.variants[0])
    assert [replica.name for replica in first.replicas] == ["one", "two"]


def test_the_stage_of_a_variant_is_the_present_one(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    running = compared(db, domain, three[2], three[0])
    grown = ramps.ramp(db, running, 0.8, "cli:ann")
    assert [t.stage for t in targets_for(db, domain, on(grown, "B"))] == [2, 1, 1, 1]


def test_nobody_new_joins_a_comparison_while_a_variant_is_held_by_no_engine(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    running = compared(db, domain, three[2], three[0])
    joined, new = on(running, "B"), on(running, "A")
    assignments.expose(db, running.id, joined, running.variants[1].id)
    db.execute("DELETE FROM placements WHERE adapter_id = ?", [three[0].id])
    assert [t.variant for t in targets_for(db, domain, new)] == [None] * 3
    assert targets_for(db, domain, joined)[0].variant == running.variants[1]
    assert not all_held(running, placements.holders(db))


def test_all_variants_are_held_where_each_adapter_is(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    held = placements.holders(db)
    assert all_held(compared(db, domain, None, three[0]), held)
    assert not all_held(experiments.get(db, 1), {three[1].id: held[three[1].id]})


def test_who_is_held_out_is_answered_as_if_there_were_no_comparison(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    compared(db, domain, three[2], three[0])
    policies.set_holdout(db, domain, 0.5, "cli:ann")
    variants = [targets_for(db, domain, person)[0].variant for person in PEOPLE]
    assert 60 < variants.count(None) < 140


def test_a_second_answer_is_of_the_named_variant_and_has_no_fallback(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    running = compared(db, domain, three[2], three[0])
    for variant, name in zip(running.variants, ("helpdesk@3", "helpdesk@1"), strict=True):
        [target] = targets_for(db, domain, "p", second_variant=variant.label)
        assert (target.name, target.variant, target.is_second_answer) == (name, variant, True)
    with pytest.raises(AdapterMissing, match="has just ended"):
        targets_for(db, domain, "p", second_variant="C")
    experiments.stop(db, running, "cli:ann")
    with pytest.raises(AdapterMissing, match="has just ended"):
        targets_for(db, domain, "p", second_variant="B")


def test_a_second_answer_may_be_the_bases(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    compared(db, domain, None, three[2])
    [target] = targets_for(db, domain, "p", second_variant="A")
    assert (target.name, [r.name for r in target.replicas]) == ("base", ["one", "two"])


def test_a_pinned_adapter_has_no_fallback(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    compared(db, domain, three[2], three[1])
    assert planned(db, domain, pinned="helpdesk@1") == [("helpdesk@1", ["one"])]
    assert planned(db, domain, pinned="helpdesk@base") == [("base", ["one", "two"])]


def test_an_adapter_of_another_domain_cannot_be_pinned(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    with pytest.raises(Invalid, match="helpdesk@1 is not an adapter of other"):
        targets_for(db, domains.create(db, "other"), "p", pinned="helpdesk@1")


def test_a_pinned_adapter_that_is_not_served_says_why(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    evaluating = add_adapter(db, domain, 4, state="evaluating")
    placements.record_loaded(db, "one", evaluating.id, 1.0)
    add_adapter(db, domain, 5, state="rejected", state_reason="Its loss is higher.")
    registry.retire(db, add_adapter(db, domain, 6), "cli:ann")
    add_adapter(db, domain, 7)
    failed = add_adapter(db, domain, 8)
    placements.record_failed(db, "one", failed.id, "out of memory")
    placements.lease(db, "one", add_adapter(db, domain, 9).id, placements.UNKNOWN)
    for version, error, words in (
        (4, NotFound, "still being evaluated"),
        (5, NotFound, "rejected and is not served: Its loss is higher."),
        (6, NotFound, "retired"),
        (7, AdapterMissing, "helpdesk@7 is not loaded yet"),
        (8, AdapterMissing, "could load helpdesk@8: out of memory"),
        (9, AdapterMissing, "helpdesk@9 is not loaded yet"),
    ):
        with pytest.raises(error, match=words):
            targets_for(db, domain, "p", pinned=f"helpdesk@{version}")


def test_an_adapter_that_was_rejected_or_retired_may_be_pinned_while_it_is_held(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    registry.retire(db, three[0], "cli:ann")
    assert planned(db, domain, pinned="helpdesk@1") == [("helpdesk@1", ["one"])]


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ([], "No engine is running"),
        ([("down", placements.STOPPED)], "No engine is running"),
        ([("down", "crashed")], "restarts automatically"),
        ([("starting", "")], "is starting"),
        ([("draining", "")], "is starting"),
        ([("down", "crashed"), ("starting", "")], "is starting"),
        ([("down", placements.STOPPED), ("down", "crashed")], "restarts automatically"),
        ([("asleep", "")], "learning"),
        ([("starting", ""), ("asleep", "")], "learning"),
    ],
)
def test_without_a_ready_engine_people_are_told_why(
    db: Database, domain: Domain, states: list[tuple[str, str]], words: str
) -> None:
    for number, (state, detail) in enumerate(states):
        placements.record_heartbeat(db, f"local-{number}", "http://r", "pocket", state, detail)
    with pytest.raises(NoEngine, match=words) as caught:
        targets_for(db, domain, "p")
    assert caught.value.retry_after == 30


def test_of_an_external_engine_nobody_is_told_that_it_restarts(
    db: Database, domain: Domain
) -> None:
    placements.record_heartbeat(db, "10.0.0.5:8000", "http://r", "pocket", "down", "no answer")
    with pytest.raises(NoEngine, match="has to be restarted where it runs"):
        targets_for(db, domain, "p")

    placements.record_heartbeat(db, "local-1", "http://r", "pocket", "down", "crashed")
    with pytest.raises(NoEngine, match="restarts automatically"):
        targets_for(db, domain, "p")


def test_an_engine_that_fell_silent_is_none(db: Database, domain: Domain) -> None:
    placements.record_heartbeat(db, "one", "http://one", "pocket", "starting")
    db.execute("UPDATE replicas SET heartbeat_at = 0")
    with pytest.raises(NoEngine, match="No engine is running"):
        targets_for(db, domain, "p")


def test_a_target_has_a_name_for_people_and_one_for_the_engine(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    adapter = Target(three[0], ())
    base = Target(None, ())
    assert (adapter.adapter_id, adapter.name) == (three[0].id, "helpdesk@1")
    assert (base.adapter_id, base.name) == (None, "base")
    assert (base.stage, base.is_second_answer, base.variant) == (1, False, None)
    assert base.experiment_id is None
    one = placements.replica(db, "one")
    assert Route(adapter, one).key == ("one", "helpdesk@1")
    assert Route(adapter, one).instead_of is None
    assert Route(adapter, one).served_name == three[0].served_name
    assert Route(base, one).served_name == "base@0"
    checked = replace(one, base_name="base")  # its check at the start allows the bare base
    assert Route(base, checked).served_name == "base"
    assert Route(adapter, checked).served_name == three[0].served_name


def test_replicas_that_hold_a_target_are_looked_up_anew(
    db: Database, domain: Domain, three: list[Adapter]
) -> None:
    def holding(target: Target) -> list[str]:
        return [replica.name for replica in replicas_holding(db, target)]

    first, base = Target(three[0], ()), Target(None, ())
    assert holding(first) == ["one"]
    assert holding(base) == ["one", "two"]
    placements.record_heartbeat(db, "one", "http://one", "pocket", "draining")
    assert holding(first) == []
    assert holding(base) == ["two"]
