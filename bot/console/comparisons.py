"""The page with the results of comparisons, for reviewers and admins.

The files contain no data. The page's script asks for an API key and reads `/v1/experiments` with
it, so the page shows what the API allows this key to see.
"""

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from bot.console.files import File

router = APIRouter()
PAGE, SCRIPT, STYLE = (File(f"comparisons.{kind}") for kind in ("html", "js", "css"))


@router.get("/comparisons")
async def page(request: Request) -> Response:
    return PAGE.response(request)


@router.get("/comparisons/")
async def page_with_slash() -> Response:
    """The page's relative addresses need the address without the slash."""
    return RedirectResponse("../comparisons", 308)


@router.get("/web/comparisons.js")
async def script(request: Request) -> Response:
    return SCRIPT.response(request)


@router.get("/web/comparisons.css")
async def style(request: Request) -> Response:
    return STYLE.response(request)
