"""Adapters: the registry of LoRA versions, and which of them is live.

An adapter is immutable. `register` is the only way in, promote and roll back only move the
`live` mark; both are one transaction and take effect on the next message. The name under which
an engine holds it (`served_name`) carries the content's digest, so that no two contents ever
share a name.
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import orjson
from sqlite_utils import Database

from data.domains import Domain
from data.store import audit
from data.store.clock import now_us
from data.store.db import Row, changed, insert, row, rows, value
from data.store.errors import Conflict, Invalid, NotFound

State = Literal["evaluating", "candidate", "live", "retired", "rejected"]
NAME = re.compile(r"([a-z][a-z0-9-]{0,31})@(\d{1,9}|base)")
BASE_SERVED_NAME = "base@0"  # the bare base model, served as an all-zero adapter

SELECT = """
SELECT a.id, a.domain_id, d.name AS domain, a.version, a.sha256, a.path, a.base_model, a.rank,
       a.size_bytes, a.recipe, a.scores, a.canaries, a.probes, a.dataset_id, a.parent_id, a.run_id,
       a.state, a.state_reason, a.created_at, a.live_at, a.removal_asked_at, a.removed_at
FROM adapters a JOIN domains d ON d.id = a.domain_id
"""
COMPARED = """
SELECT v.adapter_id FROM variants v JOIN experiments e ON e.id = v.experiment_id
WHERE e.state = 'running' AND v.adapter_id IS NOT NULL
"""
WANTED = f"""
SELECT id FROM adapters WHERE state IN ('live', 'candidate', 'evaluating')
UNION {COMPARED}
UNION SELECT value FROM json_each(?)
"""  # the parameter: `_fall_backs`
WANTED_FIRST = "ORDER BY a.state = 'live' DESC, a.id DESC"
PROMOTED = "SELECT DISTINCT domain_id FROM promotions"


@dataclass(frozen=True)
class Canary:
    """What the trained adapter answered to one question, as tokens: an engine that serves the
    adapter rightly finds the same answer the likeliest."""

    pair_id: int | None  # whose words the prompt has; None: nobody's pair
    prompt: tuple[int, ...]  # token ids, the chat template included
    answer: tuple[int, ...]  # how the trainer's greedy answer begins, as far as it is sure
    logprob: float  # mean natural logarithm of the trainer's probability of the answer's tokens


@dataclass(frozen=True)
class Adapter:
    id: int
    domain_id: int
    domain: str
    version: int
    sha256: str  # of the folder's content, see tuning/adapters/publish.py
    path: str  # of its folder, relative to the home folder
    base_model: str
    rank: int
    size_bytes: int
    recipe: dict[str, Any]
    scores: dict[str, Any]
    dataset_id: int | None
    parent_id: int | None
    run_id: int | None
    state: State
    state_reason: str
    created_at: int
    live_at: int | None
    removal_asked_at: int | None = None  # from then on it can't come back
    removed_at: int | None = None  # when its files were deleted
    canaries: tuple[Canary, ...] = ()
    probes: tuple[Canary, ...] = ()  # whole answers, asked of an engine while it is evaluated

    @property
    def name(self) -> str:
        """`helpdesk@3`: what people say."""
        return f"{self.domain}@{self.version}"

    @property
    def served_name(self) -> str:
        """`helpdesk@3-0a1b2c3d4e5f`: what engines are told."""
        return f"{self.name}-{self.sha256[:12]}"

    def folder(self, home: Path) -> Path:
        """Where its files are. Raises Invalid when that is outside of the home folder, or behind
        a link in it; its first part may be one, as when `adapters` is on another disk."""
        parts = PurePosixPath(self.path).parts
        folder = home.joinpath(*parts)
        between = [folder, *folder.parents][: len(parts) - 1]
        if not parts or parts[0] == "/" or ".." in parts or any(p.is_symlink() for p in between):
            raise Invalid(
                f"The folder of {self.name} in the registry, {self.path[:120]!r}, is not one in "
                "the home folder, or is behind a link. Restore both from a backup."
            )
        return folder


def register(
    db: Database,
    domain: Domain,
    *,
    version: int,
    sha256: str,
    path: str,
    base_model: str,
    rank: int,
    size_bytes: int,
    recipe: dict[str, Any],
    scores: dict[str, Any],
    canaries: Sequence[Canary] = (),
    probes: Sequence[Canary] = (),
    dataset_id: int | None = None,
    parent_id: int | None = None,
    run_id: int | None = None,
    state: Literal["evaluating", "candidate", "rejected"] = "candidate",
    state_reason: str = "",
) -> Adapter:
    """Add a finished adapter. Raises Conflict when the version is taken."""
    if row(db, "SELECT 1 FROM adapters WHERE domain_id = ? AND version = ?", [domain.id, version]):
        raise Conflict(f"{domain.name}@{version} is registered already.")
    adapter_id = insert(
        db,
        "adapters",
        domain_id=domain.id,
        version=version,
        sha256=sha256,
        path=path,
        base_model=base_model,
        rank=rank,
        size_bytes=size_bytes,
        recipe=orjson.dumps(recipe).decode(),
        scores=orjson.dumps(scores).decode(),
        canaries=orjson.dumps(list(canaries)).decode(),
        probes=orjson.dumps(list(probes)).decode(),
        dataset_id=dataset_id,
        parent_id=parent_id,
        run_id=run_id,
        state=state,
        state_reason=state_reason,
        created_at=now_us(),
    )
    return by_id(db, adapter_id)


def next_version(db: Database, domain: Domain) -> int:
    """The number for the domain's next adapter; reserved only by `register`."""
    sql = "SELECT coalesce(max(version), 0) + 1 FROM adapters WHERE domain_id = ?"
    return int(value(db, sql, [domain.id]))


