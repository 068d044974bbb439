"""Signing in with an OpenID provider: to the provider, and back."""

import hmac
from typing import Annotated

from fastapi import Depends, Query, Request
from sqlite_utils import Database
from starlette.responses import RedirectResponse, Response

from bot.api import auth
from bot.api.rate_bounds import RateBounds
from bot.console import access, openid, rendering
from bot.console.openid import OpenIdAttempt
from bot.console.pages.sign_in import PATH as SIGN_IN
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data.people import console_sessions, identities
from data.store.errors import Forbidden, NotFound
from data.store.secret import keyed_digest

router = ConsoleRouter()
PATH = f"{SIGN_IN}/oidc"
CALLBACK = f"{PATH}/callback"
COOKIE = "understudy_oidc"
PURPOSE = "OpenID sign-in"
LASTS_S = 600
COST = 1_000  # bytes: an attempt counts as a write of its address
Text = Annotated[str, Query(max_length=4_000)]


@router.get(PATH, dependencies=[Depends(access.own_page)])
async def begin(request: Request) -> Response:
    """Send the browser to the provider."""
    service: Service = request.app.state.service
    bounds: RateBounds = request.app.state.rate_bounds
    settings = service.settings.oidc
    if not settings.enabled:
        raise NotFound("There is no page at this address.")
    await bounds.write(auth.client_address(request), COST)
    attempt = openid.new_attempt()
    address = await openid.authorization_address(settings, attempt, _callback(request))
    packed = attempt.packed
    signature = await service.store.read(lambda db: keyed_digest(db, PURPOSE, packed))
    response = RedirectResponse(address, 303)
    response.set_cookie(
        auth.cookie_name(request, COOKIE),
        f"{packed}.{signature}",
        max_age=LASTS_S,
        path="/",
        httponly=True,
        samesite="lax",
        secure=auth.over_https(request),
    )
    return response


@router.get(CALLBACK, dependencies=[Depends(access.own_page)])
async def come_back(
    request: Request, state: Text = "", code: Text = "", error: Text = ""
) -> Response:
    """Where the provider sends the browser."""
    service: Service = request.app.state.service
    settings = service.settings.oidc
    if not settings.enabled:
        raise NotFound("There is no page at this address.")
    cookie = request.cookies.get(auth.cookie_name(request, COOKIE), "")
    attempt = await service.store.read(lambda db: _attempt(db, cookie))
    if attempt is None or not state or state != attempt.state:
        raise Forbidden("This sign-in did not begin in this browser, or took too long. Try again.")
    if error or not code:
        reason = f": {error[:100]}" if error else ""
        raise Forbidden(f"You were not signed in with {settings.name}{reason}.")
    named = await openid.person_of_code(settings, attempt, code, _callback(request))
    browser = access.browser_name(request)

    def sign_in(db: Database) -> str:
        return console_sessions.begin(db, identities.person_of(db, named), browser)

    secret = await service.store.submit(sign_in)
    response = rendering.done(request, HOME)
    auth.delete_cookie(request, response, COOKIE)
    access.set_cookie(request, response, secret)
    return response


def _callback(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}{rendering.address(request, CALLBACK)}"


def _attempt(db: Database, cookie: str) -> OpenIdAttempt | None:
    """None for a cookie that was not set here."""
    packed, _, signature = cookie.rpartition(".")
    expected = keyed_digest(db, PURPOSE, packed)
    if not packed or not hmac.compare_digest(signature.encode(), expected.encode()):
        return None
    try:
        return OpenIdAttempt.unpacked(packed)
    except ValueError:
        return None
