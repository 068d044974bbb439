"""`/health` for orchestrators and load balancers, `/metrics` for Prometheus."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlite_utils import Database
from starlette.responses import Response

from bot.api import auth
from bot.runtime.metrics import Metrics
from bot.service import Service
from data import domains
from data.adapters import placements
from data.adapters.placements import STOPPED
from data.slack import problems
from data.store.errors import UnderstudyError

router = APIRouter(tags=["Operation"])
LOOPBACK = {"127.0.0.1", "::1"}
LOOPBACK_NAMES = {"127.0.0.1", "localhost", "[::1]"}
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


@router.api_route(
    "/health",
    methods=["GET", "HEAD"],
    response_description="`status` is `ok`, or `degraded` if `warnings` says what does not work, "
    "for example that Slack rejects the bot's token.",
    responses={
        503: {"description": "`status` is `unavailable`, and `missing` lists what is missing."}
    },
)
async def health(request: Request) -> Response:
    """Check whether a question would be answered. Load balancers can use it."""
    service: Service = request.app.state.service
    try:
        missing, warnings = await service.store.read(lambda db: (_missing(db), _warnings(db)))
    except UnderstudyError as error:
        missing, warnings = [str(error)], []
    found = {"missing": missing, "warnings": warnings}
    if missing:
        return JSONResponse({"status": "unavailable", **found}, 503)
    return JSONResponse({"status": "degraded" if warnings else "ok", **found})


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    response_description="Metrics in Prometheus' text format.",
)
async def metrics(request: Request) -> Response:
    """Show metrics for Prometheus.

    A request from the same machine needs no key, unless it came through a proxy. An admin's key
    works from anywhere."""
    service: Service = request.app.state.service
    counted: Metrics = request.app.state.metrics
    if not _from_this_machine(request):
        await auth.admin(request)
    await service.store.read(counted.read_store)
    page = counted.page(service.chat, service.store.waiting)
    return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")


def _missing(db: Database) -> list[str]:
    missing = []
    if not domains.list_domains(db):
        missing.append("There is no domain. Create one with `understudy domains add NAME`.")
    if not placements.ready_urls(db):
        states = [r.described for r in placements.replicas(db)]
        missing.append(f"No engine is ready ({', '.join(states) or 'none is running'}).")
    return missing


def _warnings(db: Database) -> list[str]:
    """What does not work although questions over HTTP are answered."""
    down = [r for r in placements.replicas(db) if r.state == "down" and r.detail != STOPPED]
    return [
        *(problem.text for problem in problems.current(db) if not problem.channel),
        *(r.described for r in down if not r.stale and placements.ready_urls(db)),
    ]


def _from_this_machine(request: Request) -> bool:
    """Whether a request came directly from loopback: not through a proxy, and not under the host
    name of another site."""
    peer: Any = request.client
    name = request.headers.get("host", "").rsplit(":", 1)[0] or "localhost"
    direct = not any(header in request.headers for header in FORWARDED)
    return peer is not None and peer.host in LOOPBACK and name in LOOPBACK_NAMES and direct
