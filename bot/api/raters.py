"""`/v1/voters`: whose votes do not count and why; admins quarantine and release.

`/v1/experiments/ID/voters` is the same page, by a comparison of the domain.
"""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlite_utils import Database

from bot.api import auth
from bot.api.domain_field import DomainName, domain_of
from bot.service import Service
from data import domains
from data.domains import Domain
from data.experiments import experiments
from data.feedback import raters, rating_totals
from data.people.keys import Key

router = APIRouter()
Person = Annotated[str, Field(min_length=1, max_length=256)]


class ReleaseRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    person: Person
    domain: DomainName | None = None  # None: the default domain


class QuarantineRequest(ReleaseRequest):
    why: Annotated[str, Field(min_length=1, max_length=500)]


@router.get("/voters", dependencies=[Depends(auth.reviewer)])
async def list_raters(
    request: Request,
    domain: DomainName | None = None,
    everyone: Annotated[bool, Query(alias="all")] = False,
) -> dict[str, Any]:
    service: Service = request.app.state.service
    return await service.store.read(lambda db: _page(db, domain_of(db, domain), everyone))


@router.get("/experiments/{experiment_id}/voters", dependencies=[Depends(auth.reviewer)])
async def of_experiment(
    request: Request, experiment_id: Annotated[int, Path(ge=1, lt=2**63)]
) -> dict[str, Any]:
    service: Service = request.app.state.service

    def find(db: Database) -> dict[str, Any]:
        experiment = experiments.get(db, experiment_id)
        found = _page(db, domains.by_id(db, experiment.domain_id), everyone=False)
        return found | {"quarantined_by_variant": raters.quarantined_in(db, experiment)}

    return await service.store.read(find)


@router.post("/voters/release")
async def release(
    request: Request, given: ReleaseRequest, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    service: Service = request.app.state.service

    def write(db: Database) -> dict[str, Any]:
        domain = domain_of(db, given.domain)
        raters.release(db, domain, given.person, auth.person(key))
        return _page(db, domain, everyone=False)

    return await service.store.submit(write)


@router.post("/voters/quarantine")
async def quarantine(
    request: Request, given: QuarantineRequest, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    service: Service = request.app.state.service

    def write(db: Database) -> dict[str, Any]:
        domain = domain_of(db, given.domain)
        raters.quarantine(db, domain, given.person, given.why, auth.person(key))
        return _page(db, domain, everyone=False)

    return await service.store.submit(write)


def _page(db: Database, domain: Domain, everyone: bool) -> dict[str, Any]:
    found = [asdict(v) for v in raters.page(db, domain, everyone)]
    return {"object": "list", "data": found, "daily_cap": rating_totals.DAILY_CAP}
