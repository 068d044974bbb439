"""Runs the checks over the pairs of a domain, or over rows that are not stored yet.

`find` takes about a third of a millisecond for a pair (benchmarks/RESULTS.md). It reads the store
once and holds no lock.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from sqlite_utils import Database

from data.domains import Domain
from data.pairs import pairs
from data.pairs.pairs import Draft, Pair, fact_of, fingerprint
from data.quality import balance, checks
from data.quality.checks import CHECKS, Check
from data.quality.findings import (
    SHOWN,
    FaultExample,
    Found,
    NotChecked,
    QualityFinding,
    QualityReport,
    Rows,
    Surroundings,
    short,
)
from data.quality.private_words import allowed, masked_text
from data.store.db import rows as db_rows
from data.store.errors import Invalid


def check_domain(
    db: Database,
    domain: Domain,
    around: Surroundings | None = None,
    *,
    only: Collection[str] = (),
    import_id: int | None = None,
) -> QualityReport:
    """The checks over the approved and pending pairs of the domain. With `import_id`, a finding
    lists only pairs of that import, and older ones that they duplicate or contradict. Raises
    Invalid for an unknown name in `only`."""
    rows = rows_of(db, domain, around)
    shown = None
    if import_id is not None:
        shown = {pair.id for pair in rows.pairs if pair.import_id == import_id}
    return find(domain.name, rows, only=only, shown=shown)


def check_drafts(
    db: Database,
    domain: Domain,
    drafts: Iterable[tuple[int, Draft]],
    around: Surroundings | None = None,
    *,
    only: Collection[str] = (),
) -> QualityReport:
    """The checks over drafts, given with their line numbers: what an import would bring. They are
    compared with one another, not with what is stored. The ids in the report are the lines."""
    made = [as_pair(line, draft, domain) for line, draft in drafts]
    return find(domain.name, Rows(made, surroundings(db, domain, around)), only=only)


def with_finding(
    db: Database, domain: Domain, check: str, around: Surroundings | None = None
) -> set[int]:
    """The ids of the pairs that one check finds, of quarantined ones, too: those that a fix of this
    check put there, and those with the fault. Raises Invalid for an unknown check, or one that
    cannot run here."""
    known = rows_of(db, domain, around)
    apart = Rows(pairs.list_pairs(db, domain, "quarantined"), known.around)
    found: set[int] = set()
    for some in (known, apart):
        (finding,) = find(domain.name, some, only=[check]).findings
        if finding.not_checked != checks.partly(checks.by_name(check)):
            raise Invalid(f"{finding.title} cannot be checked, because {finding.not_checked}.")
        found |= set(finding.pair_ids)
    sql = (
        "SELECT pair_id FROM quality_fixes WHERE domain_id = ? AND undone_at IS NULL "
        "AND instr(',' || check_name || ',', ',' || ? || ',')"
    )
    fixed = {one["pair_id"] for one in db_rows(db, sql, [domain.id, check])}
    return found | (fixed & {pair.id for pair in apart.pairs})


def rows_of(db: Database, domain: Domain, around: Surroundings | None = None) -> Rows:
    """The pairs that a check of the domain looks at."""
    found = [
        pair for status in ("approved", "pending") for pair in pairs.list_pairs(db, domain, status)
    ]
    return Rows(found, surroundings(db, domain, around))


def surroundings(db: Database, domain: Domain, around: Surroundings | None) -> Surroundings:
    """What the checks know of the domain, added to what the caller knows of the base."""
    return replace(
        around or Surroundings(),
        system_prompt=domain.system_prompt,
        validation_share=domain.validation_share,
        allowed=allowed(db, domain),
    )


def find(
    name: str,
    rows: Rows,
    *,
    only: Collection[str] = (),
    shown: Collection[int] | None = None,
) -> QualityReport:
    """Run the checks, or those in `only`. With `shown`, findings name only these pairs."""
    refuse_unknown(only)
    began = time.monotonic()
    by_id = rows.by_id()
    made = [
        _finding(check, rows, by_id, shown) for check in CHECKS if not only or check.name in only
    ]
    bars = balance.distributions(rows) if not only else ()
    return QualityReport(name, len(rows.pairs), tuple(made), bars, time.monotonic() - began)


def refuse_unknown(only: Collection[str]) -> None:
    """Raises Invalid for a name that no check has."""
    unknown = sorted(set(only) - set(checks.NAMES))
    if unknown:
        raise Invalid(f"There is no check {unknown[0]!r}. The checks: {', '.join(checks.NAMES)}.")


def _finding(
    check: Check, rows: Rows, by_id: Mapping[int, Pair], shown: Collection[int] | None
) -> QualityFinding:
    found: list[Found] = []
    reason = checks.partly(check)
    try:
        found = [
            one
            for one in check.find(rows)
            if shown is None or one.pair_id in shown or one.kept in shown
        ]
    except NotChecked as not_checked:
        reason = str(not_checked)
    ids: dict[int, int | None] = {}
    for one in found:
        ids.setdefault(one.pair_id, one.kept)
    return QualityFinding(
        check=check.name,
        title=check.title,
        count=len(found) if check.unit == "groups" else len(ids),
        unit=check.unit,
        examples=tuple(_example(by_id[one.pair_id], one) for one in found[:SHOWN]),
        fix=check.fix,
        fix_says=check.fix_says,
        not_checked=reason,
        pair_ids=tuple(ids),
        kept_ids=tuple(kept for kept in ids.values() if kept is not None),
    )


def _example(pair: Pair, found: Found) -> FaultExample:
    """Private words in an example are masked: a report goes to more people than a pair does."""
    return FaultExample(pair.id, masked_text(short(pair.prompt)), masked_text(found.detail))


def as_pair(line: int, draft: Draft, domain: Domain) -> Pair:
    """The pair that a draft would become, with its line as id."""
    return Pair(
        id=line,
        domain_id=domain.id,
        prompt=draft.prompt,
        response=draft.response,
        system=draft.system,
        turns=draft.turns,
        fact=draft.fact or fact_of(draft.response),
        split=draft.split,
        source="import",
        source_ref=str(line),
        author="",
        status="approved",
        fingerprint=fingerprint(draft),
        created_at=0,
    )
