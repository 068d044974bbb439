"""How the console's pages are made: templates, addresses, messages after a form, and errors.

Each page is a template in `templates/` that extends `layout.html`. `page` renders one. `done` ends
a form: it sends the browser to a page that says once what happened. Errors become pages by
themselves on routes of a `ConsoleRouter`; such a page holds what was entered, so nothing is lost.
"""

import base64
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from sqlite_utils import Database
from starlette.responses import HTMLResponse, RedirectResponse, Response

from bot.api import problems
from bot.api.auth import cookie_name, delete_cookie, over_https
from bot.commands import executor
from bot.commands.perform import Context, Result
from bot.commands.registry import Command
from bot.console import shown
from bot.console.access import SignedIn, SignInNeeded, is_own_page
from bot.console.navigation import ENTRIES
from bot.service import Service
from data import domains
from data.people.roles import at_least
from data.people.sign_in_links import LinkNotValid
from data.store.errors import UnderstudyError

SAID = "understudy_said"
MAX_SAID = 2_000  # bytes; browsers refuse cookies of more than 4,096, and base64 takes a third more
HOME = "/console"
DOMAIN_PAGE = f"{HOME}/domains/{{domain}}/versions"  # where a choice of a domain leads
FORM = "application/x-www-form-urlencoded"
HTMX_ERROR = {  # an error appears above the form, which stays as it is
    "HX-Retarget": "#said",
    "HX-Reswap": "innerHTML show:#said:top",
    "HX-Reselect": "#problem",
    "HX-Push-Url": "false",
}

templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    auto_reload=False,
    undefined=jinja2.StrictUndefined,
    finalize=shown.finalize,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters.update(shown.FILTERS)


@dataclass(frozen=True)
class Said:
    """What the last form did, shown once."""

    text: str


async def run_command(request: Request, signed_in: SignedIn, command: Command) -> Result:
    """Perform a command of the registry, as Slack and the command line do, in one transaction."""
    service: Service = request.app.state.service

    def perform(db: Database) -> Result:
        return executor.run(Context(db, service.settings, signed_in.requester), command)

    return await service.store.submit(perform)


async def page(
    request: Request,
    template: str,
    signed_in: SignedIn | None = None,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    about: str | None = None,
    **values: Any,
) -> HTMLResponse:
    """Render a template. It knows `url`, `signed_in`, `may`, `entries`, `domain` and `said` besides
    `values`. `about`: the domain that the page is about, if its path does not name it."""
    service: Service = request.app.state.service
    named = about or request.path_params.get("domain")
    route = request.scope["route"].path
    switched = route if "{domain}" in route and request.method == "GET" else DOMAIN_PAGE

    def read(db: Database) -> list[domains.Domain]:
        found = domains.list_domains(db)
        return sorted(found, key=lambda d: not d.is_default)

    known = await service.store.read(read) if signed_in is not None else []
    current = next((d for d in known if d.name == named), known[0] if known else None)
    said = _said(request.cookies.get(cookie_name(request, SAID), ""))
    given = {
        "url": lambda path: address(request, path),
        "path": request.scope["path"],
        "signed_in": signed_in,
        "may": lambda role: signed_in is not None and at_least(signed_in.role, role),
        "entries": ENTRIES,
        "domains": known,
        "domain": current,
        "switch": lambda name: address(request, switched.replace("{domain}", name)),
        "chat": service.settings.bot.web_chat,
        "oidc": service.settings.oidc,
        "said": said,
        "problem": None,
    }
    hidden = (given.keys() & values.keys()) - {"problem"}
    assert not hidden, f"{template} would hide what the layout needs: {hidden}"
    html = templates.get_template(template).render(given | values)
    response = HTMLResponse(html, status, headers)
    if said is not None:
        delete_cookie(request, response, SAID)
    return response


def address(request: Request, path: str) -> str:
    """A path of this service as the browser sees it, behind any prefix of a proxy."""
    return f"{request.state.prefix}{path}"


def done(request: Request, path: str, text: str = "") -> RedirectResponse:
    """After a form: go to `path`, which says `text` once."""
    response = RedirectResponse(address(request, path), 303)
    if text:
        packed = base64.urlsafe_b64encode(_shortened(text)).decode()
        response.set_cookie(
            cookie_name(request, SAID),
            packed,
            max_age=60,
            path="/",
            httponly=True,
            samesite="strict",
            secure=over_https(request),
        )
    return response


def _shortened(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) <= MAX_SAID:
        return encoded
    return f"{encoded[: MAX_SAID - 3].decode(errors='ignore')}…".encode()


def _said(cookie: str) -> Said | None:
    try:
        text = base64.urlsafe_b64decode(cookie.encode()).decode()
    except ValueError:  # not ours
        return None
    return Said(text) if text else None


class ConsoleRoute(APIRoute):
    """A route whose expected errors become pages instead of JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:
                if (problem := problems.problem_of(error)) is None:
                    raise
                return await _problem_page(request, problem, error)

        return handle


class ConsoleRouter(APIRouter):
    """A router of the console's pages."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=ConsoleRoute, include_in_schema=False, **options)


@dataclass(frozen=True)
class KeptForm:
    """A form that could not be executed, with everything that was entered."""

    action: str  # its path
    fields: tuple[tuple[str, str], ...]

    @property
    def packed(self) -> str:
        return json.dumps([self.action, self.fields])

    @classmethod
    def unpacked(cls, text: str) -> "KeptForm | None":
        """None for anything that is no form of the console."""
        try:
            action, fields = json.loads(text)
            kept = tuple((str(name), str(value)) for name, value in fields)
        except (ValueError, TypeError, RecursionError):
            return None
        ours = isinstance(action, str) and action.startswith(f"{HOME}/")
        return cls(action, kept) if ours else None


async def _kept_form(request: Request) -> KeptForm | None:
    """What was entered. A form of another site is not kept: one click on our page would send what
    that site had filled in."""
    action, content_type = request.scope["path"], request.headers.get("content-type", "")
    if request.method != "POST" or action == f"{HOME}/sign-in":
        return None
    if not content_type.startswith(FORM) or not is_own_page(request):
        return None
    fields = (await request.form()).multi_items()
    return KeptForm(action, tuple((name, str(value)) for name, value in fields))


async def _problem_page(request: Request, problem: problems.Problem, error: Exception) -> Response:
    """The page of an expected error. A form's entries are in it, to be sent again."""
    kept = await _kept_form(request)
    signed_in = getattr(request.state, "signed_in", None)
    needs_sign_in = isinstance(error, SignInNeeded | LinkNotValid)
    first_visit = isinstance(error, SignInNeeded) and not error.ended and kept is None
    headers = dict(problem.headers)
    headers.pop("WWW-Authenticate", None)  # that names API keys
    if request.headers.get("hx-request") == "true" and request.method == "POST":
        headers |= HTMX_ERROR
    return await page(
        request,
        "sign_in.html" if needs_sign_in else "problem.html",
        signed_in if isinstance(error, UnderstudyError) else None,
        status=problem.status,
        headers=headers,
        problem=None if first_visit else problem.message,
        kept=kept,
        link=None,
        secret="",
    )
