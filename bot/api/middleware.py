"""The outermost HTTP layer, for every request and route.

It adds a request id, security headers and those of CORS, finds the path by which a request is
routed, answers HEAD wherever GET is answered, limits the body, and turns unexpected errors into
responses. It is plain ASGI, so that streams pass through unchanged.
"""

import logging

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.api import problems, request_body, request_ids, request_path
from bot.api.cross_origin import CrossOrigin
from bot.api.relay import CallerDisconnected
from bot.runtime.request_log import request_name
from data.config.settings import BotSettings

log = logging.getLogger(__name__)

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY = [
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
NO_STORE = (b"cache-control", b"no-store")


class RequestMiddleware:
    """The ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, bot: BotSettings) -> None:
        self._app = app
        self._root_path = bot.root_path
        self._cross_origin = CrossOrigin(bot.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ids = request_ids.of_headers(scope["headers"])
        prefix = request_path.prefix_of(scope, self._root_path)
        scope.setdefault("state", {}).update(request_id=ids.request_id, prefix=prefix)
        asked = request_path.routed(scope, prefix)
        added = [*ids.headers, *SECURITY, *self._cross_origin.headers(asked)]
        response = _Response(send, added)
        named = request_name.set(ids.name)
        try:
            await self._answer(asked, receive, response.send)
        except CallerDisconnected:
            log.info("The caller disconnected")
        except Exception as error:
            if response.started:  # closes the connection, so the response cannot look complete
                raise
            problem = problems.problem_of(error)
            if problem is None:
                log.exception("%s %s failed", scope["method"], scope["path"])
                problem = problems.unexpected(ids.request_id)
            await problem.response()(scope, receive, response.send)
        finally:
            request_name.reset(named)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = scope["state"]["prefix"]
        if prefix and scope["path"] == prefix:  # relative addresses need the slash
            await RedirectResponse(f"{prefix}/", 308)(scope, receive, send)
            return
        if (preflight := self._cross_origin.preflight(scope)) is not None:
            await preflight(scope, receive, send)
            return
        scope, receive = request_body.bounded(scope, receive)
        if scope["method"] == "HEAD":  # the server leaves the body out
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


class _Response:
    """Adds the headers that every response carries."""

    def __init__(self, send: Send, added: list[tuple[bytes, bytes]]) -> None:
        self.started = False
        self._send = send
        self._added = added

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            own = list(message.get("headers", ()))
            if not any(name == b"cache-control" for name, _ in own):
                own.append(NO_STORE)
            message["headers"] = own + self._added
        await self._send(message)
