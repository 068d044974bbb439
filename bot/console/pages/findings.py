"""What the quality checks found in the pairs of a domain, fixing it, and undoing that."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.console import access, pair_filter, rendering
from bot.console.access import SignedIn
from bot.console.quality_checks import QualityChecks
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data import domains
from data.domains import Domain
from data.pairs import pairs
from data.quality import check_results, checks, fixes
from data.quality.check_results import LastCheck
from data.quality.checks import Check
from data.quality.findings import short
from data.quality.fixes import Fixed
from data.quality.private_words import masked_text
from data.search.pair_pages import PairFilter
from data.store.errors import NotFound

router = ConsoleRouter()
Reviewer = Annotated[SignedIn, Depends(access.reviewer)]
Admin = Annotated[SignedIn, Depends(access.admin)]
CheckName = Annotated[str, Path(max_length=40)]
PATH = f"{HOME}/domains/{{domain}}/pairs/findings"
EXAMPLES = 3
SHORT_WAIT_S = 5.0  # so that the page of a small domain shows the result at once
FIX_SAYS = {
    "mask": "The words are replaced by their kind, such as [e-mail address]; the old pair is kept "
    "in quarantine.",
    "quarantine": "The pairs are put in quarantine, so that no run learns them.",
    "merge": "The newest pair of each group stays, and the others are put in quarantine.",
}


@dataclass(frozen=True)
class ShownFinding:
    """What one check found."""

    check: Check
    pairs: int
    examples: list[tuple[int, str]]  # a pair and its question, with private words masked
    query: str  # of the list of all of them

    @property
    def fix_says(self) -> str:
        return FIX_SAYS[self.check.fix] if self.check.fix else ""


@router.get(PATH)
async def show(request: Request, domain: str, signed_in: Reviewer) -> Response:
    service: Service = request.app.state.service
    running = _checks(request)

    def read(
        db: Database,
    ) -> tuple[Domain, LastCheck | None, list[ShownFinding], bool]:
        subject = domains.get(db, domain)
        last, can_undo = check_results.last(db, subject), fixes.can_undo(db, subject)
        return subject, last, of_domain(db, subject), can_undo

    subject, last, found, can_undo = await service.store.read(read)
    return await rendering.page(
        request,
        "findings.html",
        signed_in,
        last=last,
        found=found,
        can_undo=can_undo,
        not_checked=[
            (checks.by_name(name).title, reason)
            for name, reason in (last.not_checked if last else {}).items()
        ],
        running=running.running(subject),
        failed=running.failed(subject),
    )


@router.post(f"{PATH}/check")
async def check(request: Request, domain: str, signed_in: Reviewer) -> Response:
    """Check the pairs now, in the background."""
    service: Service = request.app.state.service
    subject = await service.store.read(lambda db: domains.get(db, domain))
    await _checks(request).start(subject, SHORT_WAIT_S)
    return rendering.done(request, PATH.format(domain=domain))


@router.post(f"{PATH}/undo")
async def undo(request: Request, domain: str, signed_in: Admin) -> Response:
    """Undo the last fix."""
    service: Service = request.app.state.service
    subject = await service.store.read(lambda db: domains.get(db, domain))
    done = await asyncio.to_thread(fixes.undo, service.store, subject, signed_in.person)
    said = f"Undone: {_did(done)} Check the pairs again to see what is in them."
    return rendering.done(request, PATH.format(domain=domain), said)


@router.post(f"{PATH}/{{check_name}}/fix")
async def fix(request: Request, domain: str, check_name: CheckName, signed_in: Admin) -> Response:
    """Fix what one check found."""
    service: Service = request.app.state.service
    if check_name not in checks.NAMES or checks.by_name(check_name).fix is None:
        raise NotFound(f"There is no fix for “{check_name}”.")
    only = (check_name,)

    def apply() -> Fixed:
        subject = domains.get(service.store.db, domain)
        report = check_results.report(service.store.db, subject, only)
        done = fixes.apply(service.store, subject, report, signed_in.person, only=only)
        with service.store.write() as db:
            check_results.drop_settled(db, subject)
        return done

    done = await asyncio.to_thread(apply)
    return rendering.done(request, PATH.format(domain=domain), f"Pairs: {_did(done)}")


def _checks(request: Request) -> QualityChecks:
    found: QualityChecks = request.app.state.quality_checks
    return found


def of_domain(db: Database, domain: Domain) -> list[ShownFinding]:
    """What the last check found."""
    found = check_results.counts(db, domain)
    return [_finding(db, domain, name, number) for name, number in found.items()]


def _finding(db: Database, domain: Domain, name: str, number: int) -> ShownFinding:
    examples = [
        (pair_id, masked_text(short(pairs.get(db, pair_id).prompt)))
        for pair_id, _ in check_results.examples(db, domain, name, EXAMPLES)
    ]
    query = pair_filter.query(PairFilter(finding=name))
    return ShownFinding(checks.by_name(name), number, examples, query)


def _did(done: Fixed) -> str:
    said = (
        f"{done.masked:,} masked, {done.quarantined:,} put in quarantine, {done.merged:,} merged "
        "into another pair."
    )
    return said + (f" {done.left:,} had changed meanwhile and were left." if done.left else "")
