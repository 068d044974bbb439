"""Tuning runs: the queue between the people who request a retrain and the worker.

A worker claims a run with one conditional update, so two workers never take the same one. It sends
heartbeats while it works. A run whose worker stops sending them returns to the queue until its
attempts are used up. Every write about a claimed run names the worker and the attempt, and raises
RunLost if the run is no longer theirs: a worker that was paused for a while must not touch what its
successor does. A domain has at most one open run, enforced by a unique index.
"""

from dataclasses import dataclass
from typing import Any, Literal

import orjson
from sqlite_utils import Database

from data.adapters import registry
from data.domains import Domain
from data.pairs import pairs
from data.runs import method_choice, phases
from data.runs.methods import Learns, MethodName, method_of
from data.runs.phases import Phase, RunPhase
from data.store import audit
from data.store.clock import now_us
from data.store.db import Row, changed, insert, row, rows, sqlite3
from data.store.errors import Conflict, NotFound
from data.store.lease_clock import lease_us

State = Literal["queued", "running", "done", "failed", "cancelled"]
Kind = Literal["full", "incremental"]
SILENT_S = 60  # seconds without a heartbeat after which a running run has lost its worker
CANCELLED = "Run {} was cancelled before it was evaluated."  # of an adapter
FAILED = "Run {} failed before it was evaluated."

SELECT = """
SELECT r.*, d.name AS domain, coalesce(t.why, '') AS why
FROM runs r JOIN domains d ON d.id = r.domain_id LEFT JOIN triggered_runs t ON t.run_id = r.id
"""
OWNED = "id = ? AND worker = ? AND attempts = ? AND state = 'running'"


class RunLost(Conflict):
    """The run now belongs to another worker, or it was cancelled."""


class NothingNew(Conflict):
    """A retrain was requested, but there is nothing new to learn."""


@dataclass(frozen=True)
class Run:
    id: int
    domain_id: int
    domain: str
    kind: Kind
    state: State
    recipe: dict[str, Any]  # requested changes to the default recipe
    dataset_id: int | None
    parent_id: int | None
    adapter_id: int | None  # the result
    requested_by: str
    cancel_requested: bool
    attempts: int
    worker: str
    phase: str  # text for people: "training", "evaluating: ..."; `phases.parse` gives the code
    step: int
    total_steps: int
    loss: float | None
    validation_loss: float | None
    eta_s: float | None
    error: str
    queued_at: int
    started_at: int | None
    heartbeat_at: int | None  # by the clock of leases
    finished_at: int | None
    learns: Learns = "pairs"
    why: str = ""  # what triggered it, as a sentence; '': a person requested it

    @property
    def method(self) -> MethodName:
        return method_of(self.recipe, self.learns).name

    @property
    def open(self) -> bool:
        return self.state in ("queued", "running")


@dataclass(frozen=True)
class LossPoint:
    step: int
    loss: float | None
    validation_loss: float | None  # on held-out facts
    learning_rate: float | None
    probe_loss: float | None = None


def queue(
    db: Database,
    domain: Domain,
    requested_by: str,
    *,
    kind: Kind,
    parent_id: int | None = None,
    recipe: dict[str, Any] | None = None,
) -> Run:
    """Queue a run. Raises Conflict, naming the open run, if the domain has one. One whose worker
    has been silent for too long is returned to the queue first."""
    take_over(db, domain)
    learns = method_of(recipe or {}).learns
    try:
        run_id = insert(
            db,
            "runs",
            domain_id=domain.id,
            kind=kind,
            state="queued",
            parent_id=parent_id,
            recipe=orjson.dumps(recipe or {}).decode(),
            learns=learns,
            requested_by=requested_by,
            queued_at=now_us(),
        )
    except sqlite3.IntegrityError as error:
        current = row(
            db,
            "SELECT id, state FROM runs WHERE domain_id = ? AND state IN ('queued', 'running')",
            [domain.id],
        )
        if current is None:
            raise
        raise Conflict(
            f"Run {current['id']} of {domain.name} is already {current['state']}. "
            f"Continue it with `understudy runs resume {current['id']}`, or cancel it: "
            f"`understudy runs cancel {current['id']}`."
        ) from error
    about = {"domain": domain.name, "kind": kind, "learns": learns}
    audit.record(db, requested_by, "retrain", f"run {run_id}", **about)
    return get(db, run_id)


