"""The console's scripts and styles. htmx is vendored; its origin is in `static/README.md`."""

from fastapi import Request
from starlette.responses import Response

from bot.console.files import File
from bot.console.rendering import ConsoleRouter
from data.store.errors import NotFound

router = ConsoleRouter()
FILES = {
    name: File(f"static/{name}") for name in ("console.css", "console.js", "htmx.min.js", "keys.js")
}


@router.get("/console/static/{name}")
async def static(request: Request, name: str) -> Response:
    if name not in FILES:
        raise NotFound("There is no such file.")
    return FILES[name].response(request)
