"""Authentication over HTTP: API keys by role, and browser sessions for the web chat at `/`.

Whoever is signed in to the console chats as themselves. The browser's own session stays beside it,
so that nobody who signs in on a shared computer gets what others asked there.

Every request looks its key up, so a revoked key stops working immediately; the look-up reads one
indexed row. A browser session is a random cookie, signed with the secret of the store, so nobody
can invent one. Of each session, the store holds only a digest, which is no usable session.
Sessions from before they were signed work on if something was asked in them.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from fastapi import Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.service import Service
from data.conversations import conversations
from data.people import console_sessions, identities, keys
from data.people.keys import Key
from data.people.roles import Role, at_least
from data.store.errors import Forbidden
from data.store.secret import keyed_digest

COOKIE = "understudy_session"
CONSOLE_COOKIE = "understudy_console"  # of whoever is signed in
SIGNED = re.compile(r"[A-Za-z0-9_-]{43}\.[0-9a-f]{32}")
UNSIGNED = re.compile(r"[A-Za-z0-9_-]{43}")
OWN_NAMES = {"localhost", socket.gethostname().lower()}
PURPOSE = "web session"
YEAR_S = 365 * 24 * 3600


class Unauthorized(Forbidden):
    """The key is missing or invalid: HTTP 401."""


def bearer(headers: Mapping[str, str]) -> str:
    """The secret in `Authorization: Bearer …`. Raises Unauthorized when there is none."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthorized(
            "An API key is required: send `Authorization: Bearer KEY`. "
            "Create a key with `understudy keys create NAME`."
        )
    return secret.strip()


def verify(db: Database, secret: str, role: Role = "member") -> Key:
    """The key that belongs to a secret. Raises Unauthorized when there is none, and Forbidden when
    its role is below `role`."""
    key = keys.verify(db, secret)
    if key is None:
        raise Unauthorized("This API key is unknown or has been revoked.")
    if not at_least(key.role, role):
        raise Forbidden(
            f"This requires a key with the role {role}; {key.name!r} has the role {key.role}."
        )
    return key


def person(key: Key, user: str | None = None) -> str:
    """The person behind a request: the key's `user` of that name, or the key itself."""
    return identities.key_user(key.id, user)


def speaks_for(key: Key, someone: str) -> bool:
    """Whether `someone` is the key itself or one of its users."""
    return someone == f"http:{key.id}" or someone.startswith(f"http:{key.id}/")


def require(role: Role) -> Callable[[Request], Awaitable[Key]]:
    """A FastAPI dependency that returns the request's key and requires at least this role."""

    async def dependency(request: Request) -> Key:
        service: Service = request.app.state.service
        secret = bearer(request.headers)
        return await service.store.read(lambda db: verify(db, secret, role))

    return dependency


member = require("member")
reviewer = require("reviewer")
admin = require("admin")


def client_address(request: Request) -> str:
    """The IP address of the browser; "" if it is unknown."""
    return request.client.host if request.client else ""


async def visitor(request: Request) -> str:
    """The person behind a browser's request to `/web/…`: who is signed in, or else `web:SESSION`,
    or the person whom the session was joined to.

    Raises Unauthorized without a session that was issued here, and Forbidden when a page of another
    site sent the request."""
    same_origin(request)
    token = _session_token(request)
    service: Service = request.app.state.service
    if (signed_in := await _signed_in(request)) is not None:
        return signed_in
    session = await service.store.read(lambda db: _session(db, token))
    if not session:
        raise Unauthorized("This page has no session. Reload it.")
    return await service.store.read(lambda db: identities.person_of(db, session))


async def _signed_in(request: Request) -> str | None:
    """The person who is signed in to the console, if anybody."""
    service: Service = request.app.state.service
    if not (cookie := request.cookies.get(cookie_name(request, CONSOLE_COOKIE), "")):
        return None
    found = await service.store.read(lambda db: console_sessions.find(db, cookie))
    if found is None:
        return None
    if console_sessions.needs_touch(found):
        await service.store.submit(lambda db: console_sessions.touch(db, found))
    return found.person


async def begin_session(request: Request, response: Response) -> None:
    """Give the browser a session cookie, unless it has one that was issued here."""
    service: Service = request.app.state.service
    token = _session_token(request)
    if await service.store.read(lambda db: _session(db, token)):
        return
    nonce = secrets.token_urlsafe(32)
    signature = await service.store.read(lambda db: keyed_digest(db, PURPOSE, nonce))
    response.set_cookie(
        cookie_name(request, COOKIE),
        f"{nonce}.{signature}",
        max_age=YEAR_S,
        path="/",
        httponly=True,
        samesite="lax",
        secure=over_https(request),
    )


def over_https(request: Request) -> bool:
    """As the connection is, or as a trusted proxy says (`bot/runtime/http_protocol.py`)."""
    return request.url.scheme == "https"


def _session_token(request: Request) -> str:
    """The session's cookie. Over HTTPS, only the one that no other host of the domain can set:
    otherwise such a host could give a visitor a session of its own, and read what they ask."""
    return request.cookies.get(cookie_name(request, COOKIE), "")


def cookie_name(request: Request, base: str) -> str:
    """The name of a session's cookie. Over HTTPS it begins with `__Host-`, so that no other host of
    the domain can set it. Under a prefix it is one of its own, because `__Host-` requires the path
    `/`, where the cookies of two bots on one host would replace each other."""
    name = f"__Host-{base}" if over_https(request) else base
    prefix = request.state.prefix
    return f"{name}_{hashlib.sha256(prefix.encode()).hexdigest()[:8]}" if prefix else name


def delete_cookie(request: Request, response: Response, base: str) -> None:
    """Take a cookie away. Browsers obey this for a name with `__Host-` only if it is `Secure`, as
    when it was set (RFC 6265bis, section 5.7)."""
    name = cookie_name(request, base)
    response.delete_cookie(name, path="/", secure=over_https(request), httponly=True)


def _session(db: Database, token: str) -> str:
    """`web:SESSION` for the cookie of a session that was issued here; otherwise ''."""
    session = f"web:{hashlib.sha256(token.encode()).hexdigest()[:24]}"
    if SIGNED.fullmatch(token):
        nonce, _, signature = token.partition(".")
        issued = hmac.compare_digest(signature, keyed_digest(db, PURPOSE, nonce))
        return session if issued else ""
    if UNSIGNED.fullmatch(token) and conversations.has_asked(db, session):
        return session
    return ""


def known_host(request: Request) -> None:
    """A FastAPI dependency for pages that need no key. Raises Forbidden for a request under a host
    name that is neither this machine's nor in `[bot] allowed_hosts`: its owner could let it point
    here, and read our pages in a visitor's browser."""
    service: Service = request.app.state.service
    allowed = {name.lower() for name in service.settings.bot.allowed_hosts}
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        named = host in allowed | OWN_NAMES or host.endswith(".localhost") or "*" in allowed
        if not named:
            ipaddress.ip_address(host)
    except ValueError:
        raise Forbidden(
            "This page is not served under this host name. Its operator can allow the name with "
            "[bot] allowed_hosts."
        ) from None


def same_origin(request: Request) -> None:
    """Only this service's own pages may use a session; browsers report a request's origin."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    if site not in ("same-origin", "none") or (origin and urlsplit(origin).netloc != host):
        raise Forbidden("Only this service's own pages may send this request.")
