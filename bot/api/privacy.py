"""`/v1/people/me` and `/web/me`: the caller's own data: show, export, erase.

Over the API, "me" is the key's user named by `?user=NAME`, or the key itself without it. On the web
page, "me" is the browser's session. These routes never give access to another person's data.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlite_utils import Database

from bot.api import auth
from bot.api.rate_bounds import bound_key_writes, bound_writes
from bot.service import Service
from data.people.keys import Key
from data.privacy import erasure, opt_out, personal_data

BACKUPS = "Backups made earlier are not changed."
Who = Callable[..., Awaitable[str]]


class LearningRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    learning: bool = Field(description="Whether the bot may learn from what the person writes.")


async def _caller(
    key: Annotated[Key, Depends(auth.member)],
    user: Annotated[
        str, Query(max_length=256, description="A user of the key. Default: the key itself.")
    ] = "",
) -> str:
    return auth.person(key, user)


def _router(path: str, who: Who, *dependencies: Any) -> APIRouter:
    """The routes below `path`, for the person that `who` identifies."""
    router = APIRouter(tags=["A person's own data"], dependencies=list(dependencies))
    Person = Annotated[str, Depends(who)]

    @router.get(path, response_description="A [person](#person) object.")
    async def see(request: Request, person: Person) -> dict[str, Any]:
        """Show how much is stored about a person."""
        service: Service = request.app.state.service
        seen = await service.store.read(lambda db: personal_data.summarise(db, person))
        return {"object": "person"} | asdict(seen)

    @router.get(
        f"{path}/export",
        response_description="The person's conversations, feedback and pairs.",
    )
    async def export(request: Request, person: Person) -> dict[str, Any]:
        """Export everything that a person wrote, and what happened to it."""
        service: Service = request.app.state.service
        return await service.store.read(lambda db: personal_data.export(db, person))

    @router.put(
        f"{path}/learning",
        response_description="`learning`, and the number of pending pairs that were `withdrawn`.",
    )
    async def learning(request: Request, person: Person, given: LearningRequest) -> dict[str, Any]:
        """Allow or stop learning from a person. Opting out withdraws their pending pairs."""
        service: Service = request.app.state.service

        def switch(db: Database) -> int:
            if given.learning:
                opt_out.opt_in(db, person)
                return 0
            return opt_out.opt_out(db, person)

        withdrawn = await service.store.submit(switch)
        return {"object": "person", "learning": given.learning, "withdrawn": withdrawn}

    @router.delete(
        path,
        response_description="The receipt: the number of erased records, and the adapters that "
        "learned from the person's pairs.",
        responses={
            503: {
                "description": "The words are deleted, but the store was too busy to overwrite "
                "their bytes. The service does so later."
            }
        },
    )
    async def forget(request: Request, person: Person) -> dict[str, Any]:
        """Erase everything that a person wrote. The response comes when it is done."""
        service: Service = request.app.state.service
        home = service.settings.home
        done = await erasure.erase_person(service.store, home, person, person)
        return {"object": "forgotten", "note": BACKUPS} | asdict(done)

    return router


router = _router("/people/me", _caller, Depends(bound_key_writes))
web = _router("/web/me", auth.visitor, Depends(bound_writes))
