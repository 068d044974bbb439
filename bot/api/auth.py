"""Who is asking over HTTP: API keys by role, and browser sessions for the page at `/`.

A key is looked up for every request, so a revoked one stops working at once; the look-up is one
indexed row. A browser session is a random cookie that nobody else can know. The store only ever
sees its digest, so who can read the store cannot act as a session.
"""

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from fastapi import Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.service import Service
from data.people import keys
from data.people.keys import ROLES, Key, Role
from data.store.errors import Forbidden

COOKIE = "understudy_session"
SESSION = re.compile(r"[A-Za-z0-9_-]{43}")
YEAR_S = 365 * 24 * 3600


class Unauthorized(Forbidden):
    """No key, or one that does not work: HTTP 401."""


def bearer(headers: Mapping[str, str]) -> str:
    """The secret of `Authorization: Bearer …`. Raises Unauthorized when there is none."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthorized(
            "An API key is needed: send `Authorization: Bearer KEY`. "
            "`understudy keys create NAME` makes one."
        )
    return secret.strip()


def verify(db: Database, secret: str, role: Role = "member") -> Key:
    """The key of a secret. Raises Unauthorized, or Forbidden when it may do less than `role`."""
    key = keys.verify(db, secret)
    if key is None:
        raise Unauthorized("That API key is unknown or was revoked.")
    if not allows(key, role):
        raise Forbidden(f"This needs a key of role {role}; {key.name!r} is a {key.role}'s.")
    return key


def allows(key: Key, role: Role) -> bool:
    """member < reviewer < admin."""
    return ROLES.index(key.role) >= ROLES.index(role)


def person(key: Key, user: str | None = None) -> str:
    """The person a caller speaks for: the key's `user` of that name, or the key itself."""
    return f"http:{key.id}/{user}" if user else f"http:{key.id}"


def speaks_for(key: Key, someone: str) -> bool:
    """Whether `someone` is a person of this key's."""
    return someone == f"http:{key.id}" or someone.startswith(f"http:{key.id}/")


def require(role: Role) -> Callable[[Request], Awaitable[Key]]:
    """A FastAPI dependency: the request's key, of at least that role."""

    async def dependency(request: Request) -> Key:
        service: Service = request.app.state.service
        secret = bearer(request.headers)
        return await service.store.read(lambda db: verify(db, secret, role))

    return dependency


member = require("member")
reviewer = require("reviewer")
admin = require("admin")


async def visitor(request: Request) -> str:
    """The person behind a browser's request to `/web/…`: `web:SESSION`.

    Raises Unauthorized without a session, Forbidden when another site's page sent it."""
    _same_origin(request)
    token = request.cookies.get(COOKIE, "")
    if not SESSION.fullmatch(token):
        raise Unauthorized("This page has no session any more. Reload it.")
    return f"web:{hashlib.sha256(token.encode()).hexdigest()[:24]}"


def begin_session(request: Request, response: Response) -> None:
    """Give the browser a session, unless it has one."""
    if SESSION.fullmatch(request.cookies.get(COOKIE, "")):
        return
    https = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
    response.set_cookie(
        COOKIE,
        secrets.token_urlsafe(32),
        max_age=YEAR_S,
        httponly=True,
        samesite="lax",
        secure=https,
    )


def _same_origin(request: Request) -> None:
    """Browsers say where a request comes from; only our own pages may use a session."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    if site not in ("same-origin", "none") or (origin and urlsplit(origin).netloc != host):
        raise Forbidden("Only the page of this service may do that.")