def by_id(db: Database, adapter_id: int) -> Adapter:
    """Raises NotFound."""
    found = row(db, SELECT + "WHERE a.id = ?", [adapter_id])
    if found is None:
        raise NotFound(f"There is no adapter number {adapter_id}.")
    return _adapter(found)


def get(db: Database, name: str, domain: Domain | None = None) -> Adapter:
    """The adapter called `helpdesk@3`, or `3` when `domain` is given. Raises NotFound."""
    text = f"{domain.name}@{name.lstrip('@')}" if domain and name.lstrip("@").isdigit() else name
    match = NAME.fullmatch(text)
    found = None
    if match and match[2] != "base":
        found = row(db, SELECT + "WHERE d.name = ? AND a.version = ?", [match[1], int(match[2])])
    if found is None:
        known = [a.name for a in list_adapters(db, domain)]
        there_are = ", ".join(known[:8]) or "none yet; `understudy tune` makes one"
        raise NotFound(f"There is no adapter {name!r} (there are: {there_are}).")
    return _adapter(found)


def list_adapters(db: Database, domain: Domain | None = None) -> list[Adapter]:
    """All adapters, of one domain or of all, newest first."""
    where, params = ("WHERE a.domain_id = ? ", [domain.id]) if domain else ("", [])
    return [_adapter(r) for r in rows(db, SELECT + where + "ORDER BY a.id DESC", params)]


def taught(db: Database, adapter: Adapter) -> set[int]:
    """The pairs that an adapter or one that it went on from was trained on."""
    found = rows(
        db,
        "WITH RECURSIVE line (parent_id, dataset_id) AS ("
        "SELECT parent_id, dataset_id FROM adapters WHERE id = ? UNION "
        "SELECT a.parent_id, a.dataset_id FROM adapters a JOIN line ON a.id = line.parent_id) "
        "SELECT DISTINCT pair_id FROM dataset_pairs "
        "WHERE split = 'train' AND dataset_id IN (SELECT dataset_id FROM line)",
        [adapter.id],
    )
    return {r["pair_id"] for r in found}


def live(db: Database, domain_id: int) -> Adapter | None:
    """The adapter that answers, or None: the bare base does."""
    found = row(db, SELECT + "WHERE a.domain_id = ? AND a.state = 'live'", [domain_id])
    return None if found is None else _adapter(found)


def previous_live(db: Database, domain_id: int) -> Adapter | None:
    """What a roll-back would bring back; None: the bare base, or it was removed, or there is
    nothing to undo."""
    step = _undone_next(db, domain_id)
    if step is None or step["previous_id"] is None:
        return None
    found = by_id(db, step["previous_id"])
    return found if found.removal_asked_at is None else None


