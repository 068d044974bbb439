"""Decisions on many pairs at once, which can be undone together.

A pair that somebody decided on, or looks at, after the list was shown is left as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
from sqlite_utils import Database

from data.domains import Domain
from data.pairs import review_queue, review_status
from data.pairs.pairs import SELECT, Pair, Status, _pair
from data.store import audit
from data.store.clock import now_us
from data.store.db import insert, row, rows, value
from data.store.errors import Conflict, NotFound
from data.store.lease_clock import lease_us

AT_ONCE = 250  # pairs in one transaction, so that others can write in between


@dataclass
class BulkReview:
    """What became of the pairs."""

    batch: int = 0  # to undo it by; 0: nothing was changed
    changed: int = 0
    same: int = 0  # that had the status already
    left: list[str] = field(default_factory=list)  # why a pair was left as it is, each a sentence


def review(
    db: Database,
    domain: Domain,
    pair_ids: Sequence[int],
    status: Status,
    reviewer: str,
    *,
    as_of: int,
    batch: int = 0,
) -> BulkReview:
    """Give at most `AT_ONCE` pairs of a domain this status. `as_of`: when their list was shown.
    `batch`: that of the decision's pairs before these. Ids of other domains are passed over."""
    result = BulkReview(batch)
    wanted = []
    held = _held(db, pair_ids, reviewer)
    for pair in _get(db, domain, pair_ids):
        if pair.status == status:
            result.same += 1
        elif pair.id in held:
            result.left.append(f"{held[pair.id]} is looking at pair {pair.id} now.")
        elif (decided := _decided_since(db, pair.id, as_of)) is not None:
            by = review_status.decode(decided).person or "somebody"
            result.left.append(f"Pair {pair.id} was {pair.status} meanwhile, by {by}.")
        else:
            wanted.append(pair)
    leaks = review_status.set_statuses(db, wanted, status, reviewer)
    result.left += [str(leak) for leak in leaks.values()]
    for pair in wanted:
        if pair.id in leaks:
            continue
        result.batch = result.batch or 1 + int(
            value(db, "SELECT coalesce(max(batch), 0) FROM bulk_reviews")
        )
        insert(
            db,
            "bulk_reviews",
            batch=result.batch,
            domain_id=domain.id,
            pair_id=pair.id,
            status_before=pair.status,
            status_after=status,
            at=now_us(),
        )
        review_queue.let_go(db, pair.id)
        detail = {"status": status, "bulk": result.batch}
        audit.record(db, reviewer, "review", f"pair {pair.id}", **detail)
        result.changed += 1
    return result


def undo(db: Database, domain: Domain, batch: int, reviewer: str) -> int:
    """Give at most `AT_ONCE` pairs the status that they had before; returns how many were looked
    at, 0 once all are. Pairs whose status has changed since are left as they are."""
    found = rows(db, OF_BATCH, [batch, domain.id, AT_ONCE])
    by_before: dict[Status, list[Pair]] = {}
    pairs = {pair.id: pair for pair in _get(db, domain, [r["pair_id"] for r in found])}
    for r in found:
        pair = pairs.get(r["pair_id"])
        if pair is not None and pair.status == r["status_after"]:
            by_before.setdefault(r["status_before"], []).append(pair)
    for status, some in by_before.items():
        leaks = review_status.set_statuses(db, some, status, reviewer)
        for pair in some:
            if pair.id not in leaks:
                detail = {"status": status, "undone": batch}
                audit.record(db, reviewer, "review", f"pair {pair.id}", **detail)
    done = "UPDATE bulk_reviews SET undone_at = ? WHERE id IN (SELECT value FROM json_each(?))"
    db.execute(done, [now_us(), orjson.dumps([r["id"] for r in found]).decode()])
    return len(found)


def begin_undo(db: Database, domain: Domain, batch: int) -> int:
    """How many pairs an undo concerns. Raises NotFound, and Conflict if it was undone before."""
    sql = (
        "SELECT count(*) AS all_of_it, sum(undone_at IS NULL) AS left FROM bulk_reviews "
        "WHERE batch = ? AND domain_id = ?"
    )
    found = row(db, sql, [batch, domain.id])
    if found is None or not found["all_of_it"]:
        raise NotFound(f"{domain.name} has no decision {batch} on many pairs.")
    if not found["left"]:
        raise Conflict("That decision was undone before.")
    return int(found["left"])


OF_BATCH = """
SELECT id, pair_id, status_before, status_after FROM bulk_reviews
WHERE batch = ? AND domain_id = ? AND undone_at IS NULL ORDER BY id LIMIT ?
"""


def _get(db: Database, domain: Domain, pair_ids: Sequence[int]) -> list[Pair]:
    sql = (
        f"{SELECT} WHERE id IN (SELECT value FROM json_each(?)) AND domain_id = ? "
        "AND forgotten_at IS NULL ORDER BY id"
    )
    given = [orjson.dumps(list(pair_ids)).decode(), domain.id]
    return [_pair(r) for r in rows(db, sql, given)]


def _held(db: Database, pair_ids: Sequence[int], reviewer: str) -> dict[int, str]:
    """Pairs that somebody else is looking at, each with who."""
    sql = (
        "SELECT pair_id, reviewer FROM review_leases WHERE reviewer <> ? AND until >= ? "
        "AND pair_id IN (SELECT value FROM json_each(?))"
    )
    given = [reviewer, lease_us(db), orjson.dumps(list(pair_ids)).decode()]
    return {r["pair_id"]: r["reviewer"] for r in rows(db, sql, given)}


def _decided_since(db: Database, pair_id: int, as_of: int) -> str | None:
    """Who decided on a pair after that time, as the column has it; None: nobody did."""
    sql = "SELECT reviewed_by FROM pairs WHERE id = ? AND reviewed_at > ?"
    found = row(db, sql, [pair_id, as_of])
    return None if found is None else str(found["reviewed_by"])
