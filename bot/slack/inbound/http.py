"""`POST /slack/events`: Slack's signed requests, checked before anything reads them.

Bolt checks the signature too, but answers 500 to a timestamp that is no number, a body that is
not UTF-8 or JSON that is none, and it logs the body of what was not signed. So those end here.

A command is not given to Bolt at all, which looks for an acknowledgement every 10 ms: many at once
would wait for one another. It is acknowledged in the same turn of the event loop in which it came.
"""

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

MAX_BODY = 1_000_000


Commanded = Callable[
    [WorkspaceContext, Callable[..., Awaitable[None]], dict[str, Any]], Awaitable[None]
]


def route(app: AsyncApp, workspaces: Workspaces, commanded: Commanded) -> Route:
    """The route that the HTTP application mounts when `[slack] mode` is "http". `commanded`
    acknowledges a command and carries it out."""
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
            return PlainTextResponse("wrong signature or an old request", status_code=401)
        if command := _command(body):
            workspace = workspaces.find(command)
            if workspace is None or not workspace.triggers.is_new(command.get("trigger_id", "")):
                return Response()
            return await _acknowledged(workspace, commanded, command)
        try:
            return await handler.handle(request)
        except (ValueError, AttributeError, TypeError):  # no JSON, or none of an object
            return PlainTextResponse("not a request of Slack's", status_code=400)

    return Route(PATH, events, methods=["POST"])


def _command(body: bytes) -> dict[str, str] | None:
    """The fields of our command; None for anything else that Slack sends."""
    if b"command=" not in body:
        return None
    try:
        found = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
    except UnicodeDecodeError:
        return None
    return found if found.get("command") == COMMAND and "payload" not in found else None


async def _acknowledged(
    workspace: WorkspaceContext, commanded: Commanded, command: dict[str, str]
) -> Response:
    response = Response()

    async def ack(**message: str) -> None:
        nonlocal response
        response = JSONResponse(message) if message else response

    await commanded(workspace, ack, command)
    return response


async def _body(request: Request) -> bytes | None:
    """The body, None when it is too large; Starlette keeps it for Bolt's adapter."""
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length[:12]) > MAX_BODY:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    request._body = bytes(body)  # what request.body() would have kept
    return bytes(body)


def signed(verifier: SignatureVerifier, request: Request, body: bytes) -> bool:
    """Whether Slack signed this body within the last five minutes, which the verifier checks."""
    timestamp = request.headers.get("x-slack-request-timestamp", "")
    signature = request.headers.get("x-slack-signature", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 11):
        return False
    if not signature.isascii():
        return False
    try:
        return verifier.is_valid(body, timestamp, signature)
    except UnicodeDecodeError:  # the verifier signs text
        return False
