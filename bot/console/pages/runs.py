"""Tuning: what a run would do, starting and following one, and what came of it."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Form, Path, Request
from markupsafe import Markup
from sqlite_utils import Database
from starlette.responses import Response

from bot.commands import commands, retrain_plan
from bot.commands.run_commands import RunQueued
from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.pages import findings
from bot.console.pages.findings import ShownFinding
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data import domains
from data.pairs import pairs
from data.pairs.pairs import Pair
from data.quality import check_results, checker
from data.quality.check_results import LastCheck
from data.quality.findings import QualityReport
from data.runs import loss_chart, phases, report, runs
from data.store.errors import UnderstudyError

router = ConsoleRouter()
Reviewer = Annotated[SignedIn, Depends(access.reviewer)]
Admin = Annotated[SignedIn, Depends(access.admin)]
Id = Annotated[int, Path(ge=1, lt=2**63)]
TUNE = f"{HOME}/domains/{{domain}}/tune"
RUN = f"{HOME}/runs/{{run_id}}"
FIRST_PAIRS = 4
MOST_PLANNED = 5_000  # pairs; a plan reads all of them, and takes four seconds for 100,000
MOST_CHECKED = 500  # pairs; checking them takes a fifth of a second
MOST_POINTS = 20  # of the loss, in the table beside the chart


@dataclass(frozen=True)
class TunePlan:
    """What a domain holds, and what a run of it would do."""

    counts: dict[str, int]  # status -> pairs
    first: list[Pair]
    plan: list[str]  # sentences; empty if no run can be started
    refused: str  # why no run can be started now; '' if one can
    left_out: bool  # the plan, because it reads many pairs
    recent: list[runs.Run]  # the newest first


@dataclass(frozen=True)
class PairFaults:
    """What the checks found in the pairs of a domain."""

    last: LastCheck | None  # None: nobody has checked the pairs
    kept: list[ShownFinding]  # what the last check found
    now: QualityReport | None  # of a check made now, of few pairs that nobody has checked


@router.get(TUNE)
async def show(request: Request, domain: str, signed_in: Reviewer, plan: bool = False) -> Response:
    """`plan`: what a run would do, also where working it out takes seconds."""
    service: Service = request.app.state.service

    def read(db: Database) -> tuple[TunePlan, PairFaults]:
        subject = domains.get(db, domain)
        found = _plan(db, service, subject, MOST_PLANNED if not plan else None)
        few = found.counts.get("approved", 0) + found.counts.get("pending", 0) <= MOST_CHECKED
        last = check_results.last(db, subject)
        return found, PairFaults(
            last,
            kept=findings.of_domain(db, subject) if last else [],
            now=checker.check_domain(db, subject) if few and not last else None,
        )

    planned, faults = await service.store.read(read)
    return await rendering.page(request, "tune.html", signed_in, planned=planned, faults=faults)


@router.post(TUNE)
async def start(
    request: Request,
    domain: str,
    signed_in: Admin,
    full: Annotated[bool, Form()] = False,
) -> Response:
    """Queue a run. A worker starts it as soon as one is free."""
    command = commands.RetrainCommand(domain, full=full)
    result = await rendering.run_command(request, signed_in, command)
    assert isinstance(result, RunQueued)
    return rendering.done(request, f"{HOME}/runs/{result.queued.id}")


@router.get(RUN)
async def follow(request: Request, run_id: Id, signed_in: Reviewer) -> Response:
    """The progress of a run, and its report once it has ended."""
    service: Service = request.app.state.service
    found = await service.store.read(lambda db: report.gather(db, run_id))
    chart = await asyncio.to_thread(loss_chart.svg, found.points) if found.points else ""
    every = max(1, -(-len(found.points) // MOST_POINTS))
    return await rendering.page(
        request,
        "run.html",
        signed_in,
        about=found.run.domain,
        run=found.run,
        phase=phases.text(found.run.phase),
        chart=Markup(chart),  # noqa: S704 - drawn by us, from numbers
        points=found.points[::every],
        warning=report.overfitting(found.points),
        adapter=found.adapter,
        verdict=report.verdict(found) if found.adapter else "",
        headline=report.headline(found.adapter),
    )


@router.post(f"{RUN}/cancel")
async def cancel(request: Request, run_id: Id, signed_in: Admin) -> Response:
    result = await rendering.run_command(request, signed_in, commands.CancelRun(run_id))
    return rendering.done(request, f"{HOME}/runs/{run_id}", result.text)


def _plan(
    db: Database, service: Service, domain: domains.Domain, most_pairs: int | None
) -> TunePlan:
    """`most_pairs`: the plan of a domain with more approved pairs is left out; None: of none."""
    plan, refused = [], ""
    counts = pairs.counts(db, domain)
    left_out = most_pairs is not None and counts["approved"] > most_pairs
    try:
        if not left_out:
            made = retrain_plan.plan(db, service.settings, domain)
            plan = retrain_plan.describe(made)
            refused = plan[0] if made.nothing_new else ""
    except UnderstudyError as error:
        refused = str(error)
    return TunePlan(
        counts=counts,
        first=pairs.list_pairs(db, domain, "approved", FIRST_PAIRS),
        plan=[] if refused else plan,
        refused=refused,
        left_out=left_out,
        recent=runs.recent(db, domain, limit=10),
    )
