"""`/v1/triggers`: when a domain retrains by itself, and what would be trained now."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlite_utils import Database

from bot.api import auth
from bot.api.domain_field import DomainName, domain_of
from bot.service import Service
from data import domains
from data.people.keys import Key
from data.store.clock import now_us
from data.triggers import due, rules

router = APIRouter(tags=["Triggers"])
Text = Annotated[str, Field(max_length=200)]


class TriggerRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: DomainName | None = Field(default=None, description="Default: the default domain.")
    settings: Annotated[dict[Text, Text], Field(max_length=len(rules.NAMES))] = Field(
        description="The settings to change by name, such as `schedule` or `pairs`, as on the "
        "command line. `off` removes one; the others stay."
    )


@router.get(
    "/triggers",
    dependencies=[Depends(auth.reviewer)],
    response_description="A list with, for each domain: `settings`, the state of each of its "
    "`triggers`, `fires` (the one that would queue a run now), and `held_by`.",
    responses={404: {"description": "There is no such domain."}},
)
async def list_triggers(request: Request, domain: DomainName | None = None) -> dict[str, Any]:
    """Show when a domain, or each of them, retrains by itself. This is a dry run."""
    service: Service = request.app.state.service

    def find(db: Database) -> list[dict[str, Any]]:
        wanted = [domain_of(db, domain)] if domain else domains.list_domains(db)
        return [
            due.as_json(due.plan(db, service.settings, subject, now_us())) for subject in wanted
        ]

    return {"object": "list", "data": await service.store.read(find)}


@router.post(
    "/triggers",
    response_description="`domain` and all its `settings`, as they are now.",
    responses={404: {"description": "There is no such domain."}},
)
async def change(
    request: Request, given: TriggerRequest, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    """Change when a domain retrains by itself."""
    service: Service = request.app.state.service

    def write(db: Database) -> dict[str, Any]:
        domain = domain_of(db, given.domain)
        changed = rules.change(db, domain, dict(given.settings), auth.person(key))
        return {"domain": domain.name, "settings": rules.shown(changed)}

    return await service.store.submit(write)
