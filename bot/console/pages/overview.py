"""The state of every domain: what answers, what people think, what runs, and what to look at."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.commands import admin
from bot.commands.admin import DomainStatus
from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data.adapters import registry
from data.adapters.registry import Adapter
from data.feedback import feedback_summary, unanswered
from data.feedback.feedback_summary import RatingCounts
from data.monitoring.alerts import Alert
from data.store.clock import DAY_US, now_us

router = ConsoleRouter()
WEEK_US = 7 * DAY_US


@dataclass(frozen=True)
class DomainOverview:
    """One domain, as the page shows it."""

    status: DomainStatus
    this_week: RatingCounts
    last_week: RatingCounts
    unanswered: int  # questions that nobody has answered or dismissed
    candidate: Adapter | None  # the newest one not compared, if it is newer than the live one

    @property
    def progress(self) -> float | None:
        """The part of the run's steps that are done, from 0 to 1; None: no run is in progress."""
        run = self.status.run
        if run is None or not run.open:
            return None
        return run.step / run.total_steps if run.total_steps else 0.0

    @property
    def calm(self) -> bool:
        """Whether nobody has to look at anything."""
        failed = self.status.run is not None and self.status.run.state == "failed"
        pending = self.status.pairs.get("pending", 0)
        return not (pending or self.unanswered or failed or self.candidate)


@router.get(HOME)
@router.get(f"{HOME}/")
async def show(
    request: Request, signed_in: Annotated[SignedIn, Depends(access.member)]
) -> Response:
    service: Service = request.app.state.service

    def read(db: Database) -> tuple[list[DomainOverview], list[Alert]]:
        found = admin.status(db)
        return [_overview(db, status) for status in found.domains], found.alerts

    overviews, alerts = await service.store.read(read)
    runs_now = any(o.progress is not None for o in overviews)
    return await rendering.page(
        request, "overview.html", signed_in, overviews=overviews, alerts=alerts, runs_now=runs_now
    )


def _overview(db: Database, status: DomainStatus) -> DomainOverview:
    domain, now = status.domain, now_us()
    compared = {v.adapter_id for v in status.experiment.variants} if status.experiment else set()
    candidates = [a for a in registry.list_adapters(db, domain) if a.state == "candidate"]
    newest = next((a for a in candidates if a.id not in compared), None)
    live = status.live
    newer = newest is not None and (live is None or newest.version > live.version)
    return DomainOverview(
        status,
        this_week=feedback_summary.rating_counts(db, now - WEEK_US, domain=domain),
        last_week=feedback_summary.rating_counts(db, now - 2 * WEEK_US, now - WEEK_US, domain),
        unanswered=unanswered.count_open(db, domain),
        candidate=newest if newer else None,
    )
