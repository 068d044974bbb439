"""`/v1/adapters/NAME/lineage` and `/v1/pairs/ID/lineage`: what was learned from whom."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from sqlite_utils import Database

from bot.api import auth
from bot.service import Service
from data.adapters import registry
from data.privacy import lineage

router = APIRouter()
Name = Annotated[str, Path(max_length=50)]
Id = Annotated[int, Path(ge=1, lt=2**63)]


@router.get(
    "/adapters/{name}/lineage",
    tags=["Adapters"],
    dependencies=[Depends(auth.reviewer)],
    response_description="`steps`: each training, with its run, `dataset`, `pairs`, "
    "`ratings` and `preferred` pairs; `people` whose words were learned; `continued_by`: adapters "
    "that have this knowledge, too.",
    responses={404: {"description": "There is no such adapter."}},
)
async def of_adapter(request: Request, name: Name) -> dict[str, Any]:
    """Show what an adapter, and those that it continues, learned from. Words are not shown."""
    service: Service = request.app.state.service

    def find(db: Database) -> dict[str, Any]:
        found = lineage.of_adapter(db, registry.get(db, name).id)
        return asdict(found) | {"people": found.people}

    return await service.store.read(find)


@router.get(
    "/pairs/{pair_id}/lineage",
    tags=["Pairs"],
    dependencies=[Depends(auth.reviewer)],
    response_description="The `pair`'s origin, its `datasets`, and the adapters that `trained` on "
    "it or are only `evaluated` on it.",
    responses={404: {"description": "There is no such pair."}},
)
async def of_pair(request: Request, pair_id: Id) -> dict[str, Any]:
    """Show where a pair comes from, and which adapters learned it. Words are not shown."""
    service: Service = request.app.state.service
    return await service.store.read(lambda db: asdict(lineage.of_pair(db, pair_id)))
