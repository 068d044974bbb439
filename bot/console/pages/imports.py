"""Files of pairs: looking at one before anything is stored, importing it, and taking it back.

A file is uploaded once and stays for a day. It is read and imported by a process of its own, so a
closed browser interrupts nothing.
"""

import asyncio
from typing import Annotated, Literal

from fastapi import Depends, Form, Path, Request
from sqlite_utils import Database
from starlette.datastructures import UploadFile
from starlette.responses import Response

from bot.api import request_body
from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.rendering import HOME, ConsoleRouter
from bot.console.shown import count
from bot.service import Service
from data import domains
from data.domains import Domain
from data.pair_files.column_names import NAMES
from data.pair_files.columns import IGNORE
from data.pair_files.import_process import ImportJobs
from data.pair_files.staged_files import ImportOptions, StagedFile
from data.pairs import imports
from data.pairs.imports import ImportCounts
from data.quality.unusable import REASONS
from data.store.errors import Invalid

router = ConsoleRouter()
Reviewer = Annotated[SignedIn, Depends(access.reviewer)]
Admin = Annotated[SignedIn, Depends(access.admin)]
Id = Annotated[int, Path(ge=1, lt=2**63)]
FileId = Annotated[str, Path(max_length=40)]
Columns = Annotated[list[str] | None, Form(max_length=500)]
PATH = f"{HOME}/domains/{{domain}}/pairs/imports"
FILE = f"{PATH}/files/{{file_id}}"
SHORT_WAIT_S = 5.0  # so that the page of a small file shows the result at once
MAX_NAME = 200  # characters of an import's name
PARTS = {"prompt": "question", "response": "answer"} | {
    name: name for name in NAMES if name not in ("prompt", "response")
}


@router.get(PATH)
async def show(request: Request, domain: str, signed_in: Reviewer) -> Response:
    """The imports of a domain, and the files that wait."""
    service: Service = request.app.state.service

    def read(db: Database) -> tuple[Domain, list[ImportCounts]]:
        subject = domains.get(db, domain)
        return subject, imports.list_imports(db, subject)

    subject, listed = await service.store.read(read)
    waiting = await asyncio.to_thread(_jobs(request).files.of, subject)
    return await rendering.page(
        request,
        "imports.html",
        signed_in,
        imports=listed,
        waiting=waiting,
        limit=request_body.MAX_UPLOAD // 1_000_000,
    )


@router.post(PATH)
async def upload(request: Request, domain: str, signed_in: Admin) -> Response:
    """Take a file and look at it. The form is read only now, because its file is for admins."""
    jobs, subject = _jobs(request), await _domain(request, domain)
    async with request.form(max_files=1, max_fields=10) as form:
        given = form.get("file")
        if not isinstance(given, UploadFile) or not given.filename:
            raise Invalid("Choose a file with pairs of questions and answers.")
        staged = await asyncio.to_thread(
            jobs.files.add, subject, given.filename, given.file, signed_in.person
        )
    return await _begun(request, domain, await jobs.preview(staged, ImportOptions()))


@router.get(FILE)
async def show_file(request: Request, domain: str, file_id: FileId, signed_in: Admin) -> Response:
    """What is in a file, how far its import is, or what came of it."""
    staged = await _staged(request, domain, file_id)
    parts = _parts(staged)
    return await rendering.page(
        request,
        "import_file.html",
        signed_in,
        staged=staged,
        report=staged.report,
        columns=[
            (name, staged.options.columns.get(name, ""), parts.get(name, ""))
            for name in _columns(staged)
        ],
        parts=PARTS,
        ignore=IGNORE,
        max_name=MAX_NAME,
        reasons=REASONS,
    )


@router.post(f"{FILE}/preview")
async def preview(
    request: Request,
    domain: str,
    file_id: FileId,
    signed_in: Admin,
    column: Columns = None,
    part: Columns = None,
) -> Response:
    """Look at a file again, with columns as the form says."""
    staged = await _staged(request, domain, file_id)
    options = ImportOptions(columns=_mapping(column or [], part or []))
    return await _begun(request, domain, await _jobs(request).preview(staged, options))


@router.post(f"{FILE}/import")
async def start(
    request: Request,
    domain: str,
    file_id: FileId,
    signed_in: Admin,
    status: Annotated[Literal["approved", "pending"], Form()] = "approved",
    name: Annotated[str, Form(max_length=MAX_NAME)] = "",
    golden: Annotated[bool, Form()] = False,
) -> Response:
    """Import a file as it was looked at."""
    staged = await _staged(request, domain, file_id)
    options = ImportOptions(
        status=status, name=name.strip(), golden=golden, columns=staged.options.columns
    )
    return await _begun(request, domain, await _jobs(request).start(staged, options))


@router.post(f"{FILE}/discard")
async def discard(request: Request, domain: str, file_id: FileId, signed_in: Admin) -> Response:
    staged = await _staged(request, domain, file_id)
    await asyncio.to_thread(_jobs(request).files.remove, staged)
    return rendering.done(request, PATH.format(domain=domain), f"{staged.file} is discarded.")


@router.post(f"{PATH}/{{number}}/undo")
async def undo(request: Request, domain: str, number: Id, signed_in: Admin) -> Response:
    """Take back everything that an import brought."""
    service: Service = request.app.state.service
    subject = await _domain(request, domain)
    taken = await asyncio.to_thread(imports.undo, service.store, number, signed_in.person, subject)
    said = f"Import {number} is undone: {count(taken, 'pair')} taken back."
    return rendering.done(request, PATH.format(domain=domain), said)


def _jobs(request: Request) -> ImportJobs:
    jobs: ImportJobs = request.app.state.import_jobs
    return jobs


async def _domain(request: Request, name: str) -> Domain:
    service: Service = request.app.state.service
    return await service.store.read(lambda db: domains.get(db, name))


async def _staged(request: Request, domain: str, file_id: str) -> StagedFile:
    subject = await _domain(request, domain)
    return await asyncio.to_thread(_jobs(request).files.get, subject, file_id)


async def _begun(request: Request, domain: str, staged: StagedFile) -> Response:
    await _jobs(request).wait(staged, SHORT_WAIT_S)
    return rendering.done(request, FILE.format(domain=domain, file_id=staged.id))


def _columns(staged: StagedFile) -> list[str]:
    """The columns of a file; where the first row did not tell, those that were read."""
    if staged.columns or not staged.report:
        return list(staged.columns)
    return [*_parts(staged), *(column["name"] for column in staged.report["unused"])]


def _parts(staged: StagedFile) -> dict[str, str]:
    """What each column was taken for."""
    used = staged.report["columns"] if staged.report else {}
    return {column: part for part, columns in used.items() for column in columns}


def _mapping(columns: list[str], parts: list[str]) -> dict[str, str]:
    """Column -> part of a pair, as the selects say. Raises Invalid."""
    found = {c: p for c, p in zip(columns, parts, strict=False) if p}
    for part in found.values():
        if part not in PARTS and part != IGNORE:
            raise Invalid(f"“{part}” is no part of a pair.")
        if part != IGNORE and list(found.values()).count(part) > 1:
            raise Invalid(f"Two columns are the {PARTS[part]}; choose one of them.")
    return found
