"""Runs: a worker has one run, a domain has one open run, and no run is lost."""

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from data import domains
from data.adapters import registry
from data.domains import Domain
from data.pairs import datasets, pairs
from data.pairs.pairs import Draft
from data.runs import runs, trials
from data.runs.phases import Phase, RunPhase
from data.runs.runs import NothingNew, Run, RunLost
from data.store import audit
from data.store.clock import now_us
from data.store.db import Store
from data.store.errors import Conflict, NotFound
from tests.data import given


@pytest.fixture
def queued(store: Store, domain: Domain) -> Run:
    with store.write() as db:
        return runs.queue(db, domain, "cli:ann", kind="full", recipe={"epochs": 3})


def claim(store: Store, worker: str = "w1") -> Run:
    with store.write() as db:
        run = runs.claim(db, worker)
    assert run is not None
    return run


def age_heartbeat(store: Store, run: Run) -> None:
    with store.write() as db:
        silent_since = now_us() - (runs.SILENT_S + 1) * 1_000_000
        db.execute("UPDATE runs SET heartbeat_at = ? WHERE id = ?", [silent_since, run.id])


# Asking for one


def test_a_queued_run_stores_its_request(store: Store, queued: Run) -> None:
    assert (queued.domain, queued.kind, queued.state) == ("helpdesk", "full", "queued")
    assert (queued.recipe, queued.requested_by, queued.open) == ({"epochs": 3}, "cli:ann", True)
    assert audit.recent(store.db)[0].action == "retrain"


def test_a_domain_has_one_open_run(store: Store, domain: Domain, queued: Run) -> None:
    with (
        pytest.raises(Conflict, match=f"Run {queued.id} of helpdesk is already queued"),
        store.write() as db,
    ):
        runs.queue(db, domain, "cli:bob", kind="full")
    claim(store)
    with pytest.raises(Conflict, match="is already running"), store.write() as db:
        runs.queue(db, domain, "cli:bob", kind="full")
    with store.write() as db:
        runs.queue(db, domains.create(db, "hr"), "cli:bob", kind="full")  # another domain may


def test_after_a_run_ends_another_can_be_queued(store: Store, domain: Domain, queued: Run) -> None:
    with store.write() as db:
        runs.cancel(db, queued.id, "cli:ann")
        assert runs.queue(db, domain, "cli:ann", kind="full").state == "queued"


