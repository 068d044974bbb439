"""Imports: the pairs and rated answers that one file brought, which can be undone together."""

import contextlib
from dataclasses import dataclass

from sqlite_utils import Database

from data import domains
from data.domains import Domain
from data.pairs import contamination, judged_answers, review_status
from data.pairs.pairs import STATUSES, Pair
from data.store import audit
from data.store.clock import now_us
from data.store.db import Store, changed, row, rows, value
from data.store.errors import Conflict, NotFound

AT_ONCE = 500  # pairs that one transaction of `undo` removes


class ImportUndone(Conflict):
    """Somebody takes the import back while it runs."""


@dataclass(frozen=True)
class Import:
    id: int
    domain_id: int
    name: str
    file: str
    author: str
    created_at: int
    undone_at: int | None
    undone_by: str


@dataclass(frozen=True)
class ImportCounts:
    """An import, with what is left of it."""

    batch: Import
    pairs: dict[str, int]  # by status; every status is present
    rated_answers: int


def begin(db: Database, domain: Domain, name: str, file: str, author: str) -> int:
    """Record an import that begins now. Returns its id."""
    number = int(value(db, NEXT))
    db.execute(
        "INSERT INTO imports (id, domain_id, name, file, author, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        [number, domain.id, name or file, file, author, now_us()],
    )
    return number


def drop(db: Database, import_id: int) -> None:
    """Forget an import that brought nothing."""
    db.execute("DELETE FROM imports WHERE id = ?", [import_id])


def get(db: Database, import_id: int) -> Import:
    """Raises NotFound."""
    found = row(db, "SELECT * FROM imports WHERE id = ?", [import_id])
    if found is None:
        raise NotFound(f"There is no import {import_id}.")
    return Import(**found)


def refuse_undone(db: Database, import_id: int) -> None:
    """Raises ImportUndone for an import that is being taken back, so that it adds nothing more."""
    found = get(db, import_id)
    if found.undone_at is not None:
        by = f" by {found.undone_by}" if found.undone_by else ""
        raise ImportUndone(f"Import {import_id} was undone{by} while it ran. Nothing of it stays.")


def list_imports(db: Database, domain: Domain) -> list[ImportCounts]:
    """The imports of a domain, the newest first."""
    found = rows(db, "SELECT * FROM imports WHERE domain_id = ? ORDER BY id DESC", [domain.id])
    pairs: dict[int, dict[str, int]] = {}
    for r in rows(db, COUNTS, [domain.id]):
        pairs.setdefault(r["import_id"], dict.fromkeys(STATUSES, 0))[r["status"]] = r["n"]
    rated = {r["import_id"]: r["n"] for r in rows(db, RATED, [domain.id])}
    none = dict.fromkeys(STATUSES, 0)
    return [
        ImportCounts(Import(**r), pairs.get(r["id"], none), rated.get(r["id"], 0)) for r in found
    ]


def get_in(db: Database, domain: Domain, import_id: int) -> Import:
    """An import of this domain. Raises NotFound."""
    found = get(db, import_id)
    if found.domain_id != domain.id:
        raise NotFound(f"{domain.name} has no import {import_id}.")
    return found


def undo(store: Store, import_id: int, actor: str, domain: Domain | None = None) -> int:
    """Take back everything that an import brought, and record it; returns how many pairs. The
    transactions are short, so that others can write in between. Run again, it goes on after an
    interruption. `domain`: the import must be of this one. Raises as `begin_undo` does."""
    with store.write() as db:
        subject = domain or domains.by_id(db, get(db, import_id).domain_id)
        get_in(db, subject, import_id)
        begin_undo(db, import_id, actor)
        audit.record(db, actor, "pairs undo", subject.name, **{"import": import_id})
    count = 0
    while True:
        with store.write() as db:
            done = undo_step(db, import_id)
        if not done:
            return count
        count += done


