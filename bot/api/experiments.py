"""`/v1/experiments`: start a comparison of two adapters, see its results, stop it."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlite_utils import Database

from bot import admin, auth, stats
from bot.api.domain import DomainName, domain_of
from bot.service import Service
from data import domains, experiments
from data.errors import Conflict
from data.experiments import Experiment
from data.keys import Key

router = APIRouter()
Id = Annotated[int, Path(ge=1, lt=2**63)]
Side = Annotated[str, Field(max_length=50)]


class Comparison(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    domain: DomainName | None = None  # None: the default domain
    a: Side  # the control: `2`, `helpdesk@2`, `live`, or `base`
    b: Side
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5  # of the people, who get b


@router.get("/experiments", dependencies=[Depends(auth.reviewer)])
async def list_experiments(request: Request, domain: DomainName | None = None) -> dict[str, Any]:
    service: Service = request.app.state.service

    def find(db: Database) -> list[dict[str, Any]]:
        only = domain_of(db, domain) if domain else None
        return [_shown(e) for e in experiments.every(db, only)]

    return {"object": "list", "data": await service.store.read(find)}


@router.post("/experiments", status_code=201)
async def start(
    request: Request, given: Comparison, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    service: Service = request.app.state.service

    def begin(db: Database) -> Experiment:
        domain = domain_of(db, given.domain)
        actor = auth.person(key)
        return admin.start_comparison(db, domain, given.a, given.b, actor, given.share)

    return _shown(await service.store.submit(begin))


@router.get("/experiments/{experiment_id}", dependencies=[Depends(auth.reviewer)])
async def results(request: Request, experiment_id: Id) -> dict[str, Any]:
    """The comparison, with what it has collected so far."""
    service: Service = request.app.state.service

    def find(db: Database) -> dict[str, Any]:
        experiment = experiments.get(db, experiment_id)
        collected = stats.look(db, experiment)
        return _shown(experiment) | {"results": asdict(collected)}

    return await service.store.read(find)


@router.post("/experiments/{experiment_id}/stop")
async def stop(
    request: Request, experiment_id: Id, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    service: Service = request.app.state.service

    def end(db: Database) -> Experiment:
        experiment = experiments.get(db, experiment_id)
        if experiment.state != "running":
            raise Conflict(f"Experiment {experiment_id} has been stopped already.")
        domain = domains.by_id(db, experiment.domain_id)
        return admin.stop_comparison(db, domain, auth.person(key))

    return _shown(await service.store.submit(end))


def _shown(experiment: Experiment) -> dict[str, Any]:
    """All but the salt: who knows it can tell who is on which side."""
    shown = {"object": "experiment"} | asdict(experiment)
    del shown["salt"]
    return shown
