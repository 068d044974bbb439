"""What each engine replica holds: written by `understudy serve`, read by whoever routes.

A replica that has not sent a heartbeat for `STALE_S` counts as down. A row in `placements` speaks
of the engine's present life only: the rows are dropped whenever the engine starts anew.
"""

from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from data.clock import now_us
from data.db import row, rows

STALE_S = 15

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


def beat(db: Database, name: str, url: str, base_model: str, state: str, detail: str = "") -> None:
    """A replica's sign of life and state; a change to `ready` is a new generation."""
    before = row(db, "SELECT state FROM replicas WHERE name = ?", [name])
    fresh = state == "ready" and (before is None or before["state"] != "ready")
    db.execute(
        "INSERT INTO replicas (name, url, base_model, state, detail, generation, heartbeat_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET url = excluded.url, "
        "base_model = excluded.base_model, state = excluded.state, detail = excluded.detail, "
        "generation = generation + excluded.generation, heartbeat_at = excluded.heartbeat_at",
        [name, url, base_model, state, detail, int(fresh), now_us()],
    )
    if state != "ready":
        db.execute("DELETE FROM placements WHERE replica = ? AND state = 'loaded'", [name])


def replicas(db: Database) -> list[Replica]:
    return [Replica(**r) for r in rows(db, "SELECT * FROM replicas ORDER BY name")]


def record_loaded(db: Database, replica: str, adapter_id: int, load_ms: float | None) -> None:
    """`load_ms` is None when the engine was found holding it."""
    db.execute(
        "INSERT INTO placements (replica, adapter_id, state, load_ms, updated_at) "
        "VALUES (?, ?, 'loaded', ?, ?) ON CONFLICT (replica, adapter_id) DO UPDATE SET "
        "state = 'loaded', load_ms = excluded.load_ms, error = '', attempts = 0, "
        "updated_at = excluded.updated_at",
        [replica, adapter_id, load_ms, now_us()],
    )


def record_failed(db: Database, replica: str, adapter_id: int, error: str) -> None:
    """Counts the attempt; the reason is shown by `understudy adapters list` and metrics."""
    db.execute(
        "INSERT INTO placements (replica, adapter_id, state, attempts, error, updated_at) "
        "VALUES (?, ?, 'failed', 1, ?, ?) ON CONFLICT (replica, adapter_id) DO UPDATE SET "
        "state = 'failed', attempts = attempts + 1, error = excluded.error, "
        "updated_at = excluded.updated_at",
        [replica, adapter_id, error, now_us()],
    )


def drop(db: Database, replica: str, adapter_id: int) -> None:
    db.execute("DELETE FROM placements WHERE replica = ? AND adapter_id = ?", [replica, adapter_id])


def of_replica(db: Database, replica: str) -> list[Placement]:
    sql = "SELECT * FROM placements WHERE replica = ? ORDER BY adapter_id"
    return [Placement(**r) for r in rows(db, sql, [replica])]


def ready(db: Database) -> list[Replica]:
    """The replicas that can answer now."""
    return [r for r in replicas(db) if r.state == "ready" and not r.stale]


def holders(db: Database) -> dict[int, list[Replica]]:
    """Adapter id -> the ready replicas that hold it."""
    able = {r.name: r for r in ready(db)}
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


def ready_urls(db: Database) -> list[str]:
    """The URLs of the replicas that can answer now."""
    return [r.url for r in ready(db)]
