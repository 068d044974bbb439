"""Plain HTTP requests to an engine or another service, for threads without an event loop.

Redirects are not followed, because nothing may be sent to an address that nobody configured.
"""

import urllib.request
from typing import Any


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None: the redirect itself is raised as `urllib.error.HTTPError`."""


def opener() -> urllib.request.OpenerDirector:
    """For an engine. Proxies from the environment are ignored, because engines are on loopback or
    named by their own URL."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())


def opener_with_proxies() -> urllib.request.OpenerDirector:
    """For a service that may be on the internet."""
    return urllib.request.build_opener(_NoRedirects())