def request(
    db: Database,
    domain: Domain,
    requested_by: str,
    *,
    full: bool = False,
    recipe: dict[str, Any] | None = None,
) -> Run:
    """Queue a retrain that continues the live adapter with the new pairs.

    Without a live adapter, or with `full`, the run trains on all approved pairs from the bare base.
    The method `auto` is chosen from what there is. Raises NothingNew or preference_sets.TooFewRated
    when there is nothing to learn, Conflict when a run is open or the method needs a live adapter
    and there is none."""
    parent = None if full else registry.live(db, domain.id)
    recipe = method_choice.resolved(db, domain, parent, recipe)
    method = method_of(recipe)
    if method.needs_adapter and parent is None:
        raise Conflict(no_adapter(domain))
    if method.learns == "pairs":
        _check_new_pairs(db, domain, parent)
    if method.judgements is not None:
        method_choice.check(db, domain, method.judgements)
    return queue(
        db,
        domain,
        requested_by,
        kind="incremental" if parent else "full",
        parent_id=parent.id if parent else None,
        recipe=recipe,
    )


def no_adapter(domain: Domain) -> str:
    """Why no run on judgements alone can be requested."""
    return (
        f"{domain.name} has no live adapter to improve with people's judgements. Tune it on pairs "
        f"first: `understudy tune {domain.name}`."
    )


def _check_new_pairs(db: Database, domain: Domain, parent: registry.Adapter | None) -> None:
    """Raises NothingNew when no pair was approved since the parent was trained."""
    if pairs.new_since(db, domain, parent.dataset_id if parent else None):
        return
    waiting = pairs.counts(db, domain)["pending"]
    noun = "pair is" if waiting == 1 else "pairs are"
    hint = (
        f"{waiting} {noun} waiting for review: `understudy pairs review {domain.name}`."
        if waiting
        else "Corrections and imported pairs become trainable once they are approved."
    )
    if parent:
        hint += " To train on all pairs again, for example after rejecting one, ask for a full run."
    since = f"since {parent.name} was trained" if parent else "to train on"
    raise NothingNew(f"{domain.name} has no new approved pairs {since}. {hint}")


def get(db: Database, run_id: int) -> Run:
    """Raises NotFound."""
    found = row(db, SELECT + "WHERE r.id = ?", [run_id])
    if found is None:
        raise NotFound(f"There is no run {run_id}.")
    return _run(found)


def recent(db: Database, domain: Domain | None = None, limit: int = 20) -> list[Run]:
    """The newest first."""
    where, params = ("WHERE r.domain_id = ? ", [domain.id]) if domain else ("", [])
    sql = SELECT + where + "ORDER BY r.id DESC LIMIT ?"
    return [_run(r) for r in rows(db, sql, [*params, limit])]


def curve(db: Database, run_id: int, every: int = 1) -> list[LossPoint]:
    """The loss curve by step, with every `every`-th training loss and the last one."""
    sql = (
        "SELECT step, loss, validation_loss, learning_rate, probe_loss FROM run_points "
        "WHERE run_id = :run AND (step % :every = 0 OR validation_loss IS NOT NULL "
        "OR probe_loss IS NOT NULL "
        "OR step = (SELECT max(step) FROM run_points WHERE run_id = :run)) ORDER BY step"
    )
    return [LossPoint(**r) for r in rows(db, sql, {"run": run_id, "every": max(1, every)})]


def claim(db: Database, worker: str) -> Run | None:
    """Claim the oldest queued run for `worker`, or return None. One conditional update, so several
    workers are safe."""
    found = row(
        db,
        "UPDATE runs SET state = 'running', worker = ?, attempts = attempts + 1, "
        "phase = 'starting', started_at = coalesce(started_at, ?), heartbeat_at = ? "
        "WHERE id = (SELECT min(id) FROM runs WHERE state = 'queued') AND state = 'queued' "
        "RETURNING id",
        [worker, now_us(), lease_us(db)],
    )
    return None if found is None else get(db, found["id"])


def heartbeat(db: Database, run: Run) -> bool:
    """Record the worker's heartbeat; returns whether cancelling was requested in the meantime.

    Raises RunLost when the run is no longer this worker's."""
    found = row(
        db,
        f"UPDATE runs SET heartbeat_at = ? WHERE {OWNED} RETURNING cancel_requested",
        [lease_us(db), *_owner(run)],
    )
    if found is None:
        raise _lost(run)
    return bool(found["cancel_requested"])


