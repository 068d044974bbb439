"""The state of every domain: what answers, what people think, what runs, and what to look at."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.rendering import HOME, ConsoleRouter
from bot.experiments import stats
from bot.experiments.stats import Results
from bot.service import Service
from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import experiments
from data.experiments.experiments import Experiment
from data.feedback import feedback_summary, unanswered
from data.feedback.feedback_summary import RatingCounts
from data.monitoring import alerts
from data.monitoring.alerts import Alert
from data.pairs import pairs
from data.runs import runs
from data.runs.runs import Run
from data.store.clock import DAY_US, now_us

router = ConsoleRouter()
WEEK_US = 7 * DAY_US


@dataclass(frozen=True)
class DomainOverview:
    """One domain, as the page shows it."""

    domain: Domain
    live: Adapter | None
    pairs: dict[str, int]  # status -> pairs
    run: Run | None  # the newest one
    experiment: Experiment | None  # that runs
    results: Results | None  # of it
    this_week: RatingCounts
    last_week: RatingCounts
    unanswered: int  # questions that nobody has answered or dismissed
    candidate: Adapter | None  # the newest one not compared, if it is newer than the live one

    @property
    def progress(self) -> float | None:
        """The part of the run's steps that are done, from 0 to 1; None: no run is in progress."""
        if self.run is None or not self.run.open:
            return None
        return self.run.step / self.run.total_steps if self.run.total_steps else 0.0

    @property
    def calm(self) -> bool:
        """Whether nobody has to look at anything."""
        failed = self.run is not None and self.run.state == "failed"
        pending = self.pairs.get("pending", 0)
        return not (pending or self.unanswered or failed or self.candidate)


@router.get(HOME)
@router.get(f"{HOME}/")
async def show(
    request: Request, signed_in: Annotated[SignedIn, Depends(access.member)]
) -> Response:
    service: Service = request.app.state.service

    def read(db: Database) -> tuple[list[DomainOverview], list[Alert]]:
        found = [_overview(db, domain) for domain in domains.list_domains(db)]
        return found, alerts.alerts(db)

    overviews, found = await service.store.read(read)
    runs_now = any(o.progress is not None for o in overviews)
    return await rendering.page(
        request, "overview.html", signed_in, overviews=overviews, alerts=found, runs_now=runs_now
    )


def _overview(db: Database, domain: Domain) -> DomainOverview:
    """Without totals of all ratings and untrained pairs, which take long in a large store and are
    not shown."""
    now, live = now_us(), registry.live(db, domain.id)
    newest = runs.recent(db, domain, limit=1)
    experiment = experiments.running(db, domain.id)
    return DomainOverview(
        domain,
        live,
        pairs=pairs.counts(db, domain),
        run=newest[0] if newest else None,
        experiment=experiment,
        results=stats.compute_results(db, experiment) if experiment else None,
        this_week=feedback_summary.rating_counts(db, now - WEEK_US, domain=domain),
        last_week=feedback_summary.rating_counts(db, now - 2 * WEEK_US, now - WEEK_US, domain),
        unanswered=unanswered.count_open(db, domain),
        candidate=_candidate(db, domain, live, experiment),
    )


def _candidate(
    db: Database, domain: Domain, live: Adapter | None, experiment: Experiment | None
) -> Adapter | None:
    compared = {v.adapter_id for v in experiment.variants} if experiment else set()
    candidates = [a for a in registry.list_adapters(db, domain) if a.state == "candidate"]
    newest = next((a for a in candidates if a.id not in compared), None)
    newer = newest is not None and (live is None or newest.version > live.version)
    return newest if newer else None
