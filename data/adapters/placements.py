"""Placements: which engine replica has which adapter loaded. `understudy serve` writes them, and
the router reads them.

A replica without a heartbeat for `STALE_S` seconds counts as down. A row in `placements` is both a
state and a lease. The states are `loading` (the engine is loading it, or must be asked again what
it holds), `loaded` (verified and ready for requests), `draining` (no new requests, running answers
finish) and `failed` (with the reason and the number of attempts). The lease protects the adapter's
files: it is written before the engine is asked to load them, and deleted once the engine is known
not to hold them. Only then may the files be deleted.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson
from sqlite_utils import Database

from data.adapters.registry import BASE_SERVED_NAME
from data.store import audit
from data.store.clock import now_us
from data.store.db import row, rows, value
from data.store.errors import Conflict, NotFound
from data.store.lease_clock import lease_us

STALE_S = 15
ATTEMPTS = 3  # to load an adapter, for each start of an engine
ENDED = "The engine ended while this adapter was being loaded."
UNKNOWN = "The engine was unreachable; checking whether it still has this adapter loaded."
FORGOTTEN = "The engine no longer had this adapter loaded; it is being loaded again."
STOPPED = "stopped"  # the detail of an engine that was stopped on purpose
OURS = "local-"  # name prefix of the engines that `understudy serve` starts itself

ReplicaState = Literal["starting", "ready", "draining", "asleep", "down"]
PlacementState = Literal["loading", "loaded", "draining", "failed"]


@dataclass(frozen=True)
class Replica:
    name: str
    url: str
    base_model: str
    precision: str  # of the base model's weights: bfloat16, nf4, ...; '' if unknown
    state: ReplicaState
    detail: str
    generation: int  # the number of starts of the engine
    max_loras: int  # the value it was started with; 0: unknown
    max_cpu_loras: int
    max_rank: int
    restart_asked_at: int | None
    restart_asked_by: str
    heartbeat_at: int  # by the clock of leases
    lora_problem: str = ""  # why it is slow with adapters, as a clause; '': it is not
    base_name: str = BASE_SERVED_NAME  # the model name under which it is asked for the bare base
    stale: bool = False  # whether its heartbeats had stopped when this was read

    @property
    def condition(self) -> str:
        """Its state for display: `silent` if it stopped sending heartbeats without going down."""
        return "silent" if self.stale and self.state != "down" else self.state

    @property
    def described(self) -> str:
        """`local-1 is ready`; why, if it is down or is starting again."""
        if self.condition == "down" and self.detail:
            return f"{self.name} is down: {self.detail}"
        if self.condition == "starting" and self.detail.startswith(self.condition):
            return f"{self.name} is {self.detail}"
        return f"{self.name} is {self.condition}"

    @property
    def ours(self) -> bool:
        """Whether `understudy serve` started it, so that it ends with that process."""
        return self.name.startswith(OURS)


@dataclass(frozen=True)
class Placement:
    replica: str
    adapter_id: int
    state: PlacementState
    attempts: int
    load_ms: float | None
    agreement: float | None  # with its reference outputs, 0 to 1; None: it has none
    error: str
    updated_at: int  # by the clock of leases
    parity: float | None = None  # with its probes, 0 to 1; None: not measured
    parity_leads: str = "[]"  # `leads` as JSON

    @property
    def leads(self) -> tuple[float | None, ...]:
        """For each token where the engine preferred another token than the trainer: by how many
        nats. None: by more than the engine reported."""
        return tuple(orjson.loads(self.parity_leads))

    @property
    def given_up(self) -> bool:
        """Whether it failed and is not retried automatically until the engine restarts."""
        return self.state == "failed" and self.attempts >= ATTEMPTS


# -- replicas ----------------------------------------------------------------------------------


def record_heartbeat(
    db: Database,
    name: str,
    url: str,
    base_model: str,
    state: str,
    detail: str = "",
    *,
    precision: str = "",
    max_loras: int = 0,
    max_cpu_loras: int = 0,
    max_rank: int = 0,
    lora_problem: str = "",
    base_name: str = BASE_SERVED_NAME,
) -> None:
    """Record a replica's heartbeat and state. A change to `ready` starts a new generation."""
    before = row(db, "SELECT state FROM replicas WHERE name = ?", [name])
    fresh = state == "ready" and (before is None or before["state"] != "ready")
    db.execute(
        "INSERT INTO replicas (name, url, base_model, state, detail, generation, precision, "
        "max_loras, max_cpu_loras, max_rank, lora_problem, base_name, heartbeat_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "url = excluded.url, base_model = excluded.base_model, state = excluded.state, "
        "detail = excluded.detail, generation = generation + excluded.generation, "
        "precision = excluded.precision, max_loras = excluded.max_loras, "
        "max_cpu_loras = excluded.max_cpu_loras, max_rank = excluded.max_rank, "
        "lora_problem = excluded.lora_problem, base_name = excluded.base_name, "
        "heartbeat_at = excluded.heartbeat_at",
        [
            name,
            url,
            base_model,
            state,
            detail,
            int(fresh),
            precision,
            max_loras,
            max_cpu_loras,
            max_rank,
            lora_problem,
            base_name,
            lease_us(db),
        ],
    )


