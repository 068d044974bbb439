"""`/v1/voters`: quarantine and release raters. The ratings of a quarantined rater do not count.

`/v1/experiments/ID/voters` lists the raters of the comparison's domain.
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

router = APIRouter(tags=["Raters"])
Person = Annotated[str, Field(min_length=1, max_length=256)]


class ReleaseRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    person: Person = Field(description="Such as `slack:T1/U2` or `http:3/ann`.")
    domain: DomainName | None = Field(default=None, description="Default: the default domain.")


class QuarantineRequest(ReleaseRequest):
    why: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        description="The reason, shown in the list of raters."
    )


PAGE = "A list of raters, and `daily_cap`: how many ratings of a person count each day."


@router.get(
    "/voters",
    dependencies=[Depends(auth.reviewer)],
    response_description=PAGE,
    responses={404: {"description": "There is no such domain."}},
)
async def list_raters(
    request: Request,
    domain: DomainName | None = None,
    everyone: Annotated[
        bool, Query(alias="all", description="Include raters whose ratings all count.")
    ] = False,
) -> dict[str, Any]:
    """List raters who are or were quarantined or exceeded the daily cap, with the reasons."""
    service: Service = request.app.state.service
    return await service.store.read(lambda db: _page(db, domain_of(db, domain), everyone))


@router.get(
    "/experiments/{experiment_id}/voters",
    dependencies=[Depends(auth.reviewer)],
    response_description=f"{PAGE} Also `quarantined_by_variant`.",
    responses={404: {"description": "There is no such comparison."}},
)
async def raters_in_experiment(
    request: Request, experiment_id: Annotated[int, Path(ge=1, lt=2**63)]
) -> dict[str, Any]:
    """List the people whose ratings do not count in a comparison's domain."""
    service: Service = request.app.state.service

    def find(db: Database) -> dict[str, Any]:
        experiment = experiments.get(db, experiment_id)
        found = _page(db, domains.by_id(db, experiment.domain_id), everyone=False)
        return found | {"quarantined_by_variant": raters.quarantined_in(db, experiment)}

    return await service.store.read(find)


@router.post(
    "/voters/release",
    response_description=PAGE,
    responses={
        404: {"description": "There is no such domain."},
        409: {"description": "The person is not quarantined."},
    },
)
async def release(
    request: Request, given: ReleaseRequest, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    """Let a person's ratings count again."""
    service: Service = request.app.state.service

    def write(db: Database) -> dict[str, Any]:
        domain = domain_of(db, given.domain)
        raters.release(db, domain, given.person, auth.person(key))
        return _page(db, domain, everyone=False)

    return await service.store.submit(write)


@router.post(
    "/voters/quarantine",
    response_description=PAGE,
    responses={
        404: {"description": "There is no such domain, or the person rated nothing in it."},
        409: {"description": "The person is already quarantined."},
    },
)
async def quarantine(
    request: Request, given: QuarantineRequest, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    """Exclude a person's ratings from every statistic."""
    service: Service = request.app.state.service

    def write(db: Database) -> dict[str, Any]:
        domain = domain_of(db, given.domain)
        raters.quarantine(db, domain, given.person, given.why, auth.person(key))
        return _page(db, domain, everyone=False)

    return await service.store.submit(write)


def _page(db: Database, domain: Domain, everyone: bool) -> dict[str, Any]:
    found = [asdict(rater) for rater in raters.page(db, domain, everyone)]
    return {"object": "list", "data": found, "daily_cap": rating_totals.DAILY_CAP}
