"""Addresses of the console where there is nothing. Its route comes last, because it fits all."""

from typing import Annotated

from fastapi import Depends
from starlette.responses import Response

from bot.console import access
from bot.console.access import SignedIn
from bot.console.rendering import HOME, ConsoleRouter
from data.store.errors import NotFound

router = ConsoleRouter()


@router.get(f"{HOME}/{{rest:path}}")
async def show(rest: str, _: Annotated[SignedIn, Depends(access.member)]) -> Response:
    raise NotFound("There is no page at this address.")
