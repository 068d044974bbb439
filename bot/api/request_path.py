"""The path of a request: without the prefix of a proxy, and without a slash at its end.

The web pages name everything relative to themselves, so they work under any prefix that a proxy
strips. The prefix (`[bot] root_path`, or `X-Forwarded-Prefix` from a trusted proxy) is needed only
where a proxy does not strip it, and for cookies: two bots on one host need one each.
"""

from starlette.types import Scope

from data.config.sections.bot import PREFIX

API = ("/v1/", "/slack/", "/health/", "/metrics/")


def prefix_of(scope: Scope, configured: str) -> str:
    """The prefix under which people reach the service; '' for none. What a trusted proxy says
    (`bot/runtime/http_protocol.py`) takes precedence over the setting."""
    said = str(scope.get("root_path", "")).rstrip("/")
    return said if PREFIX.fullmatch(said) else configured


def routed(scope: Scope, prefix: str) -> Scope:
    """The request with the path by which it is routed. An address of the API means the same with a
    slash at its end."""
    path: str = scope["path"]
    if prefix and path.startswith(f"{prefix}/"):
        path = path.removeprefix(prefix)
    if path.startswith(API) and path.endswith("/"):
        path = path.removesuffix("/")
    return {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
