"""`/v1/status`: everything at a glance, with what somebody should look at."""

from typing import Any

from fastapi import APIRouter, Depends, Request

from bot.api import auth
from bot.commands import admin
from bot.service import Service

router = APIRouter()


@router.get("/status", dependencies=[Depends(auth.admin)])
async def status(request: Request) -> dict[str, Any]:
    """Domains, engine replicas and alerts."""
    service: Service = request.app.state.service
    return {"object": "status"} | admin.as_json(await service.store.read(admin.status))
