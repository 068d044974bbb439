"""`/v1/policies`: automatic decisions about comparisons, and the holdout."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlite_utils import Database

from bot.api import auth
from bot.api.domain_field import DomainName, domain_of
from bot.service import Service
from data import domains
from data.experiments import policies
from data.experiments.policies import MAX_HOLDOUT, Policy
from data.people.keys import Key

router = APIRouter(tags=["Policies"])


class PolicyRequest(BaseModel):
    """The fields to change; the others stay."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    domain: DomainName | None = Field(default=None, description="Default: the default domain.")
    policy: Policy | None = Field(
        default=None, description="The decisions that are automatic. Default: unchanged."
    )
    holdout: Annotated[float, Field(ge=0, le=MAX_HOLDOUT)] | None = Field(
        default=None,
        description="The share of the people who always get the live adapter. Default: unchanged.",
    )


@router.get(
    "/policies",
    dependencies=[Depends(auth.reviewer)],
    response_description="A list of `domain`, `policy` and `holdout`.",
)
async def list_policies(request: Request) -> dict[str, Any]:
    """Show which decisions about comparisons are automatic, for each domain."""
    service: Service = request.app.state.service

    def find(db: Database) -> list[dict[str, Any]]:
        return [
            {"domain": d.name} | asdict(policies.policy_of(db, d.id))
            for d in domains.list_domains(db)
        ]

    return {"object": "list", "data": await service.store.read(find)}


@router.post(
    "/policies",
    response_description="`domain`, `policy` and `holdout`, as they are now.",
    responses={404: {"description": "There is no such domain."}},
)
async def change(
    request: Request, given: PolicyRequest, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    """Change a domain's policy or holdout."""
    service: Service = request.app.state.service

    def write(db: Database) -> dict[str, Any]:
        domain, actor = domain_of(db, given.domain), auth.person(key)
        if given.policy is not None:
            policies.set_policy(db, domain, given.policy, actor)
        if given.holdout is not None:
            policies.set_holdout(db, domain, given.holdout, actor)
        return {"domain": domain.name} | asdict(policies.policy_of(db, domain.id))

    return await service.store.submit(write)
