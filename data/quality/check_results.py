"""What the last check of a domain found, kept so that pages can list, filter and fix it.

Only the ids of pairs are kept: the words stay in the pairs, and go with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlite_utils import Database

from data.domains import Domain
from data.quality import checks
from data.quality.findings import QualityFinding, QualityReport
from data.store.clock import now_us
from data.store.db import Store, insert, row, rows, value

AT_ONCE = 5_000  # marks that one statement stores


@dataclass(frozen=True)
class LastCheck:
    """When a domain was checked, and what could not be checked."""

    at: int
    pairs: int
    not_checked: Mapping[str, str]  # the name of a check -> why it could not run


def keep(store: Store, domain: Domain, report: Mapping[str, Any]) -> None:
    """Replace what is kept by a report, given as `check_process.check_domain` returns it. The
    transactions are short, so that others can write in between."""
    with store.write() as db:
        db.execute("DELETE FROM quality_marks WHERE domain_id = ?", [domain.id])
        db.execute("DELETE FROM quality_checked WHERE domain_id = ?", [domain.id])
    for finding in report["findings"]:
        ids, kept = finding["pair_ids"], finding["kept_ids"]
        marks = list(zip(ids, kept if len(kept) == len(ids) else [None] * len(ids), strict=True))
        for start in range(0, len(marks), AT_ONCE):
            some = orjson.dumps(marks[start : start + AT_ONCE]).decode()
            with store.write() as db:
                db.execute(KEEP, [domain.id, finding["check"], some])
    reasons = {f["check"]: f["not_checked"] for f in report["findings"] if f["not_checked"]}
    with store.write() as db:
        insert(
            db,
            "quality_checked",
            domain_id=domain.id,
            pairs=report["pairs"],
            not_checked=orjson.dumps(reasons).decode(),
            at=now_us(),
        )


def drop_settled(db: Database, domain: Domain) -> None:
    """Forget what was found in pairs that no longer count, such as those that a fix took out."""
    db.execute(SETTLED, [domain.id])


SETTLED = """
DELETE FROM quality_marks WHERE domain_id = ? AND NOT EXISTS (
    SELECT 1 FROM pairs p WHERE p.id = quality_marks.pair_id
    AND p.status IN ('approved', 'pending') AND p.forgotten_at IS NULL
)
"""


KEEP = """
INSERT OR IGNORE INTO quality_marks (domain_id, check_name, pair_id, kept_id)
SELECT ?, ?, p.id, json_extract(m.value, '$[1]')
FROM json_each(?) m JOIN pairs p ON p.id = json_extract(m.value, '$[0]')
"""  # a pair may have been deleted meanwhile


def last(db: Database, domain: Domain) -> LastCheck | None:
    """None: the domain was never checked."""
    found = row(db, "SELECT * FROM quality_checked WHERE domain_id = ?", [domain.id])
    if found is None:
        return None
    return LastCheck(found["at"], found["pairs"], orjson.loads(found["not_checked"]))


def counts(db: Database, domain: Domain) -> dict[str, int]:
    """The checks that found something, in their order, with the number of pairs."""
    sql = "SELECT check_name, count(*) AS n FROM quality_marks WHERE domain_id = ? GROUP BY 1"
    found = {r["check_name"]: r["n"] for r in rows(db, sql, [domain.id])}
    return {name: found[name] for name in checks.NAMES if found.get(name)}


def names(db: Database, domain: Domain) -> list[str]:
    """The checks that found something, in their order."""
    sql = "SELECT EXISTS (SELECT 1 FROM quality_marks WHERE domain_id = ? AND check_name = ?)"
    return [name for name in checks.NAMES if value(db, sql, [domain.id, name])]


def of_pair(db: Database, pair_id: int) -> list[str]:
    """The checks that found something in a pair."""
    sql = "SELECT check_name FROM quality_marks WHERE pair_id = ? ORDER BY check_name"
    return [r["check_name"] for r in rows(db, sql, [pair_id])]


def examples(db: Database, domain: Domain, check: str, limit: int) -> list[tuple[int, int | None]]:
    """Pairs in which a check found something and that still count, each with the one that stays."""
    return [(r["pair_id"], r["kept_id"]) for r in rows(db, EXAMPLES, [domain.id, check, limit])]


EXAMPLES = """
SELECT m.pair_id, m.kept_id FROM quality_marks m CROSS JOIN pairs p ON p.id = m.pair_id
WHERE m.domain_id = ? AND m.check_name = ? AND p.status IN ('approved', 'pending')
    AND p.forgotten_at IS NULL ORDER BY m.pair_id LIMIT ?
"""


def report(db: Database, domain: Domain, only: Sequence[str] = ()) -> QualityReport:
    """What is kept, in the form that `fixes.apply` takes; without examples."""
    found: dict[str, list[tuple[int, int | None]]] = {}
    sql = "SELECT check_name, pair_id, kept_id FROM quality_marks WHERE domain_id = ?"
    for r in rows(db, sql, [domain.id]):
        if not only or r["check_name"] in only:
            found.setdefault(r["check_name"], []).append((r["pair_id"], r["kept_id"]))
    made = []
    for name, marks in found.items():
        check = checks.by_name(name)
        made.append(
            QualityFinding(
                check=name,
                title=check.title,
                count=len(marks),
                unit=check.unit,
                examples=(),
                fix=check.fix,
                fix_says=check.fix_says,
                not_checked="",
                pair_ids=tuple(pair_id for pair_id, _ in marks),
                kept_ids=tuple(kept for _, kept in marks if kept is not None),
            )
        )
    checked = last(db, domain)
    return QualityReport(domain.name, checked.pairs if checked else 0, tuple(made), (), 0.0)