def wanted_adapters(db: Database) -> list[Adapter]:
    """What every engine should hold: live and candidate adapters, those that are being evaluated
    or compared, and what each domain's roll-back would bring back, so that it needs no loading.
    The live ones come first."""
    found = rows(db, f"{SELECT}WHERE a.id IN ({WANTED}) {WANTED_FIRST}", [_fall_backs(db)])
    return [_adapter(r) for r in found]


def wanted_ids(db: Database) -> frozenset[int]:
    """The ids of `wanted`: cheap enough to ask after every change of the store."""
    found = db.execute(f"SELECT a.id FROM adapters a WHERE a.id IN ({WANTED})", [_fall_backs(db)])
    return frozenset(r[0] for r in found.fetchall())


def hot_ids(db: Database) -> frozenset[int]:
    """Those of `wanted` that people are sent to at any moment: no candidates that only wait."""
    sql = f"SELECT a.id FROM adapters a WHERE a.state = 'live' OR a.id IN ({COMPARED})"
    found = db.execute(sql).fetchall()
    return frozenset(r[0] for r in found) | frozenset(orjson.loads(_fall_backs(db)))


def _fall_backs(db: Database) -> str:
    """The ids of what each domain's roll-back would bring back, as JSON."""
    steps = [_undone_next(db, r["domain_id"]) for r in rows(db, PROMOTED)]
    found = [s["previous_id"] for s in steps if s and s["previous_id"]]
    sql = "SELECT id FROM adapters WHERE removal_asked_at IS NOT NULL"
    removed = {r["id"] for r in rows(db, sql)}
    return orjson.dumps([i for i in found if i not in removed]).decode()


def promote(db: Database, adapter: Adapter, actor: str) -> Adapter:
    """Make `adapter` live; the one that was becomes `retired`. Raises Conflict if it is rejected,
    still evaluated, removed, or live already."""
    current = by_id(db, adapter.id)
    if current.state == "live":
        raise Conflict(f"{adapter.name} is live already.")
    refuse_unsettled(current)
    refuse_removed(current)
    previous = live(db, adapter.domain_id)
    _move_live(db, adapter.domain_id, previous, current, "promote", actor)
    return by_id(db, adapter.id)


def step_down(db: Database, adapter: Adapter, actor: str) -> None:
    """Let the bare base answer instead of the live `adapter`; a roll-back brings it back. Raises
    Conflict when it is not live."""
    current = by_id(db, adapter.id)
    if current.state != "live":
        raise Conflict(f"{adapter.name} is {current.state}, not live.")
    _move_live(db, adapter.domain_id, current, None, "promote", actor)


def settle_evaluation(
    db: Database,
    adapter: Adapter,
    state: Literal["candidate", "rejected"],
    scores: dict[str, Any],
    reason: str = "",
) -> Adapter:
    """End the evaluation of an adapter; its probes have served. Raises Conflict when somebody has
    ended it already."""
    done = changed(
        db,
        "UPDATE adapters SET state = ?, scores = ?, state_reason = ?, probes = '[]' "
        "WHERE id = ? AND state = 'evaluating'",
        [state, orjson.dumps(scores).decode(), reason, adapter.id],
    )
    if not done:
        raise Conflict(f"{adapter.name} is {by_id(db, adapter.id).state}, not being evaluated.")
    return by_id(db, adapter.id)


def evaluated_by(db: Database, run_id: int) -> list[Adapter]:
    """What a run has made and not finished evaluating: more than one after a crash."""
    sql = SELECT + "WHERE a.run_id = ? AND a.state = 'evaluating' ORDER BY a.id"
    return [_adapter(r) for r in rows(db, sql, [run_id])]


def give_up_evaluating(db: Database, run_id: int, reason: str) -> None:
    """The run has ended, so nobody evaluates what it has made."""
    db.execute(
        "UPDATE adapters SET state = 'rejected', state_reason = ?, probes = '[]' "
        "WHERE run_id = ? AND state = 'evaluating'",
        [reason, run_id],
    )