def begin_undo(db: Database, import_id: int, actor: str) -> Import:
    """Mark an import as undone; `undo_step` then takes its pairs back. Raises NotFound, and
    Conflict if it was undone completely before."""
    found = get(db, import_id)
    if found.undone_at is not None and not value(db, LEFT, {"import": import_id}):
        raise Conflict(f"Import {import_id} was undone before.")
    sql = "UPDATE imports SET undone_at = ?, undone_by = ? WHERE id = ?"
    db.execute(sql, [now_us(), actor, import_id])
    return found


def undo_step(db: Database, import_id: int, most: int = AT_ONCE) -> int:
    """Take back at most `most` pairs of an import; returns how many, 0 once all are.

    Pairs that nothing refers to are deleted. Those that an adapter was trained on, or that an
    answer rests on, are withdrawn and stay stored."""
    judged_answers.remove_import(db, import_id)
    found = [r["id"] for r in rows(db, LEFT_PAIRS, {"import": import_id, "most": most})]
    for pair_id in found:
        _release_merged(db, pair_id, import_id)
        if value(db, REFERRED, {"pair": pair_id}):
            review_status.withdraw(db, pair_id, "import undone")
        else:
            db.execute("UPDATE unanswered SET pair_id = NULL WHERE pair_id = ?", [pair_id])
            changed(db, "DELETE FROM pairs WHERE id = ?", [pair_id])
    return len(found)


def _release_merged(db: Database, pair_id: int, import_id: int) -> None:
    """Give the pairs that `pairs check --fix` merged into this one the status that they had: their
    answer would be lost otherwise. Those of the same import are taken back, too."""
    for found in rows(db, MERGED, [pair_id, import_id]):
        with contextlib.suppress(contamination.Leak):  # a golden question asks the same by now
            review_status.change_status_only(
                db, found["pair_id"], "quarantined", found["status_before"]
            )
        sql = "UPDATE quality_fixes SET undone_at = ? WHERE id = ?"
        db.execute(sql, [now_us(), found["id"]])


def reinstate(db: Database, pair: Pair, status: str, import_id: int) -> bool:
    """Give a pair of an import that was undone the status that a new import asks for. False:
    it was rejected for another reason."""
    if review_status.review_of(pair).reason != "import undone":
        return False
    review_status.reopen(db, pair.id)
    sql = "UPDATE pairs SET status = ?, import_id = ? WHERE id = ?"
    db.execute(sql, [status, import_id, pair.id])
    return True


MERGED = """
SELECT f.id, f.pair_id, f.status_before FROM quality_fixes f JOIN pairs p ON p.id = f.pair_id
WHERE f.new_pair_id = ? AND f.fix = 'merge' AND f.undone_at IS NULL AND p.import_id IS NOT ?
"""
NEXT = """
SELECT 1 + max(
    (SELECT coalesce(max(id), 0) FROM imports), (SELECT coalesce(max(import_id), 0) FROM pairs)
)
"""
COUNTS = """
SELECT import_id, status, count(*) AS n FROM pairs
WHERE domain_id = ? AND import_id IS NOT NULL AND forgotten_at IS NULL GROUP BY import_id, status
"""
RATED = "SELECT import_id, count(*) AS n FROM judged_answers WHERE domain_id = ? GROUP BY import_id"
LEFT_PAIRS = f"""
SELECT id FROM pairs WHERE import_id = :import AND forgotten_at IS NULL
    AND NOT {review_status.UNDONE} ORDER BY id LIMIT :most
"""
LEFT = f"""
SELECT EXISTS ({LEFT_PAIRS.replace("LIMIT :most", "LIMIT 1")})
    OR EXISTS (SELECT 1 FROM judged_answers WHERE import_id = :import)
"""
REFERRED = """
SELECT EXISTS (SELECT 1 FROM dataset_pairs WHERE pair_id = :pair)
    OR EXISTS (SELECT 1 FROM reply_sources WHERE pair_id = :pair)
    OR EXISTS (SELECT 1 FROM feedback WHERE pair_id = :pair)
    OR EXISTS (SELECT 1 FROM run_judgements WHERE pair_id = :pair)
    OR EXISTS (SELECT 1 FROM run_judged_answers WHERE pair_id = :pair)
"""
