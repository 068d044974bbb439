"""The pages' static files, read once and served from memory, and the shared ones."""

import hashlib
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

HERE = Path(__file__).parent
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

router = APIRouter()


class File:
    """A static file in memory, with an ETag."""

    def __init__(self, name: str) -> None:
        self.body = (HERE / name).read_bytes()
        self.type = f"{TYPES[Path(name).suffix]}; charset=utf-8"
        self.etag = f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'

    def response(self, request: Request) -> Response:
        headers = {"Cache-Control": "no-cache", "ETag": self.etag}
        if request.headers.get("if-none-match") == self.etag:
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type=self.type)


STYLE, ICON = File("chat.css"), File("icon.svg")


@router.get("/web/chat.css")
async def style(request: Request) -> Response:
    return STYLE.response(request)


@router.get("/web/icon.svg")
async def icon(request: Request) -> Response:
    return ICON.response(request)
