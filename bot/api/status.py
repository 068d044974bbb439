"""`/v1/status`: the state of every domain and engine, with alerts."""

from typing import Any

from fastapi import APIRouter, Depends, Request

from bot.api import auth
from bot.commands import admin
from bot.service import Service

router = APIRouter(tags=["Operation"])


@router.get(
    "/status",
    dependencies=[Depends(auth.admin)],
    response_description="`domains`, `replicas`, `failed_placements` (adapters that an engine "
    "refused), and `alerts`.",
)
async def status(request: Request) -> dict[str, Any]:
    """Show domains, engines, and alerts that need attention."""
    service: Service = request.app.state.service
    return {"object": "status"} | admin.as_json(await service.store.read(admin.status))
