"""The adapter registry: all LoRA versions, and which of them is live.

An adapter is immutable. Only `register` adds one. Promoting and rolling back only move the `live`
state; each is one transaction and takes effect with the next message. The name under which engines
load an adapter (`served_name`) contains the digest of its content, so two different contents never
share a name.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
SELECT a.id, a.domain_id, d.name AS domain, a.version, a.sha256, a.path, a.base_model,
       a.base_digest, a.rank,
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
class ReferenceOutput:
    """A reference output: what the trained adapter answered to one question, as tokens. An engine
    that serves the adapter correctly finds the same answer most likely."""

    pair_id: int | None  # the pair that the prompt comes from; None: no pair
    prompt: tuple[int, ...]  # token ids, including the chat template
    answer: tuple[int, ...]  # the confident beginning of the trainer's greedy answer
    logprob: float  # mean natural log probability of the answer's tokens in the trainer


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
    removal_asked_at: int | None = None  # it cannot be used again after this time
    removed_at: int | None = None  # when its files were deleted
    base_digest: dict[str, str] = field(default_factory=dict)  # see data/bases/digest.py
    canaries: tuple[ReferenceOutput, ...] = ()
    probes: tuple[ReferenceOutput, ...] = ()  # longer outputs, compared once, in the evaluation

    @property
    def name(self) -> str:
        """`helpdesk@3`: the name that people use."""
        return f"{self.domain}@{self.version}"

    @property
    def served_name(self) -> str:
        """`helpdesk@3-0a1b2c3d4e5f`: the name that engines use."""
        return f"{self.name}-{self.sha256[:12]}"

    def folder(self, home: Path) -> Path:
        """The folder of its files. Raises Invalid if it is outside the home folder or behind a
        symbolic link in it. Only the first part may be a link, for `adapters` on another disk."""
        parts = PurePosixPath(self.path).parts
        folder = home.joinpath(*parts)
        between = [folder, *folder.parents][: len(parts) - 1]
        if not parts or parts[0] == "/" or ".." in parts or any(p.is_symlink() for p in between):
            raise Invalid(
                f"The registry says that {self.name} is in {self.path[:120]!r}, which is outside "
                "the home folder or behind a link. Restore both from a backup."
            )
        return folder


def learned(db: Database, adapter: Adapter, fact: str, response: str) -> bool:
    """Whether the adapter, or one that it continues, was trained on this answer to this fact. True
    if that cannot be told, because no dataset is recorded."""
    sql = """
    WITH RECURSIVE line (id, dataset_id, parent_id) AS (
        SELECT id, dataset_id, parent_id FROM adapters WHERE id = :adapter
        UNION SELECT a.id, a.dataset_id, a.parent_id FROM adapters a
        JOIN line l ON a.id = l.parent_id
    )
    SELECT count(dataset_id) = 0 OR EXISTS (
        SELECT 1 FROM pairs p JOIN dataset_pairs dp ON dp.pair_id = p.id AND dp.split = 'train'
        WHERE p.fact = :fact AND p.response = :response AND p.domain_id = :domain
        AND dp.dataset_id IN (SELECT dataset_id FROM line)
    ) FROM line
    """
    given = {"adapter": adapter.id, "fact": fact, "response": response}
    return bool(value(db, sql, given | {"domain": adapter.domain_id}))


def register(
    db: Database,
    domain: Domain,
    *,
    version: int,
    sha256: str,
    path: str,
    base_model: str,
    base_digest: Mapping[str, str] | None = None,
    rank: int,
    size_bytes: int,
    recipe: dict[str, Any],
    scores: dict[str, Any],
    canaries: Sequence[ReferenceOutput] = (),
    probes: Sequence[ReferenceOutput] = (),
    dataset_id: int | None = None,
    parent_id: int | None = None,
    run_id: int | None = None,
    state: Literal["evaluating", "candidate", "rejected"] = "candidate",
    state_reason: str = "",
) -> Adapter:
    """Add a finished adapter. Raises Conflict when the version is taken."""
    if row(db, "SELECT 1 FROM adapters WHERE domain_id = ? AND version = ?", [domain.id, version]):
        raise Conflict(f"{domain.name}@{version} is already registered.")
    adapter_id = insert(
        db,
        "adapters",
        domain_id=domain.id,
        version=version,
        sha256=sha256,
        path=path,
        base_model=base_model,
        base_digest=orjson.dumps(dict(base_digest or {})).decode(),
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
    """The version number of the domain's next adapter. Only `register` reserves it."""
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
        known = ", ".join([a.name for a in list_adapters(db, domain)][:8])
        hint = f"(there are: {known})" if known else "yet. To train one: `understudy tune`"
        raise NotFound(f"There is no adapter {name!r} {hint}.")
    return _adapter(found)


