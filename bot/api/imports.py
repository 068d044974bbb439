"""`/v1/domains/{name}/imports`: looks at files of pairs, imports them, and takes imports back. For
admins; the list is for reviewers, too."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from bot.api import auth
from bot.api.problems import BadField
from bot.service import Service
from data import domains
from data.domains import Domain
from data.pair_files import columns
from data.pair_files.formats import AUTO, FORMATS
from data.pair_files.import_process import ImportJobs
from data.pair_files.staged_files import ImportOptions, StagedFile
from data.pairs import imports
from data.pairs.imports import ImportCounts
from data.people.keys import Key
from data.store.errors import Invalid

router = APIRouter(tags=["Pairs"])
Name = Annotated[str, Path(max_length=32, description="The name of a domain.")]
FileId = Annotated[str, Path(max_length=40, description="The `id` of the upload.")]
Number = Annotated[int, Path(ge=1, lt=2**63, description="The number of an import.")]
Admin = Annotated[Key, Depends(auth.admin)]
MAX_NAME = 200  # characters of an import's name
UPLOAD = (
    "The upload: `id`, `file`, `state` (`reading`, `waiting`, `importing`, `done` or `failed`), "
    "`progress` from 0 to 1, `report` once it was read (as `understudy pairs import --json` prints "
    "it; `batch` is the number of the import), and `error`, why it could not be read or imported."
)
NO_DOMAIN: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such domain."}}
NO_FILE: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such upload, or it is older than a day."}
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "title": "ImportForm",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "In any format of `understudy pairs import`.",
                        },
                        "preview": {
                            "type": "boolean",
                            "description": "Look at the file, and import nothing yet.",
                        },
                        "status": {
                            "type": "string",
                            "enum": ["approved", "pending"],
                            "default": "approved",
                            "description": "Of the added pairs.",
                        },
                        "golden": {
                            "type": "boolean",
                            "description": "Import all of them as golden questions.",
                        },
                        "format": {
                            "type": "string",
                            "enum": [AUTO, *FORMATS],
                            "default": AUTO,
                            "description": "Of the file.",
                        },
                        "map": {
                            "type": "string",
                            "description": "What columns hold: `question=Frage,answer=Antwort`.",
                        },
                        "name": {"type": "string", "description": "A name for the import."},
                    },
                }
            }
        },
    }
}


@router.get(
    "/domains/{name}/imports",
    dependencies=[Depends(auth.reviewer)],
    response_description="A list of imports, the newest first: `import`, `name`, `file`, `author`, "
    "`created_at`, `undone_at`, `pairs` by status, and `rated_answers`.",
    responses=NO_DOMAIN,
)
async def list_imports(request: Request, name: Name) -> dict[str, Any]:
    """List what files brought to a domain, with what is left of each."""
    service: Service = request.app.state.service
    found = await service.store.read(lambda db: imports.list_imports(db, domains.get(db, name)))
    return {"object": "list", "data": [_import(one) for one in found]}


@router.post(
    "/domains/{name}/imports",
    status_code=202,
    response_description=UPLOAD,
    responses=NO_DOMAIN | {400: {"description": "The file is empty, or a field is wrong."}},
    openapi_extra=BODY,
)
async def upload(request: Request, name: Name, key: Admin) -> dict[str, Any]:
    """Upload a file of pairs as a multipart form (at most 100 MB), and import it in the background.

    With `preview` it is only looked at; `/start` imports it then."""
    jobs, domain = _jobs(request), await _domain(request, name)
    async with request.form(max_files=1, max_fields=20) as form:
        given = form.get("file")
        if not isinstance(given, UploadFile) or not given.filename:
            raise BadField("file", "Send the file as the field `file` of a multipart form.")
        options, preview = _options(form), _flag(form, "preview")
        actor = auth.person(key)
        staged = await asyncio.to_thread(jobs.files.add, domain, given.filename, given.file, actor)
    begin = jobs.preview if preview else jobs.start
    return _upload(await begin(staged, options))


@router.get(
    "/domains/{name}/imports/uploads/{upload_id}",
    dependencies=[Depends(auth.admin)],
    response_description=UPLOAD,
    responses=NO_FILE,
)
async def read(request: Request, name: Name, upload_id: FileId) -> dict[str, Any]:
    """What is in an uploaded file, how far its import is, or what came of it."""
    return _upload(await _staged(request, name, upload_id))


@router.post(
    "/domains/{name}/imports/uploads/{upload_id}/start",
    status_code=202,
    dependencies=[Depends(auth.admin)],
    response_description=UPLOAD,
    responses=NO_FILE | {409: {"description": "It is being read, or was imported before."}},
)
async def start(request: Request, name: Name, upload_id: FileId) -> dict[str, Any]:
    """Import a file that was looked at, with the fields that it was uploaded with."""
    staged = await _staged(request, name, upload_id)
    return _upload(await _jobs(request).start(staged, staged.options))


@router.delete(
    "/domains/{name}/imports/uploads/{upload_id}",
    status_code=204,
    dependencies=[Depends(auth.admin)],
    response_description="Nothing.",
    responses=NO_FILE | {409: {"description": "It is being read or imported."}},
)
async def discard(request: Request, name: Name, upload_id: FileId) -> Response:
    """Delete an uploaded file, or the report of its import."""
    staged = await _staged(request, name, upload_id)
    await asyncio.to_thread(_jobs(request).files.remove, staged)
    return Response(status_code=204)


@router.post(
    "/domains/{name}/imports/{number}/undo",
    response_description="`import` and `pairs`: how many were taken back.",
    responses={
        404: {"description": "The domain has no such import."},
        409: {"description": "It was undone before."},
    },
)
async def undo(request: Request, name: Name, number: Number, key: Admin) -> dict[str, Any]:
    """Take back everything that an import brought."""
    service: Service = request.app.state.service
    domain, actor = await _domain(request, name), auth.person(key)
    taken = await asyncio.to_thread(imports.undo, service.store, number, actor, domain)
    return {"object": "import.undone", "import": number, "pairs": taken}


def _jobs(request: Request) -> ImportJobs:
    jobs: ImportJobs = request.app.state.import_jobs
    return jobs


async def _domain(request: Request, name: str) -> Domain:
    service: Service = request.app.state.service
    return await service.store.read(lambda db: domains.get(db, name))


async def _staged(request: Request, name: str, upload_id: str) -> StagedFile:
    domain = await _domain(request, name)
    return await asyncio.to_thread(_jobs(request).files.get, domain, upload_id)


def _options(form: FormData) -> ImportOptions:
    """Raises BadField."""
    status, format_ = str(form.get("status") or "approved"), str(form.get("format") or AUTO)
    name = str(form.get("name") or "").strip()
    if status not in ("approved", "pending"):
        raise BadField("status", "`status` is approved or pending.")
    if format_ != AUTO and format_ not in FORMATS:
        raise BadField("format", f"`format` is one of {', '.join((AUTO, *FORMATS))}.")
    if len(name) > MAX_NAME:
        raise BadField("name", f"`name` has at most {MAX_NAME} characters.")
    return ImportOptions(
        format=format_,
        status=status,  # type: ignore[arg-type] # one of them
        golden=_flag(form, "golden"),
        columns=_columns(form),
        name=name,
    )


def _columns(form: FormData) -> dict[str, str]:
    """Raises BadField."""
    try:
        return columns.parse(str(one) for one in form.getlist("map"))
    except Invalid as error:
        said = str(error).replace("write --map ", "write `map` as ").replace("--map", "`map`")
        raise BadField("map", said) from error


def _flag(form: FormData, name: str) -> bool:
    given = str(form.get(name) or "false").lower()
    if given not in ("true", "false", "1", "0"):
        raise BadField(name, f"`{name}` is true or false.")
    return given in ("true", "1")


def _upload(staged: StagedFile) -> dict[str, Any]:
    return {
        "object": "import.upload",
        "id": staged.id,
        "file": staged.file,
        "size": staged.size,
        "state": staged.state,
        "progress": round(staged.progress, 3) if staged.busy else 1.0,
        "report": staged.report,
        "error": staged.error or None,
    }


def _import(one: ImportCounts) -> dict[str, Any]:
    found = asdict(one.batch)
    found.pop("domain_id")
    number = found.pop("id")
    counts = {"pairs": one.pairs, "rated_answers": one.rated_answers}
    return {"object": "import", "import": number} | found | counts