def test_the_first_request_trains_everything_from_the_base(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.approved(db, domain, Draft("a", "b"))
        run = runs.request(db, domain, "cli:ann")
    assert (run.kind, run.parent_id) == ("full", None)


def test_a_request_continues_from_the_live_adapter(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.approved(db, domain, Draft("a", "b"))
        live = given.adapter(db, domain, "live", datasets.freeze(db, domain).id)
        given.approved(db, domain, Draft("c", "d"))
        run = runs.request(db, domain, "cli:ann")
    assert (run.kind, run.parent_id) == ("incremental", live.id)


def test_a_full_request_ignores_the_live_adapter(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.approved(db, domain, Draft("a", "b"))
        given.adapter(db, domain, "live", datasets.freeze(db, domain).id)
        run = runs.request(db, domain, "cli:ann", full=True)
    assert (run.kind, run.parent_id) == ("full", None)


def test_a_run_without_new_pairs_is_refused_with_the_number_of_pending_pairs(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        with pytest.raises(NothingNew, match="no new approved pairs to train on"):
            runs.request(db, domain, "cli:ann")
        given.approved(db, domain, Draft("a", "b"))
        given.adapter(db, domain, "live", datasets.freeze(db, domain).id)
        with pytest.raises(NothingNew, match="since helpdesk@1 was trained"):
            runs.request(db, domain, "cli:ann")
        pairs.add(db, domain, [Draft("c", "d")], source="correction")
        with pytest.raises(NothingNew, match="1 pair is waiting for review"):
            runs.request(db, domain, "cli:ann")
        assert runs.recent(db) == []


# Claiming


def test_the_oldest_is_claimed_first(store: Store, domain: Domain, queued: Run) -> None:
    with store.write() as db:
        other = runs.queue(db, domains.create(db, "hr"), "cli:ann", kind="full")
    first, second = claim(store, "w1"), claim(store, "w2")
    assert (first.id, first.worker, first.state) == (queued.id, "w1", "running")
    assert (first.attempts, second.id) == (1, other.id)
    with store.write() as db:
        assert runs.claim(db, "w3") is None


def _claim_all(path: Path, worker: str, start: Any, told: Any) -> None:
    with Store(path) as store:
        start.wait()
        taken = []
        while True:
            with store.write() as db:
                run = runs.claim(db, worker)
            if run is None:
                break
            taken.append(run.id)
        told.put(taken)


def many_queued(store: Store, count: int) -> list[int]:
    with store.write() as db:
        return [
            runs.queue(db, domains.create(db, f"d{n}"), "cli:ann", kind="full").id
            for n in range(count)
        ]


@pytest.mark.integration
def test_workers_in_other_processes_never_take_the_same_run(store: Store) -> None:
    expected = many_queued(store, 60)
    context = multiprocessing.get_context("spawn")
    start, told = context.Event(), context.Queue()
    workers = [
        context.Process(target=_claim_all, args=(store.path, f"w{n}", start, told))
        for n in range(3)
    ]
    for worker in workers:
        worker.start()
    start.set()
    taken = [run_id for _ in workers for run_id in told.get(timeout=60)]
    for worker in workers:
        worker.join()
    assert sorted(taken) == expected


def test_threads_never_take_the_same_run(store: Store) -> None:
    expected, taken = many_queued(store, 30), []

    def work(name: str) -> None:
        while (run := store.submit_soon(lambda db: runs.claim(db, name)).result(10)) is not None:
            taken.append(run.id)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == expected


# Under way


def test_a_heartbeat_reports_a_cancellation(store: Store, queued: Run) -> None:
    run = claim(store)
    with store.write() as db:
        assert runs.heartbeat(db, run) is False
        assert runs.cancel(db, run.id, "slack:T1/U1").state == "running"
        assert runs.heartbeat(db, run) is True
        runs.cancelled(db, run)
        assert runs.get(db, run.id).state == "cancelled"


def test_a_worker_that_lost_its_run_is_told(store: Store, queued: Run) -> None:
    lost = claim(store, "w1")
    with store.write() as db:
        runs.give_back(db, lost, RunPhase(Phase.RETRYING, "the child crashed"))
        with pytest.raises(Conflict, match="no longer w1's"):
            runs.heartbeat(db, lost)
        assert runs.claim(db, "w2") is not None
        with pytest.raises(Conflict, match="no longer w1's"):
            runs.heartbeat(db, lost)


def test_a_restarted_worker_cannot_continue_its_earlier_claim(store: Store, queued: Run) -> None:
    lost = claim(store, "w1")
    with store.write() as db:
        runs.give_back(db, lost, RunPhase(Phase.RETRYING, "the child crashed"))
    again = claim(store, "w1")
    with store.write() as db:
        assert runs.heartbeat(db, again) is False
        with pytest.raises(Conflict):
            runs.heartbeat(db, lost)


WRITES: dict[str, Callable[[Database, Run], object]] = {
    "set_phase": lambda db, run: runs.set_phase(db, run, RunPhase(Phase.TRAINING)),
    "progress": lambda db, run: runs.progress(db, run, step=3, total_steps=9, loss=1.0),
    "set_dataset": lambda db, run: runs.set_dataset(db, run, 7),
    "finish": lambda db, run: runs.finish(db, run, 7),
    "fail": lambda db, run: runs.fail(db, run, "It did not work."),
    "cancelled": runs.cancelled,
    "give_back": lambda db, run: runs.give_back(db, run, RunPhase(Phase.RETRYING)),
    "heartbeat": runs.heartbeat,
    "refuse_lost": runs.refuse_lost,
    "trials.plan": lambda db, run: trials.plan(db, run, [(1, {}, None)]),
    "trials.begin": lambda db, run: trials.begin(db, run, 1),
    "trials.progress": lambda db, run: trials.progress(
        db, run, step=1, total_steps=2, loss=1.0, eta_s=1.0
    ),
    "trials.finish": lambda db, run: trials.finish(db, run, 1, loss=1.0),
    "trials.fail": lambda db, run: trials.fail(db, run, 1, "It did not work."),
    "trials.give_back": lambda db, run: trials.give_back(db, run, 1),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("now", ["another worker's", "the same worker's again", "queued", "done"])
def test_a_worker_that_lost_a_run_changes_nothing_about_it(
    store: Store, queued: Run, write: str, now: str
) -> None:
    lost = claim(store, "w1")
    with store.write() as db:
        runs.give_back(db, lost, RunPhase(Phase.RETRYING, "the child crashed"))
    if now != "queued":
        again = claim(store, "w1" if now == "the same worker's again" else "w2")
        if now == "done":
            with store.write() as db:
                runs.fail(db, again, "done by the other")

    before = (
        list(store.db.query("SELECT * FROM runs")),
        list(store.db.query("SELECT * FROM run_points")),
    )
    with store.write() as db, pytest.raises(RunLost):
        WRITES[write](db, lost)
    after = (
        list(store.db.query("SELECT * FROM runs")),
        list(store.db.query("SELECT * FROM run_points")),
    )
    assert after == before


def test_progress_draws_one_curve(store: Store, queued: Run) -> None:
    run = claim(store)
    with store.write() as db:
        runs.progress(db, run, step=1, total_steps=9, loss=2.0, learning_rate=0.1, eta_s=8)
        runs.progress(db, run, step=2, total_steps=9, loss=1.5, eta_s=7)
        runs.progress(db, run, step=2, total_steps=9, validation_loss=1.8)
    points = [(p.step, p.loss, p.validation_loss) for p in runs.curve(store.db, run.id)]
    assert points == [(1, 2.0, None), (2, 1.5, 1.8)]
    now = runs.get(store.db, run.id)
    assert (now.step, now.total_steps, now.loss, now.validation_loss) == (2, 9, 1.5, 1.8)


def test_a_long_curve_is_thinned_and_keeps_its_end(store: Store, queued: Run) -> None:
    run = claim(store)
    with store.write() as db:
        for step in range(1, 24):
            held_out = 2.0 if step == 7 else None
            runs.progress(
                db,
                run,
                step=step,
                total_steps=23,
                loss=1.0,
                validation_loss=held_out,
            )
    points = runs.curve(store.db, queued.id, every=10)
    assert [point.step for point in points] == [7, 10, 20, 23]


def test_a_finished_run_names_its_adapter(store: Store, domain: Domain, queued: Run) -> None:
    run = claim(store)
    with store.write() as db:
        made = given.adapter(db, domain)
        runs.finish(db, runs.get(db, run.id), made.id)
    done = runs.get(store.db, run.id)
    assert (done.state, done.adapter_id, done.open) == ("done", made.id, False)
    assert registry.by_id(store.db, made.id) == made


def test_a_failed_run_says_why(store: Store, queued: Run) -> None:
    run = claim(store)
    with store.write() as db:
        runs.fail(db, run, "The disk is full.")
    failed = runs.get(store.db, run.id)
    assert (failed.state, failed.error) == ("failed", "The disk is full.")


# Giving back


def test_the_run_of_a_silent_worker_is_requeued_and_then_fails(store: Store, queued: Run) -> None:
    for attempt in (1, 2):
        run = claim(store, f"w{attempt}")
        with store.write() as db:
            assert runs.requeue_silent(db, max_attempts=2) == []  # it is not silent yet
        age_heartbeat(store, run)
        with store.write() as db:
            assert runs.requeue_silent(db, max_attempts=2) == [run.id]
        state = runs.get(store.db, run.id).state
        assert state == ("queued" if attempt == 1 else "failed")
    assert "disappeared 2 times" in runs.get(store.db, queued.id).error


def test_the_run_of_a_silent_worker_can_be_cancelled_where_no_other_worker_runs(
    store: Store, queued: Run
) -> None:
    run = claim(store)
    age_heartbeat(store, run)
    with store.write() as db:
        assert runs.cancel(db, run.id, "cli:ann").state == "cancelled"


def test_another_run_can_be_requested_once_a_cancelled_one_is_silent(
    store: Store, domain: Domain, queued: Run
) -> None:
    run = claim(store)
    with store.write() as db:
        runs.cancel(db, run.id, "cli:ann")
        with pytest.raises(Conflict, match="already running"):
            runs.queue(db, domain, "cli:ann", kind="full")
    age_heartbeat(store, run)
    with store.write() as db:
        assert runs.queue(db, domain, "cli:ann", kind="full").id != run.id
    assert runs.get(store.db, run.id).state == "cancelled"


def test_a_run_whose_worker_is_silent_is_taken_over(
    store: Store, domain: Domain, queued: Run
) -> None:
    run = claim(store)
    with store.write() as db:
        assert runs.take_over(db, domain) is None
    age_heartbeat(store, run)
    with store.write() as db:
        left = runs.take_over(db, domain)
    assert left is not None
    assert (left.id, left.state) == (run.id, "queued")


def test_a_cancelled_run_of_a_silent_worker_is_not_retried(store: Store, queued: Run) -> None:
    run = claim(store)
    with store.write() as db:
        runs.cancel(db, run.id, "cli:ann")
    age_heartbeat(store, run)
    with store.write() as db:
        runs.requeue_silent(db, max_attempts=2)
    assert runs.get(store.db, run.id).state == "cancelled"


def test_a_worker_that_stops_cleanly_uses_no_attempt(store: Store, queued: Run) -> None:
    run = claim(store)
    with store.write() as db:
        runs.give_back(db, run, RunPhase(Phase.WAITING_FOR_WORKER), spent=False)
    assert runs.get(store.db, run.id).attempts == 0
    assert claim(store).attempts == 1


# Cancelling


def test_a_queued_run_is_cancelled_at_once(store: Store, queued: Run) -> None:
    with store.write() as db:
        assert runs.cancel(db, queued.id, "cli:ann").state == "cancelled"
        assert runs.claim(db, "w1") is None
        with pytest.raises(Conflict, match="has already ended"):
            runs.cancel(db, queued.id, "cli:ann")


def test_an_unknown_run_is_reported(store: Store) -> None:
    with pytest.raises(NotFound, match="no run 7"):
        runs.get(store.db, 7)


def test_recent_runs_are_the_newest_first(store: Store, domain: Domain, queued: Run) -> None:
    with store.write() as db:
        runs.cancel(db, queued.id, "cli:ann")
        newer = runs.queue(db, domain, "cli:ann", kind="full")
        other = runs.queue(db, domains.create(db, "hr"), "cli:ann", kind="full")
    assert [r.id for r in runs.recent(store.db)] == [other.id, newer.id, queued.id]
    assert [r.id for r in runs.recent(store.db, domain, limit=1)] == [newer.id]


# Watching


def test_a_watcher_is_remembered_until_it_has_shown_the_end(store: Store, queued: Run) -> None:
    with store.write() as db:
        runs.watch(db, queued.id, "T1", "C1", "1.0")
        runs.watch(db, queued.id, "T1", "C1", "1.0")
    assert [w["ts"] for w in runs.watchers(store.db)] == ["1.0"]
    with store.write() as db:
        runs.watcher_done(db, queued.id, "C1", "1.0")
    assert runs.watchers(store.db) == []