def replicas(db: Database) -> list[Replica]:
    oldest = lease_us(db) - STALE_S * 1_000_000
    found = rows(db, "SELECT * FROM replicas ORDER BY name")
    return [Replica(**r, stale=r["heartbeat_at"] < oldest) for r in found]


def replica(db: Database, name: str) -> Replica:
    """Raises NotFound."""
    known = {r.name: r for r in replicas(db)}
    if name not in known:
        hint = f"(there are: {', '.join(known)})" if known else "yet. Start `understudy serve`"
        raise NotFound(f"There is no replica {name!r} {hint}.")
    return known[name]


def delete_others(db: Database, names: Collection[str]) -> list[str]:
    """Delete replicas that are no longer run, with their leases; returns their names."""
    gone = [r.name for r in replicas(db) if r.name not in names]
    for name in gone:
        db.execute("DELETE FROM replicas WHERE name = ?", [name])
    return gone


def request_restart(db: Database, name: str, actor: str, reason: str = "") -> None:
    """Request a restart, which `understudy serve` performs one replica at a time. Repeated requests
    count as one. Raises NotFound, or Conflict for an external engine."""
    asked = replica(db, name)
    if not asked.ours:
        raise Conflict(
            f"{name} is an external engine, so it cannot be restarted from here. Restart it where "
            "it runs; its adapters are loaded again automatically."
        )
    if asked.restart_asked_at is None:
        sql = "UPDATE replicas SET restart_asked_at = ?, restart_asked_by = ? WHERE name = ?"
        db.execute(sql, [now_us(), actor, name])
        audit.record(db, actor, "restart", f"replica {name}", reason=reason)


def restart_done(db: Database, name: str, asked_at: int | None) -> None:
    """The restart that was requested at that time is done; a later request stays open."""
    db.execute(
        "UPDATE replicas SET restart_asked_at = NULL, restart_asked_by = '' "
        "WHERE name = ? AND restart_asked_at IS ?",
        [name, asked_at],
    )


def ready(db: Database) -> list[Replica]:
    """The replicas that can answer now."""
    return [r for r in replicas(db) if r.state == "ready" and not r.stale]


def count_expected(db: Database) -> int:
    """The number of engines that should be ready soon: those with a recent heartbeat that were
    neither stopped on purpose nor put to sleep."""
    return sum(
        not r.stale and r.state != "asleep" and (r.state, r.detail) != ("down", STOPPED)
        for r in replicas(db)
    )


def ready_urls(db: Database) -> list[str]:
    """The URLs of the replicas that can answer now."""
    return [r.url for r in ready(db)]


# -- placements --------------------------------------------------------------------------------


