"""What each engine replica holds: written by `understudy serve`, read by whoever routes.

A replica that has not sent a heartbeat for `STALE_S` counts as down. A row in `placements` is two
things at once. It is a state: `loading` (the engine is being told, or must be asked anew what it
holds), `loaded` (checked, held and found to answer as it was trained: people are sent there),
`draining` (nobody new is sent, answers that are being written end), `failed` (with the reason and
the number of attempts). And it is a lease on the adapter's files: it is written before an engine
hears of them and deleted when the engine is known not to hold them, and only then may the files
be deleted.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson
from sqlite_utils import Database

from data.store import audit
from data.store.clock import now_us
from data.store.db import row, rows, value
from data.store.errors import Conflict, NotFound

STALE_S = 15
ATTEMPTS = 3  # to load an adapter, in one life of an engine
ENDED = "The engine ended while this adapter was being loaded."
UNKNOWN = "The engine was away; whether it still holds this adapter is being found out."
STOPPED = "stopped"  # what an engine's state says when it was ended on purpose
OURS = "local-"  # how the names of engines begin that `understudy serve` starts itself

ReplicaState = Literal["starting", "ready", "draining", "asleep", "down"]
PlacementState = Literal["loading", "loaded", "draining", "failed"]


@dataclass(frozen=True)
class Replica:
    name: str
    url: str
    base_model: str
    precision: str  # of the base's weights: bfloat16, nf4, ...; '' when not known
    state: ReplicaState
    detail: str
    generation: int  # counts the engine's starts
    max_loras: int  # what it was started with; 0: not known
    max_cpu_loras: int
    max_rank: int
    restart_asked_at: int | None
    restart_asked_by: str
    heartbeat_at: int

    @property
    def stale(self) -> bool:
        return now_us() - self.heartbeat_at > STALE_S * 1_000_000

    @property
    def condition(self) -> str:
        """Its state as it is shown: `silent` when it was not down and nothing is heard of it."""
        return "silent" if self.stale and self.state != "down" else self.state

    @property
    def ours(self) -> bool:
        """Whether `understudy serve` starts it, so that it ends with that process."""
        return self.name.startswith(OURS)


@dataclass(frozen=True)
class Placement:
    replica: str
    adapter_id: int
    state: PlacementState
    attempts: int
    load_ms: float | None
    agreement: float | None  # of its canaries, 0 to 1; None: it has none
    error: str
    updated_at: int
    parity: float | None = None  # of its probes, 0 to 1; None: they were not asked
    parity_leads: str = "[]"  # `leads`, in JSON

    @property
    def leads(self) -> tuple[float | None, ...]:
        """Where the engine found another token likelier than the trainer: by how many nats; None:
        by more than it told."""
        return tuple(orjson.loads(self.parity_leads))

    @property
    def given_up(self) -> bool:
        """It failed, and is not tried again by itself in this life of the engine."""
        return self.state == "failed" and self.attempts >= ATTEMPTS


# -- replicas ----------------------------------------------------------------------------------


def beat(
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
) -> None:
    """A replica's sign of life and state; a change to `ready` is a new generation."""
    before = row(db, "SELECT state FROM replicas WHERE name = ?", [name])
    fresh = state == "ready" and (before is None or before["state"] != "ready")
    db.execute(
        "INSERT INTO replicas (name, url, base_model, state, detail, generation, precision, "
        "max_loras, max_cpu_loras, max_rank, heartbeat_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "url = excluded.url, base_model = excluded.base_model, state = excluded.state, "
        "detail = excluded.detail, generation = generation + excluded.generation, "
        "precision = excluded.precision, max_loras = excluded.max_loras, "
        "max_cpu_loras = excluded.max_cpu_loras, max_rank = excluded.max_rank, "
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
            now_us(),
        ],
    )


def replicas(db: Database) -> list[Replica]:
    return [Replica(**r) for r in rows(db, "SELECT * FROM replicas ORDER BY name")]


def replica(db: Database, name: str) -> Replica:
    """Raises NotFound."""
    known = {r.name: r for r in replicas(db)}
    if name not in known:
        there_are = ", ".join(known) or "none; `understudy serve` makes some"
        raise NotFound(f"There is no replica {name!r} (there are: {there_are}).")
    return known[name]


def keep_only(db: Database, names: Collection[str]) -> list[str]:
    """Forget replicas that nobody runs any more, with their leases; returns their names."""
    gone = [r.name for r in replicas(db) if r.name not in names]
    for name in gone:
        db.execute("DELETE FROM replicas WHERE name = ?", [name])
    return gone