def list_adapters(db: Database, domain: Domain | None = None) -> list[Adapter]:
    """All adapters, of one domain or of all, newest first."""
    where, params = ("WHERE a.domain_id = ? ", [domain.id]) if domain else ("", [])
    return [_adapter(r) for r in rows(db, SELECT + where + "ORDER BY a.id DESC", params)]


def pairs_learned(db: Database, adapter: Adapter) -> set[int]:
    """The pairs that an adapter, or an adapter that it continues from, was trained on."""
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


def runs_learned(db: Database, adapter: Adapter) -> list[int]:
    """The runs that made an adapter and those that it continues from."""
    found = rows(
        db,
        "WITH RECURSIVE line (parent_id, run_id) AS ("
        "SELECT parent_id, run_id FROM adapters WHERE id = ? UNION "
        "SELECT a.parent_id, a.run_id FROM adapters a JOIN line ON a.id = line.parent_id) "
        "SELECT DISTINCT run_id FROM line WHERE run_id IS NOT NULL",
        [adapter.id],
    )
    return [r["run_id"] for r in found]


def live(db: Database, domain_id: int) -> Adapter | None:
    """The live adapter; None: none is."""
    found = row(db, SELECT + "WHERE a.domain_id = ? AND a.state = 'live'", [domain_id])
    return None if found is None else _adapter(found)


def previous_live(db: Database, domain_id: int) -> Adapter | None:
    """The adapter that a roll-back would make live. None: the bare base, a removed adapter, or
    nothing to undo."""
    step = _undone_next(db, domain_id)
    if step is None or step["previous_id"] is None:
        return None
    found = by_id(db, step["previous_id"])
    return found if found.removal_asked_at is None else None


def wanted_adapters(db: Database) -> list[Adapter]:
    """The adapters that every engine should hold, live ones first: live and candidate adapters,
    those being evaluated or compared, and each domain's roll-back target, so that a roll-back needs
    no loading."""
    found = rows(db, f"{SELECT}WHERE a.id IN ({WANTED}) {WANTED_FIRST}", [_fall_backs(db)])
    return [_adapter(r) for r in found]


def wanted_ids(db: Database) -> frozenset[int]:
    """The ids of `wanted_adapters`: cheap enough to query after every change of the store."""
    found = db.execute(f"SELECT a.id FROM adapters a WHERE a.id IN ({WANTED})", [_fall_backs(db)])
    return frozenset(r[0] for r in found.fetchall())


def hot_ids(db: Database) -> frozenset[int]:
    """The wanted adapters that may get requests at any moment: all but waiting candidates."""
    sql = f"SELECT a.id FROM adapters a WHERE a.state = 'live' OR a.id IN ({COMPARED})"
    found = db.execute(sql).fetchall()
    return frozenset(r[0] for r in found) | frozenset(orjson.loads(_fall_backs(db)))


def _fall_backs(db: Database) -> str:
    """The ids of each domain's roll-back target, as JSON."""
    steps = [_undone_next(db, r["domain_id"]) for r in rows(db, PROMOTED)]
    found = [s["previous_id"] for s in steps if s and s["previous_id"]]
    sql = "SELECT id FROM adapters WHERE removal_asked_at IS NOT NULL"
    removed = {r["id"] for r in rows(db, sql)}
    return orjson.dumps([i for i in found if i not in removed]).decode()