def lease(db: Database, replica: str, adapter_id: int, reason: str = "") -> bool:
    """Take a lease on an adapter that is about to be loaded, or that waits for `reason`: its files
    must stay. Returns False and writes nothing if the adapter was removed in the meantime."""
    if row(db, "SELECT 1 FROM adapters WHERE id = ? AND removal_asked_at IS NULL", [adapter_id]):
        db.execute(
            "INSERT INTO placements (replica, adapter_id, state, error, updated_at) "
            "VALUES (?, ?, 'loading', ?, ?) ON CONFLICT (replica, adapter_id) DO UPDATE SET "
            "state = 'loading', error = excluded.error, updated_at = excluded.updated_at",
            [replica, adapter_id, reason, lease_us(db)],
        )
        return True
    return False


def record_loaded(
    db: Database,
    replica: str,
    adapter_id: int,
    load_ms: float | None,
    agreement: float | None = None,
    parity: float | None = None,
    leads: Sequence[float | None] = (),
) -> None:
    """Record a loaded adapter. `load_ms` is None if the engine already had it, `agreement` if it
    has no reference outputs, `parity` if its probes were not asked. `leads` belong to the tokens
    that differ."""
    told = orjson.dumps(list(leads)).decode()
    db.execute(
        "INSERT INTO placements (replica, adapter_id, state, load_ms, agreement, parity, "
        "parity_leads, updated_at) VALUES (?, ?, 'loaded', ?, ?, ?, ?, ?) ON CONFLICT "
        "(replica, adapter_id) DO UPDATE SET "
        "state = 'loaded', load_ms = excluded.load_ms, agreement = excluded.agreement, "
        "parity = excluded.parity, parity_leads = excluded.parity_leads, error = '', "
        "attempts = 0, updated_at = excluded.updated_at",
        [replica, adapter_id, load_ms, agreement, parity, told, lease_us(db)],
    )


def record_failed(
    db: Database, replica: str, adapter_id: int, error: str, agreement: float | None = None
) -> int:
    """Record a failed attempt and return the number of attempts. `understudy adapters list` and
    the metrics show the reason."""
    db.execute(
        "INSERT INTO placements (replica, adapter_id, state, attempts, agreement, error, "
        "updated_at) VALUES (?, ?, 'failed', 1, ?, ?, ?) "
        "ON CONFLICT (replica, adapter_id) DO UPDATE SET state = 'failed', "
        "attempts = attempts + 1, agreement = excluded.agreement, error = excluded.error, "
        "updated_at = excluded.updated_at",
        [replica, adapter_id, agreement, error, lease_us(db)],
    )
    sql = "SELECT attempts FROM placements WHERE replica = ? AND adapter_id = ?"
    return int(value(db, sql, [replica, adapter_id]))


def drain(db: Database, replica: str, adapter_id: int) -> None:
    """Send no new requests to this adapter on this replica, from this transaction on."""
    db.execute(
        "UPDATE placements SET state = 'draining', updated_at = ? "
        "WHERE replica = ? AND adapter_id = ? AND state = 'loaded'",
        [lease_us(db), replica, adapter_id],
    )


def record_forgotten(db: Database, replica: str, adapter_ids: Collection[int]) -> None:
    """The engine says that it does not hold these adapters, although they were loaded: no requests
    may be sent to them until they are loaded again."""
    for adapter_id in adapter_ids:
        db.execute(
            "UPDATE placements SET state = 'loading', error = ?, updated_at = ? "
            "WHERE replica = ? AND adapter_id = ? AND state = 'loaded'",
            [FORGOTTEN, lease_us(db), replica, adapter_id],
        )


def drop(db: Database, replica: str, adapter_id: int) -> None:
    """Release the lease: the engine is known not to hold the adapter."""
    db.execute("DELETE FROM placements WHERE replica = ? AND adapter_id = ?", [replica, adapter_id])


