"""The signed-in person's own page: where they are signed in, and signing out."""

from typing import Annotated

from fastapi import Depends, Path, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data.people import console_sessions
from data.store.errors import NotFound

router = ConsoleRouter()
Member = Annotated[SignedIn, Depends(access.member)]
PATH = f"{HOME}/account"


@router.get(PATH)
async def show(request: Request, signed_in: Member) -> Response:
    service: Service = request.app.state.service
    sessions = await service.store.read(
        lambda db: console_sessions.list_sessions(db, signed_in.person)
    )
    return await rendering.page(request, "account.html", signed_in, sessions=sessions)


@router.post(f"{HOME}/sign-out", dependencies=[Depends(access.bound_forms)])
async def sign_out(request: Request, signed_in: Member) -> Response:
    """End this session."""
    service: Service = request.app.state.service
    this = signed_in.session.id
    await service.store.submit(lambda db: console_sessions.end(db, this, signed_in.person))
    response = rendering.done(request, f"{HOME}/sign-in", "You are signed out.")
    access.clear_cookie(request, response)
    return response


@router.post(f"{PATH}/sessions/{{session_id}}/end", dependencies=[Depends(access.bound_forms)])
async def end_other(
    request: Request, session_id: Annotated[int, Path(ge=1, lt=2**63)], signed_in: Member
) -> Response:
    """End another session of the same person."""
    service: Service = request.app.state.service

    def end(db: Database) -> None:
        if console_sessions.get(db, session_id).person != signed_in.person:
            raise NotFound(f"You have no session {session_id}.")
        console_sessions.end(db, session_id, signed_in.person)

    await service.store.submit(end)
    return rendering.done(request, PATH, "That browser is signed out.")
