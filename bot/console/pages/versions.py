"""The versions of a domain: how each was examined, and which one answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Form, Path, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.commands import admin, commands, scores
from bot.commands.adapter_commands import NeedsConfirmation
from bot.commands.comparison_commands import ComparisonStarted
from bot.commands.registry import Command
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
from data.pairs import datasets

router = ConsoleRouter()
Reviewer = Annotated[SignedIn, Depends(access.reviewer)]
Admin = Annotated[SignedIn, Depends(access.admin)]
Version = Annotated[int, Path(ge=1, lt=2**31)]
Confirmed = Annotated[bool, Form()]
PATH = f"{HOME}/domains/{{domain}}/versions"
SETS = {  # in the order of the report
    "golden": "Golden questions",
    "validation": "Facts that were not trained",
    "probe": "Other wordings of trained facts",
    "new": "New pairs",
    "replay": "Trained before",
}
ORDER = {True: 2, None: 1, False: 0}  # what failed comes first


@dataclass(frozen=True)
class VersionReport:
    """One version, with what its examination found."""

    adapter: Adapter
    parent: Adapter | None
    pairs: int | None  # that it was trained on in its own run; None: it was imported
    not_loaded: str  # why an engine refuses it; "": none does

    @property
    def evaluation(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.adapter.scores.get("evaluation") or {}
        return found

    @property
    def rules(self) -> list[Mapping[str, Any]]:
        """The gate's rules, those that failed first."""
        gate = self.adapter.scores.get("gate") or {}
        return sorted(gate.get("rules", ()), key=lambda rule: ORDER[rule["passed"]])

    @property
    def sets(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The sets of questions that were asked, by title."""
        found = self.evaluation.get("sets") or {}
        return [(title, found[name]) for name, title in SETS.items() if name in found]

    @property
    def compared(self) -> list[tuple[str, str]]:
        """The models of the table: the key in a set, and the name for people."""
        of_sets = [per_model for _, per_model in self.sets]
        with_live = any("live" in one for one in of_sets)
        live = [("live", str(self.evaluation.get("compared_with", "live")))] if with_live else []
        return [("candidate", self.adapter.name), *live, ("base", "bare base")]

    @property
    def samples(self) -> list[Mapping[str, Any]]:
        """Answers that are kept, those that differ from the expected ones first."""
        found = self.adapter.scores.get("samples", [])
        return sorted(found, key=lambda s: s["adapter"].strip() == s["expected"].strip())


@router.get(PATH)
async def show_list(request: Request, domain: str, signed_in: Reviewer) -> Response:
    service: Service = request.app.state.service

    def read(
        db: Database,
    ) -> tuple[Domain, list[Adapter], Adapter | None, dict[str, str], Results | None, int]:
        subject = domains.get(db, domain)
        running = experiments.running(db, subject.id)
        return (
            subject,
            registry.list_adapters(db, subject),
            registry.previous_live(db, subject.id),
            admin.failed_placements(db),
            stats.compute_results(db, running) if running else None,
            running.id if running else 0,
        )

    subject, versions, previous, failed, results, compared_in = await service.store.read(read)
    live = next((v for v in versions if v.state == "live"), None)
    return await rendering.page(
        request,
        "versions.html",
        signed_in,
        subject=subject,
        versions=[(version, scores.sentence(version)) for version in versions],
        live=live,
        live_sentence=scores.sentence(live) if live else "",
        previous=previous,
        failed=failed,
        results=results,
        compared_in=compared_in,
    )


@router.get(f"{PATH}/{{version}}")
async def show(request: Request, domain: str, version: Version, signed_in: Reviewer) -> Response:
    service: Service = request.app.state.service

    def read(db: Database) -> VersionReport:
        adapter = _adapter(db, domain, version)
        dataset = datasets.by_id(db, adapter.dataset_id) if adapter.dataset_id else None
        return VersionReport(
            adapter,
            registry.by_id(db, adapter.parent_id) if adapter.parent_id else None,
            dataset.train if dataset else None,
            admin.failed_placements(db).get(adapter.name, ""),
        )

    report = await service.store.read(read)
    return await rendering.page(
        request,
        "version.html",
        signed_in,
        report=report,
        sentence=scores.sentence(report.adapter),
    )


@router.post(f"{PATH}/rollback")
async def roll_back(
    request: Request, domain: str, signed_in: Admin, confirmed: Confirmed = False
) -> Response:
    return await _change(request, domain, signed_in, commands.RollBack(domain, confirmed))


@router.post(f"{PATH}/{{version}}/promote")
async def promote(
    request: Request, domain: str, version: Version, signed_in: Admin, confirmed: Confirmed = False
) -> Response:
    command = commands.Promote(str(version), domain, confirmed)
    return await _change(request, domain, signed_in, command)


@router.post(f"{PATH}/{{version}}/retire")
async def retire(request: Request, domain: str, version: Version, signed_in: Admin) -> Response:
    return await _change(request, domain, signed_in, commands.Retire(str(version), domain))


@router.post(f"{PATH}/{{version}}/accept")
async def accept(
    request: Request,
    domain: str,
    version: Version,
    reason: Annotated[str, Form(max_length=1_000)],
    signed_in: Admin,
) -> Response:
    """Overrule the gate: turn a rejected version into a candidate."""
    service: Service = request.app.state.service
    name = await service.store.submit(
        lambda db: registry.accept(db, _adapter(db, domain, version), signed_in.person, reason).name
    )
    text = f"{name} is now a candidate. Engines load it within seconds."
    return rendering.done(request, f"{_path(domain)}/{version}", text)


@router.post(f"{PATH}/stop")
async def stop(request: Request, domain: str, signed_in: Admin) -> Response:
    """End the comparison; everybody gets the live version again."""
    return await _change(request, domain, signed_in, commands.StopComparison(domain))


@router.post(f"{PATH}/{{version}}/compare")
async def compare(
    request: Request,
    domain: str,
    version: Version,
    signed_in: Admin,
    percent: Annotated[int, Form(ge=1, le=99)] = 50,
) -> Response:
    """Compare the live version with another one, which this share of the people gets."""
    command = commands.StartComparison("live", str(version), domain, percent / 100)
    result = await rendering.run_command(request, signed_in, command)
    assert isinstance(result, ComparisonStarted)
    compared = " with ".join(v.described for v in result.experiment.variants)
    return rendering.done(request, _path(domain), f"The comparison of {compared} has begun.")


async def _change(request: Request, domain: str, signed_in: SignedIn, command: Command) -> Response:
    result = await rendering.run_command(request, signed_in, command)
    if isinstance(result, NeedsConfirmation):
        return await rendering.page(
            request,
            "confirm.html",
            signed_in,
            reason=result.reason,
            action=request.scope["path"],
            back=_path(domain),
        )
    return rendering.done(request, _path(domain), result.text)


def _path(domain: str) -> str:
    return PATH.format(domain=domain)


def _adapter(db: Database, domain: str, version: int) -> Adapter:
    return registry.get(db, str(version), domains.get(db, domain))