def record_restart(db: Database, replica: str, *, empty: bool) -> None:
    """The engine has restarted: every adapter gets its attempts back, except one that was being
    loaded when the engine ended, because it may be the cause.

    `empty`: a new process, which holds nothing, so the leases end. Otherwise they stay until the
    engine has been asked what it holds."""
    db.execute(
        "UPDATE placements SET state = 'failed', attempts = attempts + 1, error = ?, "
        "updated_at = ? WHERE replica = ? AND state = 'loading' AND error = ''",
        [ENDED, lease_us(db), replica],
    )
    if empty:
        sql = "DELETE FROM placements WHERE replica = ? AND error <> ?"
        db.execute(sql, [replica, ENDED])
        return
    db.execute(
        "UPDATE placements SET state = 'loading', attempts = 0, load_ms = NULL, "
        "agreement = NULL, error = ?, updated_at = ? WHERE replica = ? AND error <> ?",
        [UNKNOWN, lease_us(db), replica, ENDED],
    )


def retry(db: Database, adapter_id: int, actor: str, name: str) -> list[str]:
    """Let replicas retry an adapter that failed; returns these replicas. Raises Conflict if it
    failed on none."""
    sql = "SELECT replica FROM placements WHERE adapter_id = ? AND state = 'failed'"
    found = [str(r["replica"]) for r in rows(db, sql, [adapter_id])]
    if not found:
        raise Conflict(f"{name} has failed on no replica; there is nothing to retry.")
    sql = (
        "UPDATE placements SET attempts = 0, updated_at = 0 "
        "WHERE adapter_id = ? AND state = 'failed'"
    )
    db.execute(sql, [adapter_id])
    audit.record(db, actor, "retry", name, replicas=found)
    return found


def release_local_leases(db: Database, adapter_id: int) -> None:
    """Release the leases of local engines: without `understudy serve`, none of them runs."""
    sql = "DELETE FROM placements WHERE adapter_id = ? AND replica LIKE ?"
    db.execute(sql, [adapter_id, f"{OURS}%"])


def placements_on(db: Database, replica: str) -> list[Placement]:
    sql = "SELECT * FROM placements WHERE replica = ? ORDER BY adapter_id"
    return [Placement(**r) for r in rows(db, sql, [replica])]


def placements_of(db: Database, adapter_id: int) -> list[Placement]:
    sql = "SELECT * FROM placements WHERE adapter_id = ? ORDER BY replica"
    return [Placement(**r) for r in rows(db, sql, [adapter_id])]


def leases(db: Database, adapter_id: int) -> list[str]:
    """The replicas that hold, or may hold, the adapter."""
    sql = "SELECT replica FROM placements WHERE adapter_id = ? ORDER BY replica"
    return [str(r["replica"]) for r in rows(db, sql, [adapter_id])]


def holders(db: Database, among: Collection[Replica] | None = None) -> dict[int, list[Replica]]:
    """Adapter id -> the ready replicas that hold it. Pass the ready replicas as `among` to save a
    query."""
    able = {r.name: r for r in (ready(db) if among is None else among)}
    found: dict[int, list[Replica]] = {}
    for r in rows(db, "SELECT adapter_id, replica FROM placements WHERE state = 'loaded'"):
        if r["replica"] in able:
            found.setdefault(r["adapter_id"], []).append(able[r["replica"]])
    return found


def can_answer(db: Database, replica: str, adapter_id: int | None) -> bool:
    """Whether the replica can answer with this adapter (None: the bare base) now. Inside the
    transaction that opens a reply this is exact, because a later drain sees that reply."""
    sql = "SELECT 1 FROM replicas WHERE name = ? AND state = 'ready'"
    if row(db, sql, [replica]) is None:
        return False
    sql = "SELECT 1 FROM placements WHERE replica = ? AND adapter_id = ? AND state = 'loaded'"
    return adapter_id is None or row(db, sql, [replica, adapter_id]) is not None


def loaded(db: Database) -> dict[int, list[str]]:
    """Adapter id -> the URLs of the ready replicas that hold it."""
    return {adapter_id: [r.url for r in at] for adapter_id, at in holders(db).items()}