def ask_restart(db: Database, name: str, actor: str, reason: str = "") -> None:
    """Ask for a restart, which `understudy serve` carries out, one replica at a time. Asking
    twice is asking once. Raises NotFound, or Conflict for an engine that is not ours."""
    asked = replica(db, name)
    if not asked.ours:
        raise Conflict(
            f"{name} is run by somebody else, so it cannot be restarted from here. Restart it "
            "there; it is filled again by itself."
        )
    if asked.restart_asked_at is None:
        sql = "UPDATE replicas SET restart_asked_at = ?, restart_asked_by = ? WHERE name = ?"
        db.execute(sql, [now_us(), actor, name])
        audit.record(db, actor, "restart", f"replica {name}", reason=reason)


def restart_done(db: Database, name: str, asked_at: int | None) -> None:
    """The restart that was asked for then is over; one that was asked for since is not."""
    db.execute(
        "UPDATE replicas SET restart_asked_at = NULL, restart_asked_by = '' "
        "WHERE name = ? AND restart_asked_at IS ?",
        [name, asked_at],
    )


def ready(db: Database) -> list[Replica]:
    """The replicas that can answer now."""
    return [r for r in replicas(db) if r.state == "ready" and not r.stale]


def coming_back(db: Database) -> int:
    """How many engines can be expected to be ready soon: those heard of a moment ago that were
    neither stopped on purpose nor put to sleep."""
    return sum(
        not r.stale and r.state != "asleep" and (r.state, r.detail) != ("down", STOPPED)
        for r in replicas(db)
    )


def ready_urls(db: Database) -> list[str]:
    """The URLs of the replicas that can answer now."""
    return [r.url for r in ready(db)]


# -- what they hold ----------------------------------------------------------------------------


