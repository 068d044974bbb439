"""Plain HTTP requests to an engine, for threads without an event loop.

Proxies from the environment are ignored, because engines are on loopback or named by their own URL.
Redirects are not followed, because nothing may be sent to an address that nobody configured.
"""

import urllib.request
from typing import Any


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None: the redirect itself is raised as `urllib.error.HTTPError`."""


def opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())
