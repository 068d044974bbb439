"""Tuning runs: the queue between the people who request a retrain and the worker.

A worker claims a run with one conditional update, so two workers never take the same one. It sends
heartbeats while it works. A run whose worker stops sending them returns to the queue until its
attempts are used up. A domain has at most one open run, enforced by a unique index.
"""

from dataclasses import dataclass
from typing import Any, Literal

import orjson
from sqlite_utils import Database

from data.adapters import registry
from data.domains import Domain
from data.pairs import pairs, preference_sets
from data.runs import phases
from data.runs.methods import Learns, MethodName, method_of
from data.runs.phases import Phase, RunPhase
from data.store import audit
from data.store.clock import now_us
from data.store.db import Row, changed, insert, row, rows, sqlite3
from data.store.errors import Conflict, NotFound

State = Literal["queued", "running", "done", "failed", "cancelled"]
Kind = Literal["full", "incremental"]
SILENT_S = 60  # seconds without a heartbeat after which a running run has lost its worker
CANCELLED = "Run {} was cancelled before it was evaluated."  # of an adapter
FAILED = "Run {} failed before it was evaluated."

SELECT = """
SELECT r.*, d.name AS domain FROM runs r JOIN domains d ON d.id = r.domain_id
"""


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
    heartbeat_at: int | None
    finished_at: int | None
    learns: Learns = "pairs"

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
    """Queue a run. Raises Conflict, naming the open run, if the domain has one."""
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
    Raises NothingNew or preference_sets.TooFewRated when there is nothing to learn, Conflict when
    a run is open or the method needs a live adapter and there is none."""
    parent = None if full else registry.live(db, domain.id)
    if method_of(recipe or {}).learns == "preferences":
        _check_ratings(db, domain, parent, recipe)
    else:
        _check_new_pairs(db, domain, parent)
    return queue(
        db,
        domain,
        requested_by,
        kind="incremental" if parent else "full",
        parent_id=parent.id if parent else None,
        recipe=recipe,
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


def _check_ratings(
    db: Database, domain: Domain, parent: registry.Adapter | None, recipe: dict[str, Any] | None
) -> None:
    """Raises Conflict without an adapter that the method needs, preference_sets.TooFewRated."""
    if parent is None and method_of(recipe or {}).needs_adapter:
        raise Conflict(
            f"{domain.name} has no live adapter to improve with ratings. Tune it on pairs first: "
            f"`understudy tune {domain.name}`."
        )
    preference_sets.check(db, domain)


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
        [worker, now_us(), now_us()],
    )
    return None if found is None else get(db, found["id"])


def heartbeat(db: Database, run: Run) -> bool:
    """Record the worker's heartbeat; returns whether cancelling was requested in the meantime.

    Raises RunLost when the run is no longer this worker's."""
    found = row(
        db,
        "UPDATE runs SET heartbeat_at = ? WHERE id = ? AND worker = ? AND attempts = ? "
        "AND state = 'running' RETURNING cancel_requested",
        [now_us(), run.id, run.worker, run.attempts],
    )
    if found is None:
        raise RunLost(f"Run {run.id} is no longer {run.worker}'s.")
    return bool(found["cancel_requested"])


def refuse_lost(db: Database, run: Run) -> None:
    """Raises RunLost unless the run still belongs to this worker and was not cancelled."""
    now = get(db, run.id)
    if (now.state, now.worker, now.attempts) != ("running", run.worker, run.attempts):
        raise RunLost(f"Run {run.id} is {now.state} and belongs to another worker.")
    if now.cancel_requested:
        raise RunLost(f"Run {run.id} was cancelled.")


def set_phase(db: Database, run_id: int, phase: RunPhase) -> None:
    db.execute("UPDATE runs SET phase = ?, eta_s = NULL WHERE id = ?", [phase.stored, run_id])


def set_dataset(db: Database, run_id: int, dataset_id: int) -> None:
    db.execute("UPDATE runs SET dataset_id = ? WHERE id = ?", [dataset_id, run_id])