def claimed(db: Database, run_id: int, worker: str, attempt: int) -> Run:
    """The run that `worker` has claimed for this attempt. Raises RunLost, NotFound."""
    run = get(db, run_id)
    if (run.state, run.worker, run.attempts) != ("running", worker, attempt):
        raise RunLost(f"Run {run_id} is no longer {worker}'s.")
    return run


def check_owner(db: Database, run: Run) -> None:
    """Raises RunLost unless the run still belongs to this worker."""
    claimed(db, run.id, run.worker, run.attempts)


def refuse_lost(db: Database, run: Run) -> None:
    """Raises RunLost unless the run still belongs to this worker and was not cancelled."""
    if claimed(db, run.id, run.worker, run.attempts).cancel_requested:
        raise RunLost(f"Run {run.id} was cancelled.")


def set_phase(db: Database, run: Run, phase: RunPhase) -> None:
    """Raises RunLost."""
    _update(db, run, "phase = ?, eta_s = NULL", phase.stored)


def set_dataset(db: Database, run: Run, dataset_id: int) -> None:
    """Raises RunLost."""
    _update(db, run, "dataset_id = ?", dataset_id)


def progress(
    db: Database,
    run: Run,
    *,
    step: int,
    total_steps: int,
    loss: float | None = None,
    validation_loss: float | None = None,
    learning_rate: float | None = None,
    probe_loss: float | None = None,
    eta_s: float | None = None,
) -> None:
    """Record one point of the curve and the run's current figures. Losses are in nats per token.
    Raises RunLost."""
    _update(
        db,
        run,
        "step = ?, total_steps = ?, loss = coalesce(?, loss), "
        "validation_loss = coalesce(?, validation_loss), eta_s = ?",
        *(step, total_steps, loss, validation_loss, eta_s),
    )
    db.execute(
        "INSERT INTO run_points "
        "(run_id, step, loss, validation_loss, learning_rate, probe_loss, at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id, step) DO UPDATE SET "
        "loss = coalesce(excluded.loss, loss), "
        "validation_loss = coalesce(excluded.validation_loss, validation_loss), "
        "learning_rate = coalesce(excluded.learning_rate, learning_rate), "
        "probe_loss = coalesce(excluded.probe_loss, probe_loss), at = excluded.at",
        [run.id, step, loss, validation_loss, learning_rate, probe_loss, now_us()],
    )


def finish(db: Database, run: Run, adapter_id: int) -> None:
    """Mark the run as done, with the adapter that it made. Raises RunLost."""
    what = "state = 'done', phase = 'done', adapter_id = ?, eta_s = NULL, finished_at = ?"
    _update(db, run, what, adapter_id, now_us())


def fail(db: Database, run: Run, error: str) -> None:
    """Mark the run as failed; `error` is shown to people. Raises RunLost."""
    what = "state = 'failed', phase = 'failed', error = ?, eta_s = NULL, finished_at = ?"
    _update(db, run, what, error, now_us())
    registry.give_up_evaluating(db, run.id, FAILED.format(run.id))


def give_back(db: Database, run: Run, phase: RunPhase, *, spent: bool = True) -> None:
    """Return a claimed run to the queue. `spent`: its child process was lost, which counts as an
    attempt. A worker that stops normally does not use up an attempt. Raises RunLost."""
    what = "state = 'queued', worker = '', phase = ?, eta_s = NULL, attempts = attempts - ?"
    _update(db, run, what, phase.stored, int(not spent))


def cancelled(db: Database, run: Run) -> None:
    """The worker has stopped the run, as requested. Raises RunLost."""
    what = "state = 'cancelled', phase = 'cancelled', eta_s = NULL, finished_at = ?"
    _update(db, run, what, now_us())
    registry.give_up_evaluating(db, run.id, CANCELLED.format(run.id))


def cancel(db: Database, run_id: int, actor: str) -> Run:
    """Cancel an open run: a queued one at once, and one whose worker has been silent for too long;
    a running one within a few seconds.

    Raises NotFound, or Conflict if the run has ended."""
    run = get(db, run_id)
    if not run.open:
        raise Conflict(f"Run {run_id} has already ended ({run.state}).")
    db.execute("UPDATE runs SET cancel_requested = 1 WHERE id = ?", [run_id])
    db.execute(
        "UPDATE runs SET state = 'cancelled', phase = 'cancelled', finished_at = ? "
        "WHERE id = ? AND state = 'queued'",
        [now_us(), run_id],
    )
    audit.record(db, actor, "cancel", f"run {run_id}")
    if run.state == "running" and silent(db, run):
        cancelled(db, run)
    asked = get(db, run_id)
    if not asked.open:
        registry.give_up_evaluating(db, run_id, CANCELLED.format(run_id))
    return asked


