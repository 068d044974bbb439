"""The pairs of a domain as a file, in the formats of `understudy pairs export`."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Depends, Query, Request
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data import domains
from data.pair_files import files
from data.pair_files.formats import TITLES, WRITTEN
from data.pairs import pairs
from data.pairs.pairs import STATUSES, Status
from data.store.errors import Invalid

router = ConsoleRouter()
Reviewer = Annotated[SignedIn, Depends(access.reviewer)]
PATH = f"{HOME}/domains/{{domain}}/pairs/export"
ENDS = {"csv": "csv"}  # of a file's name; any other format is JSON Lines


@router.get(PATH)
async def show(request: Request, domain: str, signed_in: Reviewer) -> Response:
    service: Service = request.app.state.service
    counts = await service.store.read(lambda db: pairs.counts(db, domains.get(db, domain)))
    formats = [(name, TITLES[name]) for name in WRITTEN]
    return await rendering.page(
        request, "exports.html", signed_in, counts=counts, formats=formats, statuses=STATUSES
    )


@router.get(f"{PATH}/file")
async def download(
    request: Request,
    domain: str,
    signed_in: Reviewer,
    format: Annotated[str, Query(max_length=20)] = "jsonl",
    status: Status | Literal["all"] = "approved",
) -> Response:
    """The file, written to the disk a few pairs at a time, and sent from there."""
    service: Service = request.app.state.service
    if format not in WRITTEN:
        raise Invalid(f"There is no format “{format}”; it can be {', '.join(WRITTEN)}.")
    subject = await service.store.read(lambda db: domains.get(db, domain))
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory)
    name = f"{subject.name}-{status}.{ENDS.get(format, 'jsonl')}"
    path = Path(folder.name) / name

    def write() -> None:
        wanted = None if status == "all" else status
        files.write(pairs.iterate_pairs(service.store.db, subject, wanted), path, format)

    try:
        await asyncio.to_thread(write)
    except BaseException:
        folder.cleanup()
        raise
    media = "text/csv" if format == "csv" else "application/jsonl"
    return FileResponse(
        path, filename=name, media_type=media, background=BackgroundTask(folder.cleanup)
    )
