"""What there is, for a caller who asked for an address of the API that does not exist.

The answer consists of our own routes; nothing of the address that was asked for is repeated.
"""

import difflib
from collections.abc import Iterable

from starlette.routing import BaseRoute

MAX_SHOWN = 3
MAX_COMPARED = 120  # characters of an address
FIRST = ("POST /v1/chat/completions", "POST /v1/responses", "GET /v1/models")


def sentence(path: str, routes: Iterable[BaseRoute]) -> str:
    """The message of a 404; '' for an address that has nothing to do with the API."""
    known = _by_path(routes)
    if not (path == "/v1" or path.startswith("/v1/")):
        if (intended := f"/v1{path}") not in known:
            return ""
        return f"There is nothing at this address. The API is under `/v1`: `{known[intended]}`."
    wanted = path[:MAX_COMPARED].lower()
    near = difflib.get_close_matches(wanted, known, MAX_SHOWN, cutoff=0.6)
    shown = [known[each] for each in near] or list(FIRST)
    return (
        f"There is nothing at this address. {'The nearest' if near else 'There'} "
        f"{'is' if len(shown) == 1 else 'are'} {_listed(shown)}. docs/http.md lists all routes."
    )


def _by_path(routes: Iterable[BaseRoute]) -> dict[str, str]:
    """The path of each route of the API -> its methods and its path."""
    methods: dict[str, set[str]] = {}
    for route in routes:
        path = getattr(route, "path", "")
        if path.startswith("/v1/"):
            methods.setdefault(path, set()).update(getattr(route, "methods", None) or ())
    return {path: f"{'/'.join(sorted(m - {'HEAD'}))} {path}" for path, m in methods.items()}


def _listed(shown: list[str]) -> str:
    quoted = [f"`{each}`" for each in shown]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
