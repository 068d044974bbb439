"""What is stored about a person: looking, exporting, opting out, forgetting. For admins."""

from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Depends, Form, Query, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.pages.people import PATH as PEOPLE
from bot.console.rendering import ConsoleRouter
from bot.service import Service
from data.people import consent
from data.privacy import erasure, opt_out, personal_data
from data.privacy.erasure import ErasureReceipt
from data.privacy.personal_data import PersonalDataSummary
from data.store import audit

router = ConsoleRouter()
Admin = Annotated[SignedIn, Depends(access.admin)]
Person = Annotated[str, Query(min_length=1, max_length=400)]
PersonField = Annotated[str, Form(min_length=1, max_length=400)]
PATH = f"{PEOPLE}/data"


@dataclass(frozen=True)
class StoredData:
    """What there is, and what forgetting it would delete."""

    summary: PersonalDataSummary
    erased: ErasureReceipt  # as it would be


@router.get(PATH)
async def show(request: Request, person: Person, signed_in: Admin) -> Response:
    service: Service = request.app.state.service

    def read(db: Database) -> StoredData:
        known = consent.check_person(db, person)
        return StoredData(personal_data.summarise(db, known), erasure.preview(db, known))

    found = await service.store.read(read)
    return await rendering.page(request, "personal_data.html", signed_in, found=found)


@router.get(f"{PATH}/export")
async def export(request: Request, person: Person, signed_in: Admin) -> Response:
    """Everything that the person wrote, and what happened to it, as JSON. The audit log records
    who took it."""
    service: Service = request.app.state.service

    def read(db: Database) -> dict[str, Any]:
        known = consent.check_person(db, person)
        audit.record(db, signed_in.person, "people export", known)
        return personal_data.export(db, known)

    found = await service.store.submit(read)
    headers = {"Content-Disposition": 'attachment; filename="person.json"'}
    body = orjson.dumps(found, option=orjson.OPT_INDENT_2)
    return Response(body, headers=headers, media_type="application/json")


@router.post(f"{PATH}/learning")
async def set_learning(
    request: Request, person: PersonField, learning: Annotated[bool, Form()], signed_in: Admin
) -> Response:
    """Stop learning from the person, or allow it again."""
    service: Service = request.app.state.service

    def change(db: Database) -> str:
        known = consent.check_person(db, person)
        audit.record(db, signed_in.person, "opt in" if learning else "opt out", known)
        if learning:
            opt_out.opt_in(db, known)
            return f"The bot may learn from {known} again."
        withdrawn = opt_out.opt_out(db, known)
        return f"The bot no longer learns from {known}. Withdrawn pairs: {withdrawn}."

    return rendering.done(request, PEOPLE, await service.store.submit(change))


@router.post(f"{PATH}/forget")
async def forget(
    request: Request,
    person: PersonField,
    signed_in: Admin,
    retrain: Annotated[bool, Form()] = False,
) -> Response:
    """Delete what the person wrote. The page that leads here says what that is."""
    service: Service = request.app.state.service
    known = await service.store.read(lambda db: consent.check_person(db, person))
    done = await erasure.erase_person(
        service.store, service.settings.home, known, signed_in.person, retrain=retrain
    )
    return rendering.done(request, PEOPLE, f"Deleted: {done.figures}. Receipt {done.receipt}.")
