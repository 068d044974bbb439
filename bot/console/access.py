"""Who is signed in to the console: the session's cookie, the role, and where a request comes from.

A role is looked up with each request, in the grants that Slack and the command line read too
(`bot/commands/roles.py`), so a role that was revoked no longer counts. Forms are accepted only from
this service's own pages: browsers report the origin of a form, and a request that reports none is
refused. Together with the `SameSite` cookie that is what keeps other sites from sending one (CSRF).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.api import auth, request_body
from bot.api.rate_bounds import RateBounds
from bot.commands import roles
from bot.commands.requester import Requester
from bot.service import Service
from data.people import console_sessions
from data.people.console_sessions import ConsoleSession
from data.people.roles import Role
from data.store.errors import Forbidden

READING = ("GET", "HEAD")


class SignInNeeded(auth.Unauthorized):
    """Nobody is signed in, or the session has `ended`."""

    def __init__(self, *, ended: bool) -> None:
        super().__init__(
            "Your session has ended. Sign in again to go on." if ended else "Please sign in."
        )
        self.ended = ended


@dataclass(frozen=True)
class SignedIn:
    """The person who uses the console, and their session."""

    session: ConsoleSession
    role: Role

    @property
    def person(self) -> str:
        return self.session.person

    @property
    def name(self) -> str:
        """As the page greets them."""
        return self.person.partition(":")[2]

    @property
    def requester(self) -> Requester:
        """For commands, which look the granted role up again."""
        return Requester(self.person)


async def signed_in(request: Request) -> SignedIn | None:
    """Who is signed in, if anybody."""
    service: Service = request.app.state.service
    if not (cookie := _cookie(request)):
        return None

    def find(db: Database) -> SignedIn | None:
        session = console_sessions.find(db, cookie)
        if session is None:
            return None
        return SignedIn(session, roles.role_of(db, Requester(session.person)))

    return await service.store.read(find)


def _cookie(request: Request) -> str:
    return request.cookies.get(auth.cookie_name(request, auth.CONSOLE_COOKIE), "")


def require(role: Role) -> Callable[[Request], Awaitable[SignedIn]]:
    """A FastAPI dependency that returns who is signed in and requires at least this role. Raises
    SignInNeeded and Forbidden."""

    async def dependency(request: Request) -> SignedIn:
        own_page(request)
        service: Service = request.app.state.service
        found = await signed_in(request)
        if found is None:
            raise SignInNeeded(ended=bool(_cookie(request)))
        request.state.signed_in = found  # for the page of an error
        await service.store.read(lambda db: roles.check(db, found.requester, role))
        if console_sessions.needs_touch(found.session):
            await service.store.submit(lambda db: console_sessions.touch(db, found.session))
        return found

    return dependency


member = require("member")
reviewer = require("reviewer")
admin = require("admin")


def own_page(request: Request) -> None:
    """A dependency of routes for browsers. Raises Forbidden for a form of another site, and under a
    host name that is not served."""
    auth.known_host(request)
    if request.method in READING:
        return
    if "origin" not in request.headers and "sec-fetch-site" not in request.headers:
        raise Forbidden("Your browser does not say which page this form comes from.")
    auth.same_origin(request)


def is_own_page(request: Request) -> bool:
    """Whether `own_page` lets the request pass."""
    try:
        own_page(request)
    except Forbidden:
        return False
    return True


async def bound_forms(request: Request) -> None:
    """A dependency of forms that need no reviewer: they count as writes of their address."""
    own_page(request)
    bounds: RateBounds = request.app.state.rate_bounds
    announced = request.headers.get("content-length", "")  # browsers announce it
    size = int(announced) if announced.isdecimal() else request_body.MAX_BODY
    await bounds.write(auth.client_address(request), size)


def set_cookie(request: Request, response: Response, secret: str) -> None:
    """Give the browser the cookie of a session."""
    response.set_cookie(
        auth.cookie_name(request, auth.CONSOLE_COOKIE),
        secret,
        max_age=console_sessions.LASTS_US // 1_000_000,
        path="/",
        httponly=True,
        samesite="lax",
        secure=auth.over_https(request),
    )


def clear_cookie(request: Request, response: Response) -> None:
    """Take the cookie away; the session itself must have been ended in the store."""
    auth.delete_cookie(request, response, auth.CONSOLE_COOKIE)


BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"))
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser_name(request: Request) -> str:
    """`Firefox on Linux`, by which people recognise a session."""
    agent = request.headers.get("user-agent", "")
    safari = "Safari" if "Safari/" in agent else "A browser"
    browser = next((name for sign, name in BROWSERS if sign in agent), safari)
    system = next((name for sign, name in SYSTEMS if sign in agent), "")
    return f"{browser} on {system}" if system else browser
