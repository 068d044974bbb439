"""Decisions about comparisons, with the numbers they are based on, so that each can be
recalculated.

A decision is stored when the state of a comparison changes or an action is taken, including the
decision to hold. It is stored only if the comparison is running and no other decision was stored
since the numbers were read, so two bots never decide twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import orjson
from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import Row, changed, row, rows
from data.store.errors import NotFound

Action = Literal["hold", "advise", "promote", "roll back"]
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True)
class Decision:
    id: int
    experiment_id: int
    at: int
    policy: str
    state: str  # of the results
    variant: str  # the label of the variant that the decision is about, or ""
    action: Action
    sentence: str
    evidence: dict[str, Any]
    terms: dict[str, Any]
    results: dict[str, Any]  # without evidence and terms


def add(
    db: Database,
    experiment_id: int,
    after: int,
    *,
    policy: str,
    state: str,
    variant: str,
    action: Action,
    sentence: str,
    results: Mapping[str, Any],
) -> int | None:
    """Store a decision that follows decision `after` (0: the first), and return its id. `results`
    includes `evidence` and `terms`. None if another decision was stored or the comparison was
    stopped in the meantime."""
    parts = dict(results)
    evidence, terms = parts.pop("evidence"), parts.pop("terms")
    added = changed(
        db,
        "INSERT INTO decisions (experiment_id, at, policy, state, variant, action, sentence, "
        "evidence, terms, results) SELECT id, :at, :policy, :state, :variant, :action, :sentence, "
        ":evidence, :terms, :results FROM experiments WHERE id = :experiment "
        "AND state = 'running' AND :after = "
        "(SELECT coalesce(max(id), 0) FROM decisions WHERE experiment_id = :experiment)",
        {
            "experiment": experiment_id,
            "after": after,
            "at": now_us(),
            "policy": policy,
            "state": state,
            "variant": variant,
            "action": action,
            "sentence": sentence,
            "evidence": orjson.dumps(evidence).decode(),
            "terms": orjson.dumps(terms).decode(),
            "results": orjson.dumps(parts).decode(),
        },
    )
    return latest_id(db, experiment_id) if added else None


def latest_id(db: Database, experiment_id: int) -> int:
    """The id of the newest decision; 0 if there is none."""
    sql = "SELECT coalesce(max(id), 0) AS id FROM decisions WHERE experiment_id = ?"
    return int(rows(db, sql, [experiment_id])[0]["id"])


def latest(db: Database, experiment_id: int) -> Decision | None:
    """The newest decision about an experiment, or None."""
    sql = "SELECT * FROM decisions WHERE experiment_id = ? ORDER BY id DESC"
    found = row(db, sql, [experiment_id])
    return None if found is None else _decision(found)


def get(db: Database, decision_id: int) -> Decision:
    """Raises NotFound."""
    found = row(db, "SELECT * FROM decisions WHERE id = ?", [decision_id])
    if found is None:
        raise NotFound(f"There is no decision {decision_id}.")
    return _decision(found)


def list_decisions(db: Database, experiment_id: int) -> list[Decision]:
    """All decisions about an experiment, the oldest first."""
    sql = "SELECT * FROM decisions WHERE experiment_id = ? ORDER BY id"
    return [_decision(r) for r in rows(db, sql, [experiment_id])]


def counts(db: Database, domain_id: int) -> dict[str, int]:
    """The number of decisions for each action in a domain."""
    found = rows(
        db,
        "SELECT d.action, count(*) AS n FROM decisions d JOIN experiments e "
        "ON e.id = d.experiment_id WHERE e.domain_id = ? GROUP BY d.action",
        [domain_id],
    )
    return dict.fromkeys(ACTIONS, 0) | {r["action"]: r["n"] for r in found}


def _decision(found: Row) -> Decision:
    parts = {name: orjson.loads(found[name]) for name in ("evidence", "terms", "results")}
    return Decision(**{**found, **parts})
