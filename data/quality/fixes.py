"""Masks, quarantines and merges what the checks found, and undoes it.

Every fix of a pair is a row of `quality_fixes`. Nothing is deleted: a pair is put in quarantine,
and a masked pair is a new one beside the old one. So a fix can be undone as a whole, whatever was
decided about other pairs meanwhile. The transactions are short, so that others can write in
between.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlite_utils import Database

from data.domains import Domain
from data.pairs import pairs, review_status
from data.pairs.pairs import Draft, Pair
from data.quality import checks
from data.quality.contact_data import key
from data.quality.findings import FixKind, QualityFinding, QualityReport
from data.quality.private_words import allowed, mask_draft
from data.store import audit
from data.store.clock import now_us
from data.store.db import Store, insert, rows, value
from data.store.errors import NotFound, UnderstudyError

TOGETHER = 100  # pairs in one transaction
Removal = tuple[str, FixKind, int | None]  # the check, the fix, and the pair that stays instead


@dataclass(frozen=True)
class Fixed:
    """What a fix did, or what undoing one did."""

    batch: int
    masked: int
    quarantined: int
    merged: int
    left: int  # pairs that had changed meanwhile, or could not be changed


def apply(
    store: Store, domain: Domain, report: QualityReport, actor: str, *, only: Collection[str] = ()
) -> Fixed:
    """Fix what the report found. Checks whose pairs can be right are fixed only if `only` names
    them. Golden questions are left alone."""
    masks, removals = _chosen(report, only)
    todo = [
        *((pair_id, *removal) for pair_id, removal in sorted(removals.items())),
        *((pair_id, ",".join(names), "mask", None) for pair_id, names in sorted(masks.items())),
    ]
    batch, done, left = 0, dict.fromkeys(("mask", "quarantine", "merge"), 0), 0
    waiting = iter(todo)
    while some := list(islice(waiting, TOGETHER)):
        with store.write() as db:
            batch = batch or 1 + int(value(db, "SELECT coalesce(max(id), 0) FROM quality_fixes"))
            for pair_id, check, kind, kept in some:
                if _fix(db, domain, pair_id, check, kind, batch, kept):
                    done[kind] += 1
                else:
                    left += 1
    if todo:
        with store.write() as db:
            audit.record(db, actor, "pairs check --fix", domain.name, batch=batch, **done)
    return Fixed(batch, done["mask"], done["quarantine"], done["merge"], left)


def can_undo(db: Database, domain: Domain) -> bool:
    """Whether there is a fix of the domain that was not undone."""
    sql = "SELECT 1 FROM quality_fixes WHERE domain_id = ? AND undone_at IS NULL LIMIT 1"
    return value(db, sql, [domain.id]) is not None


def undo(store: Store, domain: Domain, actor: str) -> Fixed:
    """Undo the last fix of the domain that was not undone. Raises NotFound if there is none."""
    sql = "SELECT max(batch) FROM quality_fixes WHERE domain_id = ? AND undone_at IS NULL"
    batch = value(store.db, sql, [domain.id])
    if batch is None:
        raise NotFound(f"There is no fix of {domain.name} to undo.")
    done, left = dict.fromkeys(("mask", "quarantine", "merge"), 0), 0
    found = iter(rows(store.db, OF_BATCH, [domain.id, batch]))
    while some := list(islice(found, TOGETHER)):
        with store.write() as db:
            for r in some:
                masked = r["new_pair_id"] if r["fix"] == "mask" else None
                if _undo(db, r["id"], r["pair_id"], masked, r["status_before"]):
                    done[r["fix"]] += 1
                else:
                    left += 1
    with store.write() as db:
        audit.record(db, actor, "pairs check --undo", domain.name, batch=batch, **done)
    return Fixed(int(batch), done["mask"], done["quarantine"], done["merge"], left)


OF_BATCH = """
SELECT id, pair_id, new_pair_id, status_before, fix FROM quality_fixes
WHERE domain_id = ? AND batch = ? AND undone_at IS NULL ORDER BY id DESC
"""


def _chosen(
    report: QualityReport, only: Collection[str]
) -> tuple[dict[int, list[str]], dict[int, Removal]]:
    """The checks that mask each pair, and what becomes of each pair that is taken out.

    A pair is merged only into one that stays: where the pair that duplicates are merged into has
    another fault, they are left alone, so that no answer is lost."""
    masks: dict[int, list[str]] = {}
    faulty: dict[int, Removal] = {}
    merged: dict[int, Removal] = {}
    for finding in report.findings:
        kind = _kind(finding, only)
        if kind == "mask":
            for pair_id in finding.pair_ids:
                masks.setdefault(pair_id, []).append(finding.check)
        elif kind == "quarantine":
            for pair_id in finding.pair_ids:
                faulty.setdefault(pair_id, (finding.check, kind, None))
        elif kind == "merge":
            for pair_id, kept in zip(finding.pair_ids, finding.kept_ids, strict=True):
                merged.setdefault(pair_id, (finding.check, kind, kept))
    for pair_id, (check, fix, stays) in list(merged.items()):
        while stays in merged:
            stays = merged[stays][2]
        merged[pair_id] = (check, fix, stays)
    removals = faulty | {i: found for i, found in merged.items() if found[2] not in faulty}
    return {i: names for i, names in masks.items() if i not in removals}, removals


def _kind(finding: QualityFinding, only: Collection[str]) -> FixKind | None:
    check = checks.by_name(finding.check)
    if only:
        return check.fix if check.name in only else None
    return None if check.by_name else check.fix


def _fix(
    db: Database,
    domain: Domain,
    pair_id: int,
    check: str,
    kind: FixKind,
    batch: int,
    kept: int | None,
) -> bool:
    try:
        pair = pairs.get(db, pair_id)
        other = pair if kept is None else pairs.get(db, kept)
    except NotFound:
        return False
    if pair.split == "golden" or not {pair.status, other.status} <= {"approved", "pending"}:
        return False
    new_id = None
    if kind == "mask":
        masked = _masked(db, domain, pair, check.split(","))
        if masked is None:
            return False
        new_id = _add_masked(db, domain, pair, masked)
    if kind == "merge":
        new_id = kept
    if not review_status.change_status_only(db, pair_id, pair.status, "quarantined"):
        return False
    insert(
        db,
        "quality_fixes",
        batch=batch,
        domain_id=domain.id,
        pair_id=pair_id,
        check_name=check,
        fix=kind,
        status_before=pair.status,
        new_pair_id=new_id,
        at=now_us(),
    )
    return True


def _masked(db: Database, domain: Domain, pair: Pair, names: Sequence[str]) -> Draft | None:
    """The pair with the words of these checks masked; None if it holds none any more."""
    known = allowed(db, domain)
    fact = pair.fact if pair.fact != pairs.fact_of(pair.response) else ""
    old = Draft(pair.prompt, pair.response, pair.system, pair.turns, fact, pair.split)
    finders = [checks.SPANS[name] for name in names]
    masked = mask_draft(old, lambda words: key(words) in known, finders).draft
    return None if masked == old else masked


def _add_masked(db: Database, domain: Domain, pair: Pair, masked: Draft) -> int | None:
    """Add the masked pair with the status of the old one; returns its id. None: a pair with these
    words counts already or was rejected, and undoing the fix leaves it alone."""
    same = pairs.find_same_words(db, domain.id, masked)
    if same is not None:
        if same.status != "quarantined":  # somebody rejected these words: that stays so
            return None
        review_status.change_status_only(db, same.id, same.status, pair.status)
        return same.id
    new_id = pairs.add(
        db,
        domain,
        [masked],
        source=pair.source,
        source_ref=pair.source_ref,
        author=pair.author,
        status=pair.status,
        import_id=pair.import_id,
    ).ids[0]
    review_status.copy_review(db, pair.id, new_id)
    pairs.record_word_owners(db, new_id, [str(r["person"]) for r in rows(db, OWNERS, [pair.id])])
    return new_id


OWNERS = "SELECT person FROM pair_words WHERE pair_id = ?"


def _undo(
    db: Database, fix_id: int, pair_id: int, new_pair_id: int | None, before: pairs.Status
) -> bool:
    try:
        back = review_status.change_status_only(db, pair_id, "quarantined", before)
    except UnderstudyError:  # a golden question asks the same by now
        back = False
    if back and new_pair_id is not None:
        review_status.change_status_only(db, new_pair_id, before, "quarantined")
    db.execute("UPDATE quality_fixes SET undone_at = ? WHERE id = ?", [now_us(), fix_id])
    return back
