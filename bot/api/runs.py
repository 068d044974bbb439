"""`/v1/runs`: queue, read and cancel tuning runs."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlite_utils import Database
from starlette.responses import HTMLResponse

from bot.api import auth
from bot.api.domain_field import DomainName, domain_of
from bot.commands import admin
from bot.service import Service
from data.people.keys import Key
from data.runs import report as runs_report
from data.runs import runs
from data.runs.methods import with_preferences

router = APIRouter(tags=["Tuning runs"])
Id = Annotated[int, Path(ge=1, lt=2**63)]


def _scalar(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("recipe values must be numbers, strings, true or false")  # noqa: TRY004
    return value


Setting = Annotated[Any, AfterValidator(_scalar)]


class RetrainRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    domain: DomainName | None = Field(default=None, description="Default: the default domain.")
    full: bool = Field(
        default=False, description="Start from the base model and train on all pairs."
    )
    preferences: bool = Field(
        default=False, description='The same as the setting `method = "kto"` of the recipe.'
    )
    recipe: Annotated[dict[str, Setting], Field(max_length=32)] | None = Field(
        default=None, description="Hyperparameters that differ from the default recipe."
    )


@router.get(
    "/runs",
    dependencies=[Depends(auth.reviewer)],
    response_description="A list of [run](#run) objects.",
    responses={404: {"description": "There is no such domain."}},
)
async def list_runs(
    request: Request,
    domain: DomainName | None = None,
    limit: Annotated[int, Query(ge=1, le=200, description="The number of runs to show.")] = 20,
) -> dict[str, Any]:
    """List the tuning runs of a domain, or of all domains, newest first."""
    service: Service = request.app.state.service

    def find(db: Database) -> list[dict[str, Any]]:
        only = domain_of(db, domain) if domain else None
        return [_as_json(run) for run in runs.recent(db, only, limit)]

    return {"object": "list", "data": await service.store.read(find)}


@router.post(
    "/runs",
    status_code=202,
    response_description="The queued [run](#run).",
    responses={
        404: {"description": "There is no such domain."},
        409: {"description": "The domain has an open run, or nothing new to learn."},
    },
)
async def retrain(
    request: Request, given: RetrainRequest, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    """Queue a tuning run. A worker starts it as soon as one is free."""
    service: Service = request.app.state.service

    def queue(db: Database) -> runs.Run:
        return admin.retrain(
            db,
            domain_of(db, given.domain),
            auth.person(key),
            given.full,
            with_preferences(given.recipe, given.preferences),
        )

    return _as_json(await service.store.submit(queue))


@router.get(
    "/runs/{run_id}",
    dependencies=[Depends(auth.reviewer)],
    response_description="The [run](#run), with its loss curve in `curve`.",
    responses={404: {"description": "There is no such run."}},
)
async def get_run(request: Request, run_id: Id) -> dict[str, Any]:
    """Show a run with its loss curve."""
    service: Service = request.app.state.service

    def find(db: Database) -> dict[str, Any]:
        return _as_json(runs.get(db, run_id)) | {
            "curve": [asdict(point) for point in runs.curve(db, run_id)]
        }

    return await service.store.read(find)


@router.get(
    "/runs/{run_id}/report",
    dependencies=[Depends(auth.reviewer)],
    response_description="An HTML page.",
    responses={404: {"description": "There is no such run, or it was not evaluated."}},
)
async def report(request: Request, run_id: Id) -> HTMLResponse:
    """Show a run's report: scores, loss curve, the gate's result, and the worst answers."""
    service: Service = request.app.state.service
    page = await service.store.read(lambda db: runs_report.page(db, run_id))
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(page, headers=headers)


@router.post(
    "/runs/{run_id}/cancel",
    response_description="The [run](#run).",
    responses={
        404: {"description": "There is no such run."},
        409: {"description": "The run has ended."},
    },
)
async def cancel(
    request: Request, run_id: Id, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    """Cancel a run: immediately if it is queued, within seconds if it is running."""
    service: Service = request.app.state.service
    actor = auth.person(key)
    return _as_json(await service.store.submit(lambda db: runs.cancel(db, run_id, actor)))


def _as_json(run: runs.Run) -> dict[str, Any]:
    return {"object": "run"} | asdict(run)
