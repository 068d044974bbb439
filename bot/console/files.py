"""The pages' static files, read once and served from memory, and the shared ones."""

import gzip
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
    """A static file in memory, with an ETag, also compressed."""

    def __init__(self, name: str, *, remove: bytes = b"") -> None:
        """`remove`: a part of the file that is left out."""
        self.body = (HERE / name).read_bytes().replace(remove, b"")
        self.packed = gzip.compress(self.body, mtime=0)
        self.type = f"{TYPES[Path(name).suffix]}; charset=utf-8"
        self.digest = hashlib.sha256(self.body).hexdigest()[:16]

    def response(self, request: Request) -> Response:
        packed = "gzip" in request.headers.get("accept-encoding", "")
        etag = f'"{self.digest}-gzip"' if packed else f'"{self.digest}"'
        headers = {"Cache-Control": "no-cache", "ETag": etag, "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(self.packed if packed else self.body, headers=headers, media_type=self.type)


THEME, STYLE, ICON = File("theme.css"), File("chat.css"), File("icon.svg")


@router.get("/web/theme.css")
async def theme(request: Request) -> Response:
    return THEME.response(request)


@router.get("/web/chat.css")
async def style(request: Request) -> Response:
    return STYLE.response(request)


@router.get("/web/icon.svg")
async def icon(request: Request) -> Response:
    return ICON.response(request)
