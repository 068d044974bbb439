"""The outermost HTTP layer, for every request and route.

It adds a request id and security headers, limits the body, and turns unexpected errors into
responses. It is plain ASGI, so that streams pass through unchanged.
"""

import logging
import secrets
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.api import problems
from bot.api.relay import CallerDisconnected

log = logging.getLogger(__name__)

MAX_BODY = 1_000_000  # bytes
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY = [
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
NO_STORE = (b"cache-control", b"no-store")


class TooLarge(HTTPException):
    """The body exceeds the limit."""

    def __init__(self) -> None:
        super().__init__(413, f"The body is too large; the limit is {MAX_BODY:,} bytes.")


class RequestMiddleware:
    """The ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req-{secrets.token_hex(8)}"
        scope.setdefault("state", {})["request_id"] = request_id
        response = _Response(send, request_id)
        try:
            await self._app(scope, _limited(scope, receive), response.send)
        except CallerDisconnected:
            log.info("%s: the caller disconnected", request_id)
        except Exception as error:
            if response.started:  # closes the connection, so the response cannot look complete
                raise
            problem = problems.problem_of(error)
            if problem is None:
                log.exception("%s: %s %s failed", request_id, scope["method"], scope["path"])
                problem = problems.unexpected(request_id)
            await problem.response()(scope, receive, response.send)


class _Response:
    """Adds the headers that every response carries."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.started = False
        self._send = send
        self._request_id = request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            own = list(message.get("headers", ()))
            if not any(name == b"cache-control" for name, _ in own):
                own.append(NO_STORE)
            own.append((b"x-request-id", self._request_id.encode()))
            message["headers"] = own + SECURITY
        await self._send(message)


def _limited(scope: Scope, receive: Receive) -> Receive:
    """A `receive` that raises TooLarge when the body, or its announced length, is too large."""
    announced: Any = next((v for n, v in scope["headers"] if n == b"content-length"), None)
    if announced is not None and announced.isdigit() and int(announced) <= MAX_BODY:
        return receive  # the server enforces the announced length
    received = 0

    async def limited() -> Message:
        nonlocal received
        if announced is not None:
            raise TooLarge
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY:
            raise TooLarge
        return message

    return limited
