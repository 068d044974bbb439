"""API keys: creating one, which is shown once, whom it stands for, and revoking it. For admins."""

from typing import Annotated

from fastapi import Depends, Form, Path, Request
from starlette.responses import Response

from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data.people import keys
from data.people.keys import KEY_PEOPLE, Key, KeyPeople
from data.people.roles import ROLES, Role

router = ConsoleRouter()
Admin = Annotated[SignedIn, Depends(access.admin)]
Id = Annotated[int, Path(ge=1, lt=2**63)]
PATH = f"{HOME}/keys"


@router.get(PATH)
async def show(request: Request, signed_in: Admin) -> Response:
    return await _page(request, signed_in)


@router.post(PATH)
async def create(
    request: Request,
    name: Annotated[str, Form(max_length=100)],
    role: Annotated[Role, Form()],
    signed_in: Admin,
    people: Annotated[KeyPeople, Form()] = "unverified",
) -> Response:
    """The key is shown once, because the store holds only its digest."""
    service: Service = request.app.state.service
    made, secret = await service.store.submit(
        lambda db: keys.create(db, name, role, signed_in.person, people)
    )
    return await _page(request, signed_in, made, secret)


@router.post(f"{PATH}/{{key_id}}/people")
async def mark(
    request: Request, key_id: Id, people: Annotated[KeyPeople, Form()], signed_in: Admin
) -> Response:
    """Whom the key stands for; running comparisons count its people from now on, or no longer."""
    service: Service = request.app.state.service
    key = await service.store.submit(
        lambda db: keys.set_people(db, key_id, people, signed_in.person)
    )
    return rendering.done(request, PATH, f"Key {key.id} of {key.name} is marked: {key.people}.")


@router.post(f"{PATH}/{{key_id}}/revoke")
async def revoke(request: Request, key_id: Id, signed_in: Admin) -> Response:
    service: Service = request.app.state.service
    key = await service.store.submit(lambda db: keys.revoke(db, key_id, signed_in.person))
    return rendering.done(request, PATH, f"Key {key.id} of {key.name} is revoked.")


async def _page(
    request: Request, signed_in: SignedIn, made: Key | None = None, secret: str = ""
) -> Response:
    service: Service = request.app.state.service
    found = await service.store.read(keys.list_keys)
    return await rendering.page(
        request,
        "keys.html",
        signed_in,
        keys=[k for k in found if k.revoked_at is None],
        revoked=[k for k in found if k.revoked_at is not None],
        made=made,
        secret=secret,
        roles=ROLES,
        people=KEY_PEOPLE,
        base=str(request.base_url).rstrip("/") + rendering.address(request, "/v1"),
    )