def requeue_silent(db: Database, max_attempts: int) -> list[int]:
    """Handle runs whose worker stopped sending heartbeats: return them to the queue, fail those
    without attempts left, and cancel those for which that was requested. Returns their ids."""
    oldest = _oldest_heartbeat(db)
    lost = rows(db, SELECT + "WHERE r.state = 'running' AND r.heartbeat_at < ?", [oldest])
    for run in map(_run, lost):
        if run.cancel_requested:
            cancelled(db, run)
        elif run.attempts >= max_attempts:
            fail(db, run, f"The worker disappeared {run.attempts} times during this run.")
        else:
            disappeared = RunPhase(Phase.WAITING_FOR_WORKER, "the last one disappeared")
            give_back(db, run, disappeared)
    return [r["id"] for r in lost]


def take_over(db: Database, domain: Domain) -> Run | None:
    """Return the run of a domain to the queue if its worker has been silent for too long, or cancel
    it if that was requested; returns the run if it is queued now. Where no worker runs, nobody else
    would: `understudy tune` may have been killed."""
    where = "WHERE r.domain_id = ? AND r.state = 'running'"
    found = row(db, SELECT + where, [domain.id])
    if found is None or not silent(db, run := _run(found)):
        return None
    if run.cancel_requested:
        cancelled(db, run)
        return None
    give_back(db, run, RunPhase(Phase.WAITING_FOR_WORKER, "the last one disappeared"))
    return get(db, run.id)


def silent(db: Database, run: Run) -> bool:
    """Whether the worker of a running run has stopped sending heartbeats."""
    return run.heartbeat_at is None or run.heartbeat_at < _oldest_heartbeat(db)


def any_queued(db: Database) -> bool:
    """Whether a run is waiting for a worker."""
    return row(db, "SELECT 1 FROM runs WHERE state = 'queued'") is not None


def any_running(db: Database) -> bool:
    """Whether a worker is working on a run."""
    sql = "SELECT 1 FROM runs WHERE state = 'running' AND heartbeat_at >= ?"
    return row(db, sql, [_oldest_heartbeat(db)]) is not None


def watch(db: Database, run_id: int, team: str, channel: str, ts: str) -> None:
    """Record a Slack message that follows the run."""
    db.execute(
        "INSERT OR IGNORE INTO run_watchers (run_id, team, channel, ts) VALUES (?, ?, ?, ?)",
        [run_id, team, channel, ts],
    )


def watchers(db: Database) -> list[Row]:
    """The Slack messages that do not yet show the end of their run: run_id, team, channel, ts."""
    return rows(db, "SELECT run_id, team, channel, ts FROM run_watchers WHERE finished = 0")


def begin_curve(db: Database, run_id: int, channel: str, ts: str) -> bool:
    """Record that the loss curve may be below the message from now on. Returns False if that was
    recorded before."""
    sql = (
        "UPDATE run_watchers SET curve = 1 WHERE run_id = ? AND channel = ? AND ts = ? "
        "AND curve = 0"
    )
    return changed(db, sql, [run_id, channel, ts]) > 0


def watcher_done(db: Database, run_id: int, channel: str, ts: str) -> None:
    db.execute(
        "UPDATE run_watchers SET finished = 1 WHERE run_id = ? AND channel = ? AND ts = ?",
        [run_id, channel, ts],
    )


def _owner(run: Run) -> list[Any]:
    """The parameters of `OWNED`."""
    return [run.id, run.worker, run.attempts]


def _update(db: Database, run: Run, what: str, *values: Any) -> None:
    """Change a run that its worker still has. Raises RunLost, and changes nothing, otherwise."""
    if not changed(db, f"UPDATE runs SET {what} WHERE {OWNED}", [*values, *_owner(run)]):
        raise _lost(run)


def _lost(run: Run) -> RunLost:
    return RunLost(f"Run {run.id} is no longer {run.worker}'s.")


def _oldest_heartbeat(db: Database) -> int:
    """An older heartbeat means that the worker is gone."""
    return lease_us(db) - SILENT_S * 1_000_000


def _run(found: Row) -> Run:
    return Run(
        **{
            **found,
            "recipe": orjson.loads(found["recipe"]),
            "phase": phases.text(found["phase"]),
            "cancel_requested": bool(found["cancel_requested"]),
        }
    )
