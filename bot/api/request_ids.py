"""The id of a request: the caller's `X-Request-ID` and `traceparent`, or an id of ours.

What a caller sends stands in our log and in our response, so it is kept only if it is short and
consists of characters that no log viewer, shell or page gives a meaning to. Anything else is
replaced, as if it had not been sent.
"""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

GIVEN = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}")
# W3C Trace Context, section 3.2.2: version, trace id, parent id, flags
TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True)
class RequestIds:
    """`traceparent` is '' if the caller sent no valid one."""

    request_id: str
    traceparent: str = ""

    @property
    def name(self) -> str:
        """What log lines call the request."""
        return f"{self.request_id} {self.traceparent}".rstrip()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the response."""
        found = [(b"x-request-id", self.request_id.encode())]
        if self.traceparent:
            found.append((b"traceparent", self.traceparent.encode()))
        return found


def of_headers(headers: Iterable[tuple[bytes, bytes]]) -> RequestIds:
    """The ids of a request. A header that is sent twice counts as not sent."""
    given: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        given.setdefault(name, []).append(value)
    request_id = _only(given.get(b"x-request-id", []), GIVEN) or f"req-{secrets.token_hex(8)}"
    return RequestIds(request_id, _only(given.get(b"traceparent", []), TRACE))


def _only(values: list[bytes], allowed: re.Pattern[bytes]) -> str:
    """The only value, if it is allowed; otherwise ''."""
    if len(values) != 1 or not allowed.fullmatch(values[0]):
        return ""
    return values[0].decode("ascii")