def accept(db: Database, adapter: Adapter, actor: str, reason: str) -> Adapter:
    """Overrule a rejection: the adapter becomes a candidate, and who did it, why, and what it had
    been rejected for stay on record. Raises Invalid without a reason, Conflict when it is not
    rejected or its files are gone."""
    current = by_id(db, adapter.id)
    if not reason.strip():
        raise Invalid(f"Say why {adapter.name} is accepted all the same; the reason is kept.")
    if current.state != "rejected":
        raise Conflict(f"{adapter.name} is {current.state}; only a rejected adapter is accepted.")
    refuse_removed(current)
    noted = f"accepted by {actor}: {reason.strip()}. It had been rejected: {current.state_reason}"
    sql = "UPDATE adapters SET state = 'candidate', state_reason = ? WHERE id = ?"
    db.execute(sql, [noted, adapter.id])
    _follow_again(db, current)
    audit.record(
        db, actor, "accept", adapter.name, reason=reason.strip(), rejected=current.state_reason
    )
    return by_id(db, adapter.id)


def refuse_unsettled(adapter: Adapter) -> None:
    """Raises Conflict when the adapter was rejected, or nobody knows yet whether it will be."""
    if adapter.state == "rejected":
        raise Conflict(
            f"{adapter.name} was rejected: {adapter.state_reason} To use it all the same: "
            f"`understudy adapters accept {adapter.name} --reason TEXT`."
        )
    if adapter.state == "evaluating":
        raise Conflict(f"{adapter.name} is still being evaluated by run {adapter.run_id}.")


def refuse_removed(adapter: Adapter) -> None:
    """Raises Conflict when the adapter's files are gone, or about to be deleted."""
    if adapter.removal_asked_at is not None:
        raise Conflict(
            f"{adapter.name} was removed, and its files with it. Tune a new version, or restore "
            "a backup."
        )


def roll_back(db: Database, domain: Domain, actor: str) -> Adapter | None:
    """Undo the last promotion that has not been undone; returns what answers now, None meaning
    the bare base. Raises Conflict when there is nothing to go back to, or it was removed."""
    step = _undone_next(db, domain.id)
    if step is None:
        raise Conflict(f"Nothing was promoted in {domain.name} that could be rolled back.")
    before = None if step["previous_id"] is None else by_id(db, step["previous_id"])
    if before is not None and before.removal_asked_at is not None:
        raise Conflict(
            f"{before.name} was live before and has been removed, so it cannot answer again. "
            "Promote another version instead."
        )
    _move_live(db, domain.id, live(db, domain.id), before, "rollback", actor)
    return None if before is None else by_id(db, before.id)


def retire(db: Database, adapter: Adapter, actor: str) -> Adapter:
    """Take a candidate out of service. Raises Conflict when it is live, compared, or out already.

    Answers that it is writing are finished before an engine drops it."""
    current = by_id(db, adapter.id)
    if current.state == "live":
        raise Conflict(
            f"{adapter.name} is live. Promote another version, or go back to the one before: "
            f"`understudy adapters rollback {adapter.domain}`."
        )
    if current.state == "evaluating":
        refuse_unsettled(current)
    if current.state != "candidate":
        raise Conflict(f"{adapter.name} is {current.state} already.")
    _refuse_compared(db, current)
    db.execute("UPDATE adapters SET state = 'retired' WHERE id = ?", [adapter.id])
    _follow_again(db, current)
    audit.record(db, actor, "retire", adapter.name)
    return by_id(db, adapter.id)


def remove(db: Database, adapter: Adapter, actor: str) -> Adapter:
    """Give up a retired or rejected adapter for good. Its files are deleted once no engine holds
    it (`serving/adapters/garbage_collection.py`); its row stays, because answers name it.

    Raises Conflict when it may still be needed: in service, in a running comparison, the parent
    of an open run, what a roll-back would bring back, or removed already."""
    current = by_id(db, adapter.id)
    if current.removal_asked_at is not None:
        when = "already" if current.removed_at else "already; its files go when no engine holds it"
        raise Conflict(f"{adapter.name} was removed {when}.")
    if current.state == "evaluating":
        refuse_unsettled(current)
    if current.state == "live":
        raise Conflict(f"{adapter.name} is live. Promote another version before you remove it.")
    if current.state == "candidate":
        raise Conflict(
            f"{adapter.name} is a candidate. Retire it first: "
            f"`understudy adapters retire {adapter.name}`."
        )
    _refuse_compared(db, current)
    sql = "SELECT id FROM runs WHERE parent_id = ? AND state IN ('queued', 'running')"
    if run := row(db, sql, [adapter.id]):
        raise Conflict(f"Run {run['id']} goes on from {adapter.name}. Wait for it, or cancel it.")
    fall_back = previous_live(db, adapter.domain_id)
    if fall_back is not None and fall_back.id == adapter.id:
        raise Conflict(
            f"{adapter.name} is what a roll-back of {adapter.domain} would bring back, and answers "
            "when the live one cannot. It can be removed after the next promotion."
        )
    db.execute("UPDATE adapters SET removal_asked_at = ? WHERE id = ?", [now_us(), adapter.id])
    audit.record(db, actor, "remove", adapter.name)
    return by_id(db, adapter.id)


