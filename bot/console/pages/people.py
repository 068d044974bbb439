"""Who may use the console: invitations, roles and sessions. For admins."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Form, Path, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.commands import commands
from bot.commands.registry import Command
from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.pages.sign_in import PATH as SIGN_IN
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data.people import console_sessions, roles, sign_in_links
from data.people.console_sessions import ConsoleSession
from data.people.roles import ROLES, Role
from data.people.sign_in_links import SignInLink

router = ConsoleRouter()
Admin = Annotated[SignedIn, Depends(access.admin)]
Id = Annotated[int, Path(ge=1, lt=2**63)]
Name = Annotated[str, Form(max_length=sign_in_links.MAX_NAME)]
Person = Annotated[str, Form(max_length=400)]
PATH = f"{HOME}/people"


@dataclass(frozen=True)
class ConsolePerson:
    """Somebody who has a role or a session."""

    person: str
    role: Role
    sessions: tuple[ConsoleSession, ...]  # the last used first


@router.get(PATH)
async def show(request: Request, signed_in: Admin) -> Response:
    return await _page(request, signed_in)


@router.post(f"{PATH}/invite")
async def invite(
    request: Request, name: Name, role: Annotated[Role, Form()], signed_in: Admin
) -> Response:
    """Create a sign-in link. It is shown once, because the store holds only its digest."""
    service: Service = request.app.state.service
    link, secret = await service.store.submit(
        lambda db: sign_in_links.create(db, name, role, signed_in.person)
    )
    address = f"{str(request.base_url).rstrip('/')}{rendering.address(request, SIGN_IN)}"
    return await _page(request, signed_in, invited=link, invitation=f"{address}?link={secret}")


@router.post(f"{PATH}/links/{{link_id}}/revoke")
async def revoke_link(request: Request, link_id: Id, signed_in: Admin) -> Response:
    service: Service = request.app.state.service
    await service.store.submit(lambda db: sign_in_links.revoke(db, link_id, signed_in.person))
    return rendering.done(request, PATH, "The link is revoked.")


@router.post(f"{PATH}/sessions/{{session_id}}/end")
async def end_session(request: Request, session_id: Id, signed_in: Admin) -> Response:
    service: Service = request.app.state.service
    await service.store.submit(lambda db: console_sessions.end(db, session_id, signed_in.person))
    return rendering.done(request, PATH, "That browser is signed out.")


@router.post(f"{PATH}/role")
async def set_role(
    request: Request, person: Person, role: Annotated[Role, Form()], signed_in: Admin
) -> Response:
    command: Command = (
        commands.RevokeRole(person) if role == "member" else commands.GrantRole(person, role)
    )
    result = await rendering.run_command(request, signed_in, command)
    return rendering.done(request, PATH, result.text)


async def _page(
    request: Request,
    signed_in: SignedIn,
    invited: SignInLink | None = None,
    invitation: str = "",
) -> Response:
    service: Service = request.app.state.service

    def read(db: Database) -> tuple[list[ConsolePerson], list[SignInLink]]:
        return _people(db), sign_in_links.list_open(db)

    people, links = await service.store.read(read)
    return await rendering.page(
        request,
        "people.html",
        signed_in,
        people=people,
        links=links,
        roles=ROLES,
        invited=invited,
        invitation=invitation,
    )


def _people(db: Database) -> list[ConsolePerson]:
    """Admins first, then reviewers, then members; each by name."""
    held: dict[str, Role] = {g.person: g.role for g in roles.list_grants(db)}
    sessions = console_sessions.list_sessions(db)
    found = [
        ConsolePerson(
            person,
            held.get(person, "member"),
            tuple(s for s in sessions if s.person == person),
        )
        for person in {*held, *(s.person for s in sessions)}
    ]
    return sorted(found, key=lambda p: (-ROLES.index(p.role), p.person))
