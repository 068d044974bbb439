"""`POST /slack/events`: verifies Slack's signed requests before anything else reads them.

Bolt verifies signatures too, but it answers 500 to a malformed timestamp, a body that is not UTF-8
or invalid JSON, and it logs the body of unsigned requests. So these are rejected here.

Slash commands bypass Bolt, because Bolt polls for the acknowledgement every 10 ms and concurrent
commands would delay each other. A command is acknowledged in the turn of the event loop in which it
arrives.
"""

import hmac
import logging
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any

from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.signature import SignatureVerifier
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bot.slack.workspace.context import WorkspaceContext
from bot.slack.workspace.manifest import COMMAND, PATH
from bot.slack.workspace.workspaces import Workspaces

log = logging.getLogger(__name__)

MAX_BODY = 1_000_000
MAX_SKEW_S = 300  # seconds between Slack's clock and ours; a repeated request may be no older
MAX_LOGGED_EVERY_S = 60.0
_skew_logged: dict[str, float] = {}  # "at": when (monotonic seconds)

CommandHandler = Callable[
    [WorkspaceContext, Callable[..., Awaitable[None]], dict[str, Any]], Awaitable[None]
]


def route(app: AsyncApp, workspaces: Workspaces, handle_command: CommandHandler) -> Route:
    """The route that the HTTP application mounts if `[slack] mode` is "http". `handle_command`
    acknowledges a command and runs it."""
    verifier = SignatureVerifier(
        workspaces.service.settings.slack.signing_secret.get_secret_value()
    )
    handler = AsyncSlackRequestHandler(app)

    async def events(request: Request) -> Response:
        if not workspaces.accepting:
            return PlainTextResponse("not ready, try again", status_code=503)
        body = await _body(request)
        if body is None:
            return PlainTextResponse("too large", status_code=413)
        if not signed(verifier, request, body):
            return PlainTextResponse("invalid signature or expired request", status_code=401)
        if command := _command(body):
            workspace = workspaces.find(command)
            if workspace is None or not workspace.triggers.is_new(command.get("trigger_id", "")):
                return Response()
            command["team_id"] = command.get("team_id") or workspace.identity.team
            return await _acknowledged(workspace, handle_command, command)
        try:
            return await handler.handle(request)
        # invalid JSON, not an object, or without what every delivery of Slack has
        except (ValueError, AttributeError, TypeError, LookupError):
            return PlainTextResponse("not a request from Slack", status_code=400)

    return Route(PATH, events, methods=["POST"])


def _command(body: bytes) -> dict[str, str] | None:
    """The fields of our slash command; None for any other request."""
    if b"command=" not in body:
        return None
    try:
        found = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
    except UnicodeDecodeError:
        return None
    return found if found.get("command") == COMMAND and "payload" not in found else None


async def _acknowledged(
    workspace: WorkspaceContext, handle_command: CommandHandler, command: dict[str, str]
) -> Response:
    response = Response()

    async def ack(**message: str) -> None:
        nonlocal response
        response = JSONResponse(message) if message else response

    await handle_command(workspace, ack, command)
    return response


async def _body(request: Request) -> bytes | None:
    """The body, or None if it is too large. Starlette keeps it for Bolt's adapter."""
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length[:12]) > MAX_BODY:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    request._body = bytes(body)  # where request.body() caches it
    return bytes(body)


def signed(verifier: SignatureVerifier, request: Request, body: bytes) -> bool:
    """Whether Slack signed this body within the last five minutes."""
    timestamp = request.headers.get("x-slack-request-timestamp", "")
    signature = request.headers.get("x-slack-signature", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 11):
        return False
    if not signature.isascii():
        return False
    try:
        valid = hmac.compare_digest(
            verifier.generate_signature(timestamp=timestamp, body=body) or "", signature
        )
    except UnicodeDecodeError:  # the verifier decodes the body
        return False
    skew_s = time.time() - int(timestamp)
    if valid and abs(skew_s) > MAX_SKEW_S:
        _log_skew(skew_s)
        return False
    return valid


def _log_skew(skew_s: float) -> None:
    """Slack signed the request itself, so either it is old or this machine's clock is wrong. Logged
    at most once a minute."""
    now = time.monotonic()
    if now - _skew_logged.get("at", -MAX_LOGGED_EVERY_S) >= MAX_LOGGED_EVERY_S:
        _skew_logged["at"] = now
        log.warning(
            "Refused a request that Slack signed %.0f seconds %s. If this goes on, set this "
            "machine's clock.",
            abs(skew_s),
            "ago" if skew_s > 0 else "in the future",
        )