def lease(db: Database, replica: str, adapter_id: int, reason: str = "") -> bool:
    """The adapter is about to be loaded (or waits for it, for `reason`): its files must stay.
    False, and nothing is written, when it was removed meanwhile."""
    if row(db, "SELECT 1 FROM adapters WHERE id = ? AND removal_asked_at IS NULL", [adapter_id]):
        db.execute(
            "INSERT INTO placements (replica, adapter_id, state, error, updated_at) "
            "VALUES (?, ?, 'loading', ?, ?) ON CONFLICT (replica, adapter_id) DO UPDATE SET "
            "state = 'loading', error = excluded.error, updated_at = excluded.updated_at",
            [replica, adapter_id, reason, now_us()],
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
    """`load_ms` is None when the engine was found holding it, `agreement` when the adapter has no
    canaries, `parity` when its probes were not asked; `leads` are of their tokens that differ."""
    told = orjson.dumps(list(leads)).decode()
    db.execute(
        "INSERT INTO placements (replica, adapter_id, state, load_ms, agreement, parity, "
        "parity_leads, updated_at) VALUES (?, ?, 'loaded', ?, ?, ?, ?, ?) ON CONFLICT "
        "(replica, adapter_id) DO UPDATE SET "
        "state = 'loaded', load_ms = excluded.load_ms, agreement = excluded.agreement, "
        "parity = excluded.parity, parity_leads = excluded.parity_leads, error = '', "
        "attempts = 0, updated_at = excluded.updated_at",
        [replica, adapter_id, load_ms, agreement, parity, told, now_us()],
    )


def record_failed(
    db: Database, replica: str, adapter_id: int, error: str, agreement: float | None = None
) -> int:
    """Counts the attempt and returns how many there were; the reason is shown by `understudy
    adapters list` and metrics."""
    db.execute(
        "INSERT INTO placements (replica, adapter_id, state, attempts, agreement, error, "
        "updated_at) VALUES (?, ?, 'failed', 1, ?, ?, ?) "
        "ON CONFLICT (replica, adapter_id) DO UPDATE SET state = 'failed', "
        "attempts = attempts + 1, agreement = excluded.agreement, error = excluded.error, "
        "updated_at = excluded.updated_at",
        [replica, adapter_id, agreement, error, now_us()],
    )
    sql = "SELECT attempts FROM placements WHERE replica = ? AND adapter_id = ?"
    return int(value(db, sql, [replica, adapter_id]))


def drain(db: Database, replica: str, adapter_id: int) -> None:
    """Nobody new is sent there from this transaction on."""
    db.execute(
        "UPDATE placements SET state = 'draining', updated_at = ? "
        "WHERE replica = ? AND adapter_id = ? AND state = 'loaded'",
        [now_us(), replica, adapter_id],
    )


def drop(db: Database, replica: str, adapter_id: int) -> None:
    """The engine is known not to hold it: its files are needed there no more."""
    db.execute("DELETE FROM placements WHERE replica = ? AND adapter_id = ?", [replica, adapter_id])


def begin_life(db: Database, replica: str, *, empty: bool) -> None:
    """The engine has started anew, and every adapter gets its attempts again; but one that was
    being loaded when the engine ended may be why, and keeps count.

    `empty`: it is a new process, which holds nothing, so the leases have ended. Otherwise they
    stay until it has been asked what it holds."""
    db.execute(
        "UPDATE placements SET state = 'failed', attempts = attempts + 1, error = ?, "
        "updated_at = ? WHERE replica = ? AND state = 'loading' AND error = ''",
        [ENDED, now_us(), replica],
    )
    if empty:
        sql = "DELETE FROM placements WHERE replica = ? AND error <> ?"
        db.execute(sql, [replica, ENDED])
        return
    db.execute(
        "UPDATE placements SET state = 'loading', attempts = 0, load_ms = NULL, "
        "agreement = NULL, error = ?, updated_at = ? WHERE replica = ? AND error <> ?",
        [UNKNOWN, now_us(), replica, ENDED],
    )


def retry(db: Database, adapter_id: int, actor: str, name: str) -> list[str]:
    """Give an adapter that failed its attempts again; returns the replicas. Raises Conflict when
    it has failed nowhere."""
    sql = "SELECT replica FROM placements WHERE adapter_id = ? AND state = 'failed'"
    found = [str(r["replica"]) for r in rows(db, sql, [adapter_id])]
    if not found:
        raise Conflict(f"{name} has failed on no replica; there is nothing to try again.")
    sql = (
        "UPDATE placements SET attempts = 0, updated_at = 0 "
        "WHERE adapter_id = ? AND state = 'failed'"
    )
    db.execute(sql, [adapter_id])
    audit.record(db, actor, "retry", name, replicas=found)
    return found


def release_ours(db: Database, adapter_id: int) -> None:
    """No `understudy serve` runs, so none of its engines does."""
    sql = "DELETE FROM placements WHERE adapter_id = ? AND replica LIKE ?"
    db.execute(sql, [adapter_id, f"{OURS}%"])


def of_replica(db: Database, replica: str) -> list[Placement]:
    sql = "SELECT * FROM placements WHERE replica = ? ORDER BY adapter_id"
    return [Placement(**r) for r in rows(db, sql, [replica])]


def of_adapter(db: Database, adapter_id: int) -> list[Placement]:
    sql = "SELECT * FROM placements WHERE adapter_id = ? ORDER BY replica"
    return [Placement(**r) for r in rows(db, sql, [adapter_id])]


def leases(db: Database, adapter_id: int) -> list[str]:
    """The replicas that hold the adapter, or may."""
    sql = "SELECT replica FROM placements WHERE adapter_id = ? ORDER BY replica"
    return [str(r["replica"]) for r in rows(db, sql, [adapter_id])]


def holders(db: Database, among: Collection[Replica] | None = None) -> dict[int, list[Replica]]:
    """Adapter id -> the ready replicas that hold it; `among` spares asking which are ready."""
    able = {r.name: r for r in (ready(db) if among is None else among)}
    found: dict[int, list[Replica]] = {}
    for r in rows(db, "SELECT adapter_id, replica FROM placements WHERE state = 'loaded'"):
        if r["replica"] in able:
            found.setdefault(r["adapter_id"], []).append(able[r["replica"]])
    return found


def can_answer(db: Database, replica: str, adapter_id: int | None) -> bool:
    """Whether the replica may be asked for this adapter (None: the bare base) just now. Inside the
    transaction that opens a reply this is exact: whoever drains it afterwards sees the reply."""
    sql = "SELECT 1 FROM replicas WHERE name = ? AND state = 'ready'"
    if row(db, sql, [replica]) is None:
        return False
    sql = "SELECT 1 FROM placements WHERE replica = ? AND adapter_id = ? AND state = 'loaded'"
    return adapter_id is None or row(db, sql, [replica, adapter_id]) is not None


def loaded(db: Database) -> dict[int, list[str]]:
    """Adapter id -> the URLs of the ready replicas that hold it."""
    return {adapter_id: [r.url for r in at] for adapter_id, at in holders(db).items()}
