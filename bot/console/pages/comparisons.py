"""Comparisons of versions: starting one, how it stands, and what can be done about it."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Form, Path, Query, Request
from sqlite_utils import Database
from starlette.responses import RedirectResponse, Response

from bot.commands import commands
from bot.commands.registry import Command
from bot.console import access, rendering, result_chart
from bot.console.access import SignedIn
from bot.console.rendering import HOME, ConsoleRouter
from bot.experiments import breakdowns, comparisons, forecast, stats
from bot.experiments.acting import ActingNow, acting_now
from bot.experiments.breakdowns import DayResult, SegmentResult
from bot.experiments.comparisons import ExperimentPlan
from bot.experiments.explain import explain
from bot.experiments.forecast import Forecast
from bot.experiments.stats import Results, remaining
from bot.service import Service
from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.domains import Domain
from data.experiments import decisions, experiments, policies, testers
from data.experiments.counted_people import NOTES
from data.experiments.decisions import Decision
from data.experiments.experiments import Experiment, Variant
from data.experiments.metrics import signed
from data.experiments.policies import POLICIES, Policy
from data.feedback import raters, uncounted
from data.feedback.raters import Rater
from data.feedback.uncounted import UncountedRatings
from data.store.errors import Invalid, NotFound

router = ConsoleRouter()
Reviewer = Annotated[SignedIn, Depends(access.reviewer)]
Admin = Annotated[SignedIn, Depends(access.admin)]
Id = Annotated[int, Path(ge=1, lt=2**63)]
Name = Annotated[str, Form(max_length=50)]
Label = Annotated[str, Form(max_length=1)]
Percent = Annotated[int, Form(ge=1, le=99)]
LIST = f"{HOME}/domains/{{domain}}/comparisons"
ONE = f"{HOME}/comparisons/{{experiment_id}}"
PAIRWISE = 0.1  # of the questions, if people are asked which of two answers they prefer


@dataclass(frozen=True)
class ComparisonPage:
    """Everything about one comparison."""

    experiment: Experiment
    results: Results
    ending: str  # how it ended; '' while it runs
    acting: ActingNow | None  # None: it has ended
    decisions: list[Decision]  # the newest first
    left_out: list[UncountedRatings]
    advice: str  # about the ratings that do not count; '' if there is none
    exceptions: list[Rater]  # people whose ratings do not all count
    testers: dict[str, str]  # person -> label
    days: list[DayResult]
    segments: list[SegmentResult]


@router.get("/comparisons")
@router.get("/comparisons/")
async def page_of_default_domain(request: Request, signed_in: Reviewer) -> Response:
    """Where the page was before it was part of the console."""
    service: Service = request.app.state.service
    found = await service.store.read(domains.default)
    return RedirectResponse(rendering.address(request, LIST.format(domain=found.name)), 303)


@router.get(LIST)
async def show_list(
    request: Request,
    domain: str,
    signed_in: Reviewer,
    percent: Annotated[int, Query(ge=1, le=99)] = 50,
    people: Literal["verified", "anyone"] = "verified",
) -> Response:
    """All comparisons of a domain, and the form that starts one. `percent` and `people`: of the
    forecast."""
    service: Service = request.app.state.service

    def read(
        db: Database,
    ) -> tuple[Domain, list[Experiment], list[Adapter], Forecast, policies.Rules]:
        subject = domains.get(db, domain)
        return (
            subject,
            experiments.list_experiments(db, subject),
            registry.list_adapters(db, subject),
            forecast.forecast(db, subject, percent / 100, people),
            policies.policy_of(db, subject.id),
        )

    subject, found, versions, expected, rules = await service.store.read(read)
    usable = [v for v in versions if v.state in ("live", "candidate", "retired")]
    return await rendering.page(
        request,
        "comparisons.html",
        signed_in,
        subject=subject,
        running=next((e for e in found if e.state == "running"), None),
        ended=[e for e in found if e.state != "running"],
        live=next((v for v in usable if v.state == "live"), None),
        others=[v for v in usable if v.state != "live" and not v.removal_asked_at],
        forecast=expected,
        rounded_up=remaining.about,
        percent=percent,
        people=people,
        policies=POLICIES,
        policy=rules.policy,
    )


@router.post(LIST)
async def start(
    request: Request,
    domain: str,
    signed_in: Admin,
    a: Name,
    b: Name,
    percent: Percent = 50,
    people: Annotated[Literal["verified", "anyone"], Form()] = "verified",
    pairwise: Annotated[bool, Form()] = False,
    fresh: Annotated[bool, Form()] = False,
) -> Response:
    """Compare the first variant, the control, with the second."""
    service: Service = request.app.state.service

    def begin(db: Database) -> Experiment:
        subject = domains.get(db, domain)
        plan = ExperimentPlan(
            share=percent / 100,
            pairwise=PAIRWISE if pairwise else 0.0,
            fresh=fresh,
            design=comparisons.design_for(db, subject, people=people),
        )
        return comparisons.begin(db, subject, [a, b], signed_in.person, plan)

    begun = await service.store.submit(begin)
    said = f"The comparison has begun. {NOTES.get(people, '')}".strip()
    return rendering.done(request, ONE.format(experiment_id=begun.id), said)


@router.post(f"{LIST}/policy")
async def set_policy(
    request: Request, domain: str, policy: Annotated[Policy, Form()], signed_in: Admin
) -> Response:
    return await _run(
        request, signed_in, commands.SetPolicy(policy, domain), LIST.format(domain=domain)
    )


@router.get(ONE)
async def show(request: Request, experiment_id: Id, signed_in: Reviewer) -> Response:
    service: Service = request.app.state.service
    found = await service.store.read(lambda db: _gather(db, experiment_id))
    least = found.results.terms.minimum_effect
    charts = await asyncio.to_thread(
        lambda: [
            result_chart.history_svg(found.days, i, v.label, least)
            for i, v in enumerate(found.experiment.candidates)
        ]
    )
    return await rendering.page(
        request,
        "comparison.html",
        signed_in,
        about=found.experiment.domain,
        found=found,
        experiment=found.experiment,
        results=found.results,
        charts=charts,
        interval=lambda rating: result_chart.interval_svg(rating, least),
        signed=signed,
    )


@router.get(f"{ONE}/decisions/{{decision_id}}")
async def recompute(
    request: Request, experiment_id: Id, decision_id: Id, signed_in: Reviewer
) -> Response:
    """A decision, computed again from the numbers that were stored with it."""
    service: Service = request.app.state.service

    def read(db: Database) -> tuple[Experiment, Decision]:
        experiment, decision = experiments.get(db, experiment_id), decisions.get(db, decision_id)
        if decision.experiment_id != experiment.id:
            raise NotFound(f"Comparison {experiment_id} has no decision {decision_id}.")
        return experiment, decision

    experiment, decision = await service.store.read(read)
    explained = await asyncio.to_thread(explain, decision)
    return await rendering.page(
        request,
        "decision.html",
        signed_in,
        about=experiment.domain,
        experiment=experiment,
        explained=explained,
    )


@router.post(f"{ONE}/ramp")
async def ramp(request: Request, experiment_id: Id, percent: Percent, signed_in: Admin) -> Response:
    domain = await _domain_of_running(request, experiment_id)
    command = commands.RampComparison(percent / 100, domain)
    return await _run(request, signed_in, command, ONE.format(experiment_id=experiment_id))


@router.post(f"{ONE}/testers")
async def put_tester(
    request: Request,
    experiment_id: Id,
    person: Annotated[str, Form(min_length=1, max_length=256)],
    variant: Label,
    signed_in: Admin,
) -> Response:
    domain = await _domain_of_running(request, experiment_id)
    command = commands.PutTester(person, variant, domain)
    return await _run(request, signed_in, command, ONE.format(experiment_id=experiment_id))


@router.post(f"{ONE}/stop")
async def stop(request: Request, experiment_id: Id, signed_in: Admin) -> Response:
    """End it; what is live stays live."""
    domain = await _domain_of_running(request, experiment_id)
    await rendering.run_command(request, signed_in, commands.StopComparison(domain))
    said = "The comparison has ended. Everybody gets the live version from the next answer on."
    return rendering.done(request, ONE.format(experiment_id=experiment_id), said)


@router.post(f"{ONE}/promote")
async def promote(
    request: Request, experiment_id: Id, variant: Label, signed_in: Admin
) -> Response:
    """Make a candidate live for everybody."""
    service: Service = request.app.state.service

    def change(db: Database) -> Variant:
        experiment = _running(db, experiment_id)
        chosen = next((v for v in experiment.candidates if v.label == variant), None)
        if chosen is None:
            raise Invalid(f"There is no candidate {variant!r}.")
        comparisons.promote(db, experiment, chosen, signed_in.person)
        return chosen

    chosen = await service.store.submit(change)
    said = f"{chosen.described} is live, from the next answer on."
    return rendering.done(request, ONE.format(experiment_id=experiment_id), said)


@router.post(f"{ONE}/roll-back")
async def roll_back(request: Request, experiment_id: Id, signed_in: Admin) -> Response:
    """End it, and make sure that no candidate is live."""
    service: Service = request.app.state.service

    def change(db: Database) -> str:
        experiment = _running(db, experiment_id)
        fallback = comparisons.fallback_adapter(db, experiment)
        comparisons.roll_back(db, experiment, signed_in.person)
        return fallback.name if fallback else comparisons.WITHOUT_ADAPTER

    stays = await service.store.submit(change)
    said = f"The comparison has ended. Everybody gets {stays} from the next answer on."
    return rendering.done(request, ONE.format(experiment_id=experiment_id), said)


@router.post(f"{ONE}/raters")
async def set_rater(
    request: Request,
    experiment_id: Id,
    person: Annotated[str, Form(min_length=1, max_length=256)],
    decision: Annotated[Literal["quarantine", "release"], Form()],
    signed_in: Admin,
    why: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    """Leave somebody's ratings out of every statistic of the domain, or count them again."""
    service: Service = request.app.state.service

    def change(db: Database) -> str:
        domain = domains.by_id(db, experiments.get(db, experiment_id).domain_id)
        if decision == "release":
            raters.release(db, domain, person, signed_in.person)
            return f"The ratings of {person} count again."
        if not why.strip():
            raise Invalid("Say why their ratings should not count.")
        raters.quarantine(db, domain, person, why.strip(), signed_in.person)
        return f"The ratings of {person} no longer count."

    said = await service.store.submit(change)
    return rendering.done(request, ONE.format(experiment_id=experiment_id), said)


