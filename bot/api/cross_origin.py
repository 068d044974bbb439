"""CORS: which other sites' pages may call the API from a browser (`[bot] allowed_origins`).

Only routes under `/v1` are opened. They take an API key and no cookie, so no response ever allows
credentials, and `*` gives a page nothing that its own server could not have. The web chat's routes,
which take a cookie, stay closed to every other site.

The protocol: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from bot.api.problems import Problem

ANY = "*"
METHODS = "GET, HEAD, POST, PUT, DELETE"
EXPOSED = (
    "Retry-After, Traceparent, X-Request-Id, X-Should-Retry, X-Understudy-Adapter, "
    "X-Understudy-Ignored, X-Understudy-Instead-Of"
)
MAX_AGE_S = 7_200  # browsers keep the answer to a preflight no longer
HEADER_NAMES = re.compile(r"[A-Za-z0-9-]+(?: ?, ?[A-Za-z0-9-]+){0,63}")


class CrossOrigin:
    """The sites whose pages may call the API."""

    def __init__(self, allowed: Sequence[str]) -> None:
        """`allowed`: origins such as `https://app.example.com`, or `*`; none: all sites are shut
        out."""
        self._any = ANY in allowed
        self._allowed = frozenset(origin.lower() for origin in allowed)

    def headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """The headers of a response, by which the browser lets the page read it."""
        if not self._concerns(scope):
            return []
        own = [] if self._any else [(b"vary", b"Origin")]
        if not (granted := self._granted(Headers(scope=scope).get("origin"))):
            return own
        allowed = (b"access-control-allow-origin", granted.encode("latin-1"))
        return [*own, allowed, (b"access-control-expose-headers", EXPOSED.encode())]

    def preflight(self, scope: Scope) -> Response | None:
        """The answer to a browser's question whether a page may send a request; None for any other
        request."""
        given = Headers(scope=scope)
        asks = "origin" in given and "access-control-request-method" in given
        if scope["method"] != "OPTIONS" or not asks or not self._concerns(scope):
            return None
        if not self._granted(given["origin"]):
            return Problem(
                403,
                "permission_error",
                "Pages of this site may not call the API. The operator of the service can allow "
                "the site with [bot] allowed_origins.",
                "origin_not_allowed",
            ).response()
        headers = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Max-Age": str(MAX_AGE_S),
        }
        wanted = given.get("access-control-request-headers", "")
        if HEADER_NAMES.fullmatch(wanted):
            headers["Access-Control-Allow-Headers"] = wanted
        return Response(status_code=204, headers=headers)

    def _concerns(self, scope: Scope) -> bool:
        return bool(self._allowed) and scope["path"].startswith("/v1/")

    def _granted(self, origin: str | None) -> str:
        """What `Access-Control-Allow-Origin` says to this site; '' for one that is shut out."""
        if origin is None:
            return ""
        if self._any:
            return ANY
        return origin if origin.lower() in self._allowed else ""