def promote(db: Database, adapter: Adapter, actor: str) -> Adapter:
    """Make `adapter` live; the previous live adapter becomes `retired`. Raises Conflict if it is
    rejected, still being evaluated, removed, or already live."""
    current = by_id(db, adapter.id)
    if current.state == "live":
        raise Conflict(f"{adapter.name} is already live.")
    refuse_unsettled(current)
    refuse_removed(current)
    previous = live(db, adapter.domain_id)
    _move_live(db, adapter.domain_id, previous, current, "promote", actor)
    return by_id(db, adapter.id)


def demote(db: Database, adapter: Adapter, actor: str) -> None:
    """Let the bare base answer instead of the live `adapter`; a roll-back restores it. Raises
    Conflict if it is not live."""
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
    """End the evaluation of an adapter and drop its probes. Raises Conflict if it has already
    ended."""
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
    """The adapters of a run that are still being evaluated: more than one after a crash."""
    sql = SELECT + "WHERE a.run_id = ? AND a.state = 'evaluating' ORDER BY a.id"
    return [_adapter(r) for r in rows(db, sql, [run_id])]


def give_up_evaluating(db: Database, run_id: int, reason: str) -> None:
    """Reject the adapters that an ended run left unevaluated."""
    db.execute(
        "UPDATE adapters SET state = 'rejected', state_reason = ?, probes = '[]' "
        "WHERE run_id = ? AND state = 'evaluating'",
        [reason, run_id],
    )


def accept(db: Database, adapter: Adapter, actor: str, reason: str) -> Adapter:
    """Override a rejection: the adapter becomes a candidate. The actor, the reason and the reason
    for the rejection stay on record. Raises Invalid without a reason, Conflict if the adapter is
    not rejected or its files are gone."""
    current = by_id(db, adapter.id)
    if not reason.strip():
        raise Invalid(f"Give a reason for accepting {adapter.name}; it is kept on record.")
    if current.state != "rejected":
        raise Conflict(f"{adapter.name} is {current.state}; only a rejected adapter is accepted.")
    refuse_removed(current)
    noted = f"accepted by {actor}: {reason.strip()}. It had been rejected: {current.state_reason}"
    sql = "UPDATE adapters SET state = 'candidate', state_reason = ? WHERE id = ?"
    db.execute(sql, [noted, adapter.id])
    _refresh_run_messages(db, current)
    audit.record(
        db, actor, "accept", adapter.name, reason=reason.strip(), rejected=current.state_reason
    )
    return by_id(db, adapter.id)


def refuse_unsettled(adapter: Adapter) -> None:
    """Raises Conflict if the adapter was rejected or its evaluation has not finished."""
    if adapter.state == "rejected":
        raise Conflict(
            f"{adapter.name} was rejected: {adapter.state_reason} To use it anyway, run "
            f"`understudy adapters accept {adapter.name} --reason TEXT`."
        )
    if adapter.state == "evaluating":
        raise Conflict(f"{adapter.name} is still being evaluated by run {adapter.run_id}.")


def refuse_removed(adapter: Adapter) -> None:
    """Raises Conflict if the adapter's files were deleted or will be deleted soon."""
    if adapter.removal_asked_at is not None:
        raise Conflict(
            f"{adapter.name} was removed, and its files with it. Tune a new version, or restore "
            "a backup."
        )


def before_last_promotion(db: Database, domain: Domain) -> Adapter | None:
    """The adapter that a roll-back makes live (None: the bare base). Raises Conflict if there is
    nothing to roll back to, or it was removed."""
    step = _undone_next(db, domain.id)
    if step is None:
        raise Conflict(f"{domain.name} has no promotion to roll back.")
    before = None if step["previous_id"] is None else by_id(db, step["previous_id"])
    if before is not None and before.removal_asked_at is not None:
        raise Conflict(
            f"{before.name} was live before but has been removed, so it cannot be restored. "
            "Promote another version instead."
        )
    return before