def _gather(db: Database, experiment_id: int) -> ComparisonPage:
    experiment = experiments.get(db, experiment_id)
    results, runs = stats.compute_results(db, experiment), experiment.state == "running"
    left_out = uncounted.uncounted(db, experiment)
    domain = domains.by_id(db, experiment.domain_id)
    return ComparisonPage(
        experiment,
        results,
        ending="" if runs else comparisons.ending(db, experiment),
        acting=acting_now(db, experiment, results) if runs else None,
        decisions=decisions.list_decisions(db, experiment_id)[::-1],
        left_out=left_out,
        advice=uncounted.advice(experiment, left_out),
        exceptions=raters.page(db, domain),
        testers=testers.list_testers(db, experiment),
        days=breakdowns.over_time(db, experiment),
        segments=breakdowns.by_segment(db, experiment),
    )


async def _run(request: Request, signed_in: SignedIn, command: Command, path: str) -> Response:
    result = await rendering.run_command(request, signed_in, command)
    return rendering.done(request, path, result.text)


def _running(db: Database, experiment_id: int) -> Experiment:
    """The comparison, if it is the running one of its domain. Raises Conflict."""
    experiment = experiments.get(db, experiment_id)
    current = comparisons.current(db, domains.by_id(db, experiment.domain_id))
    if current.id != experiment.id:
        raise NotFound(f"Comparison {experiment_id} has ended; {current.id} runs now.")
    return current


async def _domain_of_running(request: Request, experiment_id: int) -> str:
    service: Service = request.app.state.service
    running = await service.store.read(lambda db: _running(db, experiment_id))
    return running.domain