def progress(
    db: Database,
    run_id: int,
    *,
    step: int,
    total_steps: int,
    loss: float | None = None,
    validation_loss: float | None = None,
    learning_rate: float | None = None,
    probe_loss: float | None = None,
    eta_s: float | None = None,
) -> None:
    """Record one point of the curve and the run's current figures. Losses are in nats per token."""
    db.execute(
        "INSERT INTO run_points "
        "(run_id, step, loss, validation_loss, learning_rate, probe_loss, at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id, step) DO UPDATE SET "
        "loss = coalesce(excluded.loss, loss), "
        "validation_loss = coalesce(excluded.validation_loss, validation_loss), "
        "learning_rate = coalesce(excluded.learning_rate, learning_rate), "
        "probe_loss = coalesce(excluded.probe_loss, probe_loss), at = excluded.at",
        [run_id, step, loss, validation_loss, learning_rate, probe_loss, now_us()],
    )
    db.execute(
        "UPDATE runs SET step = ?, total_steps = ?, loss = coalesce(?, loss), "
        "validation_loss = coalesce(?, validation_loss), eta_s = ? WHERE id = ?",
        [step, total_steps, loss, validation_loss, eta_s, run_id],
    )


def finish(db: Database, run_id: int, adapter_id: int) -> None:
    """Mark the run as done, with the adapter that it made."""
    db.execute(
        "UPDATE runs SET state = 'done', phase = 'done', adapter_id = ?, eta_s = NULL, "
        "finished_at = ? WHERE id = ?",
        [adapter_id, now_us(), run_id],
    )


def fail(db: Database, run_id: int, error: str) -> None:
    """Mark the run as failed; `error` is shown to people."""
    db.execute(
        "UPDATE runs SET state = 'failed', phase = 'failed', error = ?, eta_s = NULL, "
        "finished_at = ? WHERE id = ? AND state = 'running'",
        [error, now_us(), run_id],
    )
    registry.give_up_evaluating(db, run_id, FAILED.format(run_id))


def give_back(db: Database, run_id: int, phase: RunPhase, *, spent: bool = True) -> None:
    """Return a claimed run to the queue. `spent`: its child process was lost, which counts as an
    attempt. A worker that stops normally does not use up an attempt."""
    db.execute(
        "UPDATE runs SET state = 'queued', worker = '', phase = ?, eta_s = NULL, "
        "attempts = attempts - ? WHERE id = ? AND state = 'running'",
        [phase.stored, int(not spent), run_id],
    )


def cancelled(db: Database, run_id: int) -> None:
    """The worker has stopped the run, as requested."""
    db.execute(
        "UPDATE runs SET state = 'cancelled', phase = 'cancelled', eta_s = NULL, "
        "finished_at = ? WHERE id = ? AND state = 'running'",
        [now_us(), run_id],
    )
    registry.give_up_evaluating(db, run_id, CANCELLED.format(run_id))


def cancel(db: Database, run_id: int, actor: str) -> Run:
    """Cancel an open run: a queued one at once, a running one within a few seconds.

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
    asked = get(db, run_id)
    if not asked.open:
        registry.give_up_evaluating(db, run_id, CANCELLED.format(run_id))
    return asked


def requeue_silent(db: Database, max_attempts: int) -> list[int]:
    """Handle runs whose worker stopped sending heartbeats: return them to the queue, fail those
    without attempts left, and cancel those for which that was requested. Returns their ids."""
    silent = rows(
        db,
        "SELECT id, attempts, cancel_requested FROM runs "
        "WHERE state = 'running' AND heartbeat_at < ?",
        [now_us() - SILENT_S * 1_000_000],
    )
    for r in silent:
        if r["cancel_requested"]:
            cancelled(db, r["id"])
        elif r["attempts"] >= max_attempts:
            fail(db, r["id"], f"The worker disappeared {r['attempts']} times during this run.")
        else:
            disappeared = RunPhase(Phase.WAITING_FOR_WORKER, "the last one disappeared")
            give_back(db, r["id"], disappeared)
    return [r["id"] for r in silent]


def any_queued(db: Database) -> bool:
    """Whether a run is waiting for a worker."""
    return row(db, "SELECT 1 FROM runs WHERE state = 'queued'") is not None


def any_running(db: Database) -> bool:
    """Whether a worker is working on a run."""
    silent = now_us() - SILENT_S * 1_000_000
    sql = "SELECT 1 FROM runs WHERE state = 'running' AND heartbeat_at >= ?"
    return row(db, sql, [silent]) is not None


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


def _run(found: Row) -> Run:
    return Run(
        **{
            **found,
            "recipe": orjson.loads(found["recipe"]),
            "phase": phases.text(found["phase"]),
            "cancel_requested": bool(found["cancel_requested"]),
        }
    )
