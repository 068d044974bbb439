"""`/v1/adapters`: list adapters, promote one, roll back."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlite_utils import Database

from bot.api import auth
from bot.api.domain_field import DomainName, domain_of
from bot.commands import admin
from bot.service import Service
from data import domains
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.people.keys import Key
from data.store.errors import Conflict

router = APIRouter(tags=["Adapters"])
Name = Annotated[str, Path(max_length=50)]
Confirm = Annotated[
    bool,
    Query(description="`true`: also if a comparison ends, or no adapter is live afterwards."),
]


@router.get(
    "/adapters",
    dependencies=[Depends(auth.reviewer)],
    response_description="A list of [adapter](#adapter) objects; `loaded` says whether an engine "
    "holds the adapter.",
    responses={404: {"description": "There is no such domain."}},
)
async def list_adapters(request: Request, domain: DomainName | None = None) -> dict[str, Any]:
    """List the adapters of a domain, or of all domains, newest first."""
    service: Service = request.app.state.service

    def find(db: Database) -> list[dict[str, Any]]:
        only = domain_of(db, domain) if domain else None
        loaded = placements.loaded(db)
        return [_as_json(a) | {"loaded": a.id in loaded} for a in registry.list_adapters(db, only)]

    return {"object": "list", "data": await service.store.read(find)}


@router.post(
    "/adapters/{name}/promote",
    response_description="The [adapter](#adapter), now live.",
    responses={
        404: {"description": "There is no such adapter."},
        409: {
            "description": "The adapter is already live, still being evaluated, rejected, removed, "
            "or an engine cannot serve it; or a comparison would end, and `confirm` is missing."
        },
    },
)
async def promote(
    request: Request,
    name: Name,
    key: Annotated[Key, Depends(auth.admin)],
    confirm: Confirm = False,
) -> dict[str, Any]:
    """Make an adapter live: it answers from the next message on.

    If a comparison is running in the domain, it ends, and `confirm=true` is needed."""
    service: Service = request.app.state.service

    def move(db: Database) -> Adapter:
        domain = domains.by_id(db, registry.get(db, name).domain_id)
        with _asking():
            return admin.promote(db, domain, name, auth.person(key), confirmed=confirm)

    return _as_json(await service.store.submit(move))


class AcceptRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1000,
            description="The reason, which is stored with the adapter.",
        ),
    ]


@router.post(
    "/adapters/{name}/accept",
    response_description="The [adapter](#adapter), now a candidate.",
    responses={
        404: {"description": "There is no such adapter."},
        409: {"description": "The adapter is not rejected."},
    },
)
async def accept(
    request: Request, name: Name, given: AcceptRequest, key: Annotated[Key, Depends(auth.admin)]
) -> dict[str, Any]:
    """Overrule the gate: make a rejected adapter a candidate."""
    service: Service = request.app.state.service

    def overrule(db: Database) -> Adapter:
        return registry.accept(db, registry.get(db, name), auth.person(key), given.reason)

    return _as_json(await service.store.submit(overrule))


@router.post(
    "/domains/{domain}/rollback",
    response_description="`domain`, and `live`: the adapter that answers now, or `NAME@base`.",
    responses={
        404: {"description": "There is no such domain."},
        409: {
            "description": "There is no promotion to undo; or a comparison would end or no adapter "
            "would be live afterwards, and `confirm` is missing."
        },
    },
)
async def roll_back(
    request: Request,
    domain: Name,
    key: Annotated[Key, Depends(auth.admin)],
    confirm: Confirm = False,
) -> dict[str, Any]:
    """Undo the last promotion.

    If a comparison is running in the domain, it ends. For this, and if no adapter was live before,
    so that approved answers are quoted or the bare base model answers, `confirm=true` is needed."""
    service: Service = request.app.state.service

    def move(db: Database) -> Adapter | None:
        with _asking():
            return admin.roll_back(db, domain_of(db, domain), auth.person(key), confirmed=confirm)

    now = await service.store.submit(move)
    return {"domain": domain, "live": now.name if now else f"{domain}@base"}


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """Say how to confirm what would end."""
    try:
        yield
    except admin.Unconfirmed as ends:
        raise Conflict(f"{ends} Nothing was changed. To go on, send `?confirm=true`.") from ends


def _as_json(adapter: Adapter) -> dict[str, Any]:
    return {"object": "adapter", "name": adapter.name} | asdict(adapter)
