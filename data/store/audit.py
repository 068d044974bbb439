"""The audit log: who did what, to what, and when. Rows are only ever added."""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import insert, rows


@dataclass(frozen=True)
class Entry:
    at: int
    actor: str  # a person, `cli:USER`, `worker:NAME`
    action: str  # a verb: promote, rollback, retrain, ...
    subject: str  # what was changed: `helpdesk@3`, `run 7`
    detail: dict[str, Any]
    id: int = 0  # grows with time


def record(db: Database, actor: str, action: str, subject: str, **detail: Any) -> None:
    """Add an entry. Call it in the same transaction as the change that it records."""
    insert(
        db,
        "audit",
        at=now_us(),
        actor=actor,
        action=action,
        subject=subject,
        detail=orjson.dumps(detail).decode(),
    )


def recent(
    db: Database,
    limit: int = 50,
    *,
    actor: str = "",
    action: str = "",
    subject: str = "",
    before: int | None = None,
) -> list[Entry]:
    """The newest entries first. `actor`, `action` and `subject`: only those that contain this text;
    `before`: only those with a smaller id, because several entries can have one time."""
    filters = {"actor": actor, "action": action, "subject": subject}
    used = {name: text for name, text in filters.items() if text}
    where = [f"instr(lower({name}), lower(:{name})) > 0" for name in used]
    where += ["id < :before"] if before is not None else []
    found = rows(
        db,
        "SELECT id, at, actor, action, subject, detail FROM audit "
        f"{'WHERE ' if where else ''}{' AND '.join(where)} ORDER BY id DESC LIMIT :limit",
        {**used, "before": before, "limit": limit},
    )
    return [Entry(**{**r, "detail": orjson.loads(r["detail"])}) for r in found]


def of_subject(db: Database, subject: str, limit: int = 50) -> list[Entry]:
    """What was done to one subject, such as `pair 7`, the newest entry first."""
    sql = "SELECT at, actor, action, subject, detail FROM audit WHERE subject = ? "
    found = rows(db, sql + "ORDER BY id DESC LIMIT ?", [subject, limit])
    return [Entry(**{**r, "detail": orjson.loads(r["detail"])}) for r in found]
