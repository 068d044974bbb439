"""The body of a request: its limit, and its compression with gzip.

The limit holds for the bytes that are sent and for what they unpack to. A body is unpacked piece by
piece, and never further than the limit, so that a small body cannot become a large one in memory.
"""

import re
import zlib
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

MAX_BODY = 1_000_000  # bytes
MAX_UPLOAD = 100_000_000  # of a file of pairs that somebody uploads
UPLOADS = re.compile(  # these paths
    r"/console/start|/console/domains/[^/]+/(?:import|pairs/imports)|/v1/domains/[^/]+/imports"
)
GZIP = 16 + zlib.MAX_WBITS  # zlib's number for the format


class TooLarge(HTTPException):
    """The body exceeds the limit."""

    def __init__(self, limit: int = MAX_BODY) -> None:
        super().__init__(413, f"The body is too large; the limit is {limit:,} bytes.")


class UnsupportedEncoding(HTTPException):
    """The body is compressed in a way that is not read here."""

    def __init__(self) -> None:
        super().__init__(
            415,
            "The body has a `Content-Encoding` that is not supported. Send it uncompressed, or "
            "compressed with gzip.",
            {"Accept-Encoding": "gzip"},
        )


class NotGzip(HTTPException):
    """The body is not what its `Content-Encoding` announces."""

    def __init__(self) -> None:
        super().__init__(400, "The body is not valid gzip, which its `Content-Encoding` announces.")


class Unpacking:
    """Unpacks a gzip body, of one or several members (RFC 1952, section 2.2)."""

    def __init__(self, limit: int) -> None:
        """`limit`: the most bytes that the body may unpack to."""
        self._limit = self._left = limit
        self._member = zlib.decompressobj(GZIP)
        self._begun = False

    def add(self, data: bytes) -> bytes:
        """What the next piece unpacks to. Raises TooLarge and NotGzip."""
        found = []
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(GZIP)
            self._begun = True
            try:
                part = self._member.decompress(data, self._left + 1)
            except zlib.error:
                raise NotGzip from None
            self._left -= len(part)
            if self._left < 0:
                raise TooLarge(self._limit)
            found.append(part)
            data = self._member.unused_data
        return b"".join(found)

    def end(self) -> None:
        """Raises NotGzip if the body ended in the middle."""
        if self._begun and not self._member.eof:
            raise NotGzip


def bounded(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """The request with a limited and unpacked body. The `receive` raises TooLarge when the body, or
    its announced length, is too large. Raises UnsupportedEncoding."""
    limit = MAX_UPLOAD if _is_upload(scope) else MAX_BODY
    receive = _limited(scope, receive, limit)
    given = b",".join(v for n, v in scope["headers"] if n == b"content-encoding").strip().lower()
    if given in (b"", b"identity"):
        return scope, receive
    if given not in (b"gzip", b"x-gzip"):
        raise UnsupportedEncoding
    packed = (b"content-encoding", b"content-length")
    headers = [(n, v) for n, v in scope["headers"] if n not in packed]
    return {**scope, "headers": headers}, _unpacked(receive, limit)


def _is_upload(scope: Scope) -> bool:
    """Whether the body may be a file, which is read only for admins. Other forms are read before
    that, and wholly into memory."""
    content_type = next((v for n, v in scope["headers"] if n == b"content-type"), b"")
    files = content_type.strip().lower().startswith(b"multipart/form-data")
    return files and UPLOADS.fullmatch(scope["path"]) is not None


def _limited(scope: Scope, receive: Receive, limit: int) -> Receive:
    announced: Any = next((v for n, v in scope["headers"] if n == b"content-length"), None)
    if announced is not None and announced.isdigit() and int(announced) <= limit:
        return receive  # the server enforces the announced length
    received = 0

    async def limited() -> Message:
        nonlocal received
        if announced is not None:
            raise TooLarge(limit)
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise TooLarge(limit)
        return message

    return limited


def _unpacked(receive: Receive, limit: int) -> Receive:
    unpacking = Unpacking(limit)

    async def unpacked() -> Message:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body = unpacking.add(message.get("body", b""))
        if not message.get("more_body", False):
            unpacking.end()
        return {**message, "body": body}

    return unpacked
