"""The outermost layer of HTTP: what holds for every request, whatever route answers it.

A request id, security headers, a limit on the body, and an answer for what nobody expected. Plain
ASGI, so that streams pass through untouched.
"""

import logging
import secrets
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.api import problems
from bot.api.relay import CallerGone

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
    """The body is larger than any request of ours needs."""

    def __init__(self) -> None:
        super().__init__(413, f"The body is too large; at most {MAX_BODY:,} bytes are taken.")


class Edge:
    """ASGI middleware around everything."""

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
        except CallerGone:
            log.info("%s: the caller left", request_id)
        except Exception as error:
            if response.started:  # the connection is closed, so nobody takes it for a whole answer
                raise
            problem = problems.problem_of(error)
            if problem is None:
                log.exception("%s: %s %s failed", request_id, scope["method"], scope["path"])
                problem = problems.unexpected(request_id)
            await problem.response()(scope, receive, response.send)


class _Response:
    """Adds the headers that every response has."""

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
    """`receive` that raises TooLarge once the body is, or is announced to be, too large."""
    announced: Any = next((v for n, v in scope["headers"] if n == b"content-length"), None)
    if announced is not None and announced.isdigit() and int(announced) <= MAX_BODY:
        return receive  # the server holds the body to its announced length
    got = 0

    async def limited() -> Message:
        nonlocal got
        if announced is not None:
            raise TooLarge
        message = await receive()
        got += len(message.get("body", b""))
        if got > MAX_BODY:
            raise TooLarge
        return message

    return limited
