"""What becomes of the adapter of a triggered run: a person, a comparison that grows, or live."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.experiments import comparisons, rollout
from bot.experiments.rollout import ACTOR, STAGE_PEOPLE, STAGE_US, Rollout
from data import domains
from data.adapters import registry
from data.domains import Domain
from data.experiments import assignments, experiments
from data.experiments.experiments import Experiment
from data.runs import runs
from data.store.clock import now_us
from data.store.db import Store, insert, value
from data.store.errors import Invalid
from data.triggers import rules
from tests.data import given

ANN = "cli:ann"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "understudy.db") as store:
        yield store


@pytest.fixture
def domain(store: Store) -> Domain:
    with store.write() as db:
        return domains.create(db, "helpdesk")


def triggered(store: Store, domain: Domain, then: str, state: str = "candidate") -> int:
    """A triggered run that has made an adapter."""
    with store.write() as db:
        rules.change(db, domain, {"then": then}, ANN)
        adapter = given.adapter(db, domain, state)
        run = runs.queue(db, domain, "trigger:pairs", kind="full")
        db.execute("UPDATE runs SET state = 'done', adapter_id = ?", [adapter.id])
        insert(
            db, "triggered_runs", run_id=run.id, domain_id=domain.id, trigger="pairs",
            key=str(run.id), why="w", at=now_us(),
        )  # fmt: skip
        return run.id


def step(store: Store, now: int | None = None) -> None:
    async def once() -> None:
        worked = Rollout(store)
        await worked.step(now_us() if now is None else now)
        await worked.close()

    asyncio.run(once())


def done(store: Store, run_id: int) -> str:
    sql = "SELECT followed_up FROM triggered_runs WHERE run_id = ?"
    return str(value(store.db, sql, [run_id]))


def running(store: Store, domain: Domain) -> Experiment:
    found = experiments.running(store.db, domain.id)
    assert found is not None
    return found


def states(store: Store, domain: Domain) -> list[str]:
    return [a.state for a in registry.list_adapters(store.db, domain)][::-1]


def people_get_it(store: Store, experiment: Experiment, people: int) -> None:
    with store.write() as db:
        candidate = experiment.variants[1]
        for n in range(people):
            person = f"slack:T1/S{experiment.stage}N{n}"
            assignments.expose(db, experiment.id, person, candidate.id, experiment.stage)


def test_an_adapter_is_left_to_a_person_unless_the_domain_says_otherwise(
    store: Store, domain: Domain
) -> None:
    run = triggered(store, domain, "ask")
    step(store)
    assert done(store, run) == "left to a person"
    assert states(store, domain) == ["candidate"]


def test_an_adapter_can_go_live_by_itself(store: Store, domain: Domain) -> None:
    run = triggered(store, domain, "promote")
    step(store)
    assert done(store, run) == "promoted"
    assert states(store, domain) == ["live"]
    assert value(store.db, "SELECT actor FROM promotions") == ACTOR


def test_a_rejected_adapter_is_left_alone(store: Store, domain: Domain) -> None:
    run = triggered(store, domain, "promote", "rejected")
    step(store)
    assert done(store, run) == "nothing: it is rejected"
    assert states(store, domain) == ["rejected"]


def test_an_adapter_of_unknown_quality_needs_a_person(store: Store, domain: Domain) -> None:
    run = triggered(store, domain, "promote")
    with store.write() as db:
        db.execute("""UPDATE adapters SET scores = '{"gate": {"measured": false}}'""")
    step(store)
    assert done(store, run) == "left to a person: its quality is unknown"
    assert states(store, domain) == ["candidate"]


def test_an_adapter_that_an_engine_refuses_needs_a_person(store: Store, domain: Domain) -> None:
    run = triggered(store, domain, "promote")
    with store.write() as db:
        insert(
            db, "replicas", name="r", url="u", base_model="b", state="ready", heartbeat_at=now_us()
        )
        insert(
            db, "placements", replica="r", adapter_id=1, state="failed", error="too large",
            updated_at=now_us(),
        )  # fmt: skip
    step(store)
    assert done(store, run).startswith("left to a person: The engine cannot serve helpdesk@1")
    assert states(store, domain) == ["candidate"]


def test_without_a_live_version_there_is_nothing_to_compare_with(
    store: Store, domain: Domain
) -> None:
    run = triggered(store, domain, "compare")
    step(store)
    assert done(store, run).startswith("left to a person: no version is live")


def test_a_comparison_that_is_refused_is_left_to_a_person(
    store: Store, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Invalid("This cannot be compared.")

    monkeypatch.setattr(comparisons, "begin", refuse)
    with store.write() as db:
        given.adapter(db, domain, "live")
    run = triggered(store, domain, "compare")
    step(store)
    assert done(store, run) == "left to a person: This cannot be compared."
    assert rollout.waiting(store.db) == []


def test_a_comparison_begins_small_and_grows_day_by_day(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.adapter(db, domain, "live")
    run = triggered(store, domain, "compare")
    step(store)
    begun = running(store, domain)
    assert done(store, run) == f"compared with helpdesk@1 in experiment {begun.id}"
    assert (begun.started_by, begun.candidate_share) == (ACTOR, 0.05)

    later = now_us() + STAGE_US
    step(store, later)
    assert running(store, domain).candidate_share == 0.05, "nobody has got it yet"
    people_get_it(store, begun, STAGE_PEOPLE)
    step(store)
    assert running(store, domain).candidate_share == 0.05, "a day has not passed"
    step(store, later)
    second = running(store, domain)
    assert (second.stage, second.candidate_share) == (2, 0.2)

    for number, expected in enumerate((0.5, 0.5)):
        people_get_it(store, running(store, domain), STAGE_PEOPLE)
        step(store, later + (number + 1) * STAGE_US)
        assert running(store, domain).candidate_share == pytest.approx(expected)


def test_a_share_does_not_grow_against_the_results(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.adapter(db, domain, "live")
    triggered(store, domain, "compare")
    step(store)
    begun = running(store, domain)
    with store.write() as db:
        for n in range(60):
            for variant, status in zip(begun.variants, ("done", "failed"), strict=True):
                person = f"slack:T1/{variant.label}{n}"
                assignments.expose(db, begun.id, person, variant.id, begun.stage)
                given.reply(db, domain, person, variant=variant, status=status)  # type: ignore[arg-type]
    assert rollout.next_share(store.db, begun, now_us() + STAGE_US) is None


def test_a_comparison_of_a_person_is_neither_ended_nor_ramped(store: Store, domain: Domain) -> None:
    with store.write() as db:
        live, other = given.adapter(db, domain, "live"), given.adapter(db, domain)
        mine = experiments.start(db, domain, live, other, ANN, 0.05)
    run = triggered(store, domain, "promote")
    people_get_it(store, mine, STAGE_PEOPLE)
    step(store, now_us() + STAGE_US)
    assert done(store, run) == "", "it waits"
    assert running(store, domain).candidate_share == 0.05
    with store.write() as db:
        experiments.stop(db, mine, ANN)
    step(store)
    assert done(store, run) == "promoted"


def test_two_bots_follow_up_once(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.adapter(db, domain, "live")
    run = triggered(store, domain, "compare")
    ((_, adapter),) = rollout.waiting(store.db)
    with store.write() as db:
        rollout.follow_up(db, run, adapter)
        rollout.follow_up(db, run, adapter)
    assert value(store.db, "SELECT count(*) FROM experiments") == 1
    assert done(store, run).startswith("compared")