def to_delete(db: Database) -> list[Adapter]:
    """Removed ones whose files are still there and that no engine holds, or is being told of.
    None of them can get to an engine any more: see `placements.lease`."""
    sql = (
        "WHERE a.removal_asked_at IS NOT NULL AND a.removed_at IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM placements p WHERE p.adapter_id = a.id)"
    )
    return [_adapter(r) for r in rows(db, SELECT + sql)]


def files_deleted(db: Database, adapter: Adapter) -> None:
    """Nothing of its files is left."""
    db.execute("UPDATE adapters SET removed_at = ? WHERE id = ?", [now_us(), adapter.id])
    audit.record(db, "serving", "delete files", adapter.name, path=adapter.path)


def _refuse_compared(db: Database, adapter: Adapter) -> None:
    if row(db, f"SELECT 1 FROM ({COMPARED}) WHERE adapter_id = ?", [adapter.id]):
        raise Conflict(
            f"{adapter.name} is being compared. Stop that first: "
            f"`understudy ab stop {adapter.domain}`."
        )


def _undone_next(db: Database, domain_id: int) -> Row | None:
    """The last promotion that has not been undone, or None."""
    undone = 0
    sql = "SELECT kind, previous_id FROM promotions WHERE domain_id = ? ORDER BY id DESC"
    with contextlib.closing(db.execute(sql, [domain_id])) as steps:  # mostly the first is enough
        for kind, previous_id in steps:
            if kind == "rollback":
                undone += 1
            elif undone:
                undone -= 1
            else:
                return {"kind": kind, "previous_id": previous_id}
    return None


def _move_live(
    db: Database,
    domain_id: int,
    old: Adapter | None,
    new: Adapter | None,
    kind: str,
    actor: str,
) -> None:
    if old is not None:
        db.execute("UPDATE adapters SET state = 'retired' WHERE id = ?", [old.id])
    if new is not None:
        sql = "UPDATE adapters SET state = 'live', live_at = ? WHERE id = ?"
        db.execute(sql, [now_us(), new.id])
    for moved in filter(None, (old, new)):
        _follow_again(db, moved)
    insert(
        db,
        "promotions",
        domain_id=domain_id,
        adapter_id=new.id if new else None,
        previous_id=old.id if old else None,
        kind=kind,
        actor=actor,
        at=now_us(),
    )
    subject = new.name if new else "the bare base"
    audit.record(db, actor, kind, subject, previous=old.name if old else None)


def _follow_again(db: Database, adapter: Adapter) -> None:
    """What can be done with it, or beside it, has changed: the messages that followed its run, and
    those of the domain's candidates, are brought up to date."""
    db.execute(
        "UPDATE run_watchers SET finished = 0 WHERE run_id IN (SELECT run_id FROM adapters "
        "WHERE domain_id = ? AND (id = ? OR state = 'candidate'))",
        [adapter.domain_id, adapter.id],
    )


def _adapter(found: Row) -> Adapter:
    return Adapter(
        **{
            **found,
            "recipe": orjson.loads(found["recipe"]),
            "scores": orjson.loads(found["scores"]),
            "canaries": tuple(_canary(c) for c in orjson.loads(found["canaries"])),
            "probes": tuple(_canary(c) for c in orjson.loads(found["probes"])),
        }
    )


def _canary(found: dict[str, Any]) -> Canary:
    return Canary(
        found["pair_id"], tuple(found["prompt"]), tuple(found["answer"]), found["logprob"]
    )