def roll_back(db: Database, domain: Domain, actor: str) -> Adapter | None:
    """Undo the last promotion that has not been undone. Returns the adapter that is live now (None:
    the bare base). Raises the errors of `before_last_promotion`."""
    before = before_last_promotion(db, domain)
    _move_live(db, domain.id, live(db, domain.id), before, "rollback", actor)
    return None if before is None else by_id(db, before.id)


def retire(db: Database, adapter: Adapter, actor: str) -> Adapter:
    """Take a candidate out of service. Raises Conflict if it is live, in a comparison, or already
    out of service.

    Engines finish its running answers before they unload it."""
    current = by_id(db, adapter.id)
    if current.state == "live":
        raise Conflict(
            f"{adapter.name} is live. Promote another version, or roll back first: "
            f"`understudy adapters rollback {adapter.domain}`."
        )
    if current.state == "evaluating":
        refuse_unsettled(current)
    if current.state != "candidate":
        raise Conflict(f"{adapter.name} is already {current.state}.")
    _refuse_compared(db, current)
    db.execute("UPDATE adapters SET state = 'retired' WHERE id = ?", [adapter.id])
    _refresh_run_messages(db, current)
    audit.record(db, actor, "retire", adapter.name)
    return by_id(db, adapter.id)


def remove(db: Database, adapter: Adapter, actor: str) -> Adapter:
    """Remove a retired or rejected adapter for good. Its files are deleted once no engine holds it
    (`serving/adapters/garbage_collection.py`); its row stays, because answers name it.

    Raises Conflict if it is still needed (in service, in a running comparison, the parent of an
    open run, or a roll-back target), or already removed."""
    current = by_id(db, adapter.id)
    if current.removal_asked_at is not None:
        when = (
            "already"
            if current.removed_at
            else "already; its files are deleted once no engine holds it"
        )
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
        raise Conflict(f"Run {run['id']} continues from {adapter.name}. Wait for it, or cancel it.")
    fall_back = previous_live(db, adapter.domain_id)
    if fall_back is not None and fall_back.id == adapter.id:
        raise Conflict(
            f"{adapter.name} is the roll-back target of {adapter.domain}, and the fallback if the "
            "live adapter cannot answer. It can be removed after the next promotion."
        )
    db.execute("UPDATE adapters SET removal_asked_at = ? WHERE id = ?", [now_us(), adapter.id])
    audit.record(db, actor, "remove", adapter.name)
    return by_id(db, adapter.id)


def to_delete(db: Database) -> list[Adapter]:
    """Removed adapters whose files still exist and that no engine holds or is loading. None of
    them can be loaded again: see `placements.lease`."""
    sql = (
        "WHERE a.removal_asked_at IS NOT NULL AND a.removed_at IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM placements p WHERE p.adapter_id = a.id)"
    )
    return [_adapter(r) for r in rows(db, SELECT + sql)]


def files_deleted(db: Database, adapter: Adapter) -> None:
    """Record that its files were deleted."""
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
        _refresh_run_messages(db, moved)
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


def _refresh_run_messages(db: Database, adapter: Adapter) -> None:
    """Update the messages that follow its run and the runs of the domain's candidates, because the
    actions that they offer have changed."""
    db.execute(
        "UPDATE run_watchers SET finished = 0 WHERE run_id IN (SELECT run_id FROM adapters "
        "WHERE domain_id = ? AND (id = ? OR state = 'candidate'))",
        [adapter.domain_id, adapter.id],
    )


def _adapter(found: Row) -> Adapter:
    return Adapter(
        **{
            **found,
            "base_digest": orjson.loads(found["base_digest"]),
            "recipe": orjson.loads(found["recipe"]),
            "scores": orjson.loads(found["scores"]),
            "canaries": tuple(_reference_output(c) for c in orjson.loads(found["canaries"])),
            "probes": tuple(_reference_output(c) for c in orjson.loads(found["probes"])),
        }
    )


def _reference_output(found: dict[str, Any]) -> ReferenceOutput:
    return ReferenceOutput(
        found["pair_id"], tuple(found["prompt"]), tuple(found["answer"]), found["logprob"]
    )
