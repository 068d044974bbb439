"""Installs the bot in a workspace through Slack's OAuth page.

`GET /slack/install` redirects the browser to Slack. `GET /slack/oauth_redirect` receives a code and
exchanges it for the workspace's token, once. A cookie holds a random nonce, and `state` holds the
same nonce, encrypted with the time. So both requests must come from the same browser, which
prevents request forgery.
https://docs.slack.dev/authentication/installing-with-oauth
"""

import hmac
import logging
import secrets
import urllib.parse
from collections.abc import Sequence
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from bot.slack.client.web_api import TIMEOUT_S, Transport, failure
from bot.slack.workspace.manifest import INSTALL_PATH, REDIRECT_PATH, scopes
from bot.slack.workspace.workspaces import Workspaces
from data.slack.installations import Installation
from data.store.errors import Forbidden, Invalid, Unavailable, UnderstudyError

log = logging.getLogger(__name__)

COOKIE = "understudy_install"
EXPIRES_S = 600  # time to press "Allow"
EXPIRED = (
    f"This installation has expired, or was started in another browser. Start again: {INSTALL_PATH}"
)


def routes(workspaces: Workspaces) -> list[Route]:
    """The two routes, which are mounted if `[slack] client_id` is set."""
    slack = workspaces.service.settings.slack

    async def install(request: Request) -> Response:
        nonce = secrets.token_urlsafe(24)
        query = {
            "client_id": slack.client_id,
            "scope": ",".join(scopes()),
            "state": workspaces.encryption.seal(nonce),
        }
        address = urllib.parse.urljoin(slack.api_url, "/oauth/v2/authorize")
        response = RedirectResponse(f"{address}?{urllib.parse.urlencode(query)}", 302)
        path = _cookie_path(request)
        response.set_cookie(
            COOKIE, nonce, EXPIRES_S, path=path, secure=True, httponly=True, samesite="lax"
        )
        return response

    async def redirected(request: Request) -> Response:
        nonce = workspaces.encryption.opened_within(
            request.query_params.get("state", ""), EXPIRES_S
        )
        cookie = request.cookies.get(COOKIE, "")
        if nonce is None or not hmac.compare_digest(nonce.encode(), cookie.encode()):
            return _page(request, EXPIRED, 400)
        code = request.query_params.get("code", "")
        if not code:
            return _page(request, "Nothing was installed.", 200)
        try:
            name = await _install(workspaces, code)
        except UnderstudyError as error:
            log.warning("An installation failed: %s", error)
            return _page(request, str(error), 403 if isinstance(error, Forbidden) else 502)
        done = f"Understudy is installed in {name}. Send it a message in Slack."
        return _page(request, done, 200)

    return [
        Route(INSTALL_PATH, install, methods=["GET"]),
        Route(REDIRECT_PATH, redirected, methods=["GET"]),
    ]


def _cookie_path(request: Request) -> str:
    """Where the browser sends the cookie to, also behind a proxy that shows the bot under a
    path."""
    return f"{getattr(request.state, 'prefix', '')}/slack"


def _page(request: Request, sentence: str, status: int) -> Response:
    response = PlainTextResponse(sentence, status_code=status)
    path = _cookie_path(request)
    response.delete_cookie(COOKIE, path=path, secure=True, httponly=True, samesite="lax")
    response.headers["Referrer-Policy"] = "no-referrer"  # the URL contains the code
    response.headers["Cache-Control"] = "no-store"
    return response


async def _install(workspaces: Workspaces, code: str) -> str:
    """Exchange the code and return the workspace's name. Raises Forbidden, Invalid or
    Unavailable."""
    slack = workspaces.service.settings.slack
    client = AsyncWebClient(base_url=slack.api_url, timeout=TIMEOUT_S, retry_handlers=[])
    try:
        given = await client.oauth_v2_access(
            client_id=slack.client_id,
            client_secret=slack.client_secret.get_secret_value(),
            code=code,
        )
        client.token = str(given["access_token"])
        who = await client.auth_test()
        try:
            found = _installation(dict(given.data), who["user_id"], who.get("bot_id") or "")  # type: ignore[arg-type]
            _check_allowed(found, slack.workspaces)
        except UnderstudyError:
            await client.auth_revoke()
            raise
    except Transport as error:
        raise _failed(error) from error
    await workspaces.installed(found, client.token)
    return found.name


def _installation(given: dict[str, Any], bot_user: str, bot_id: str) -> Installation:
    team = given.get("team") or {}
    if given.get("is_enterprise_install") or not team.get("id"):
        raise Invalid("Install the bot in a single workspace, not in the whole organisation.")
    if given.get("refresh_token"):
        raise Invalid("Turn off token rotation in the Slack app, because its tokens would expire.")
    return Installation(
        team=str(team["id"]),
        name=str(team.get("name") or team["id"]),
        bot_user=bot_user,
        bot_id=bot_id,
        installed_by=str((given.get("authed_user") or {}).get("id") or ""),
    )


def _check_allowed(found: Installation, allowed: Sequence[str]) -> None:
    if allowed and found.team not in allowed:
        raise Forbidden(f"The workspace {found.name} is not allowed to install this bot.")


def _failed(error: Exception) -> UnderstudyError:
    problem = failure(error)
    if isinstance(error, SlackApiError) and problem.kind != "unclear":
        return Invalid(f"Slack did not accept the installation ({problem.code}).")
    return Unavailable(f"Slack can't be reached ({problem.code}). Start again: {INSTALL_PATH}")
