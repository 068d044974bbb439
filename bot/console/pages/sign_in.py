"""Signing in with a link.

Opening a link shows who would sign in, and uses nothing up, because chat programs open links to
show a preview. The button on that page uses the link. A form whose session had ended is kept in the
page while its person signs in, and is offered again afterwards.
"""

import re
from typing import Annotated

from fastapi import Depends, Form, Query, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.console import access, rendering
from bot.console.rendering import HOME, ConsoleRouter, KeptForm
from bot.service import Service
from data.people import console_sessions, sign_in_links
from data.people.sign_in_links import SignInLink

router = ConsoleRouter()
PATH = f"{HOME}/sign-in"
SECRET = re.compile(r"(?:.*[?&]link=)?([A-Za-z0-9_-]{43})")
Text = Annotated[str, Form(max_length=2_000)]


@router.get(PATH, dependencies=[Depends(access.own_page)])
async def show(request: Request, link: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Without a link, the page says how to get one."""
    service: Service = request.app.state.service
    found = await service.store.read(lambda db: sign_in_links.find(db, link)) if link else None
    return await rendering.page(request, "sign_in.html", link=found, secret=link, kept=None)


@router.post(PATH, dependencies=[Depends(access.bound_forms)])
async def sign_in(request: Request, link: Text, kept: Annotated[str, Form()] = "") -> Response:
    service: Service = request.app.state.service
    browser = access.browser_name(request)
    given = SECRET.fullmatch(link.strip())
    secret = given[1] if given else ""

    def begin(db: Database) -> tuple[SignInLink, str]:
        used = sign_in_links.use(db, secret)
        return used, console_sessions.begin(db, used.person, browser)

    _, cookie = await service.store.submit(begin)
    response: Response
    if form := KeptForm.unpacked(kept):
        response = await rendering.page(request, "kept.html", kept=form)
    else:
        response = rendering.done(request, HOME)
    access.set_cookie(request, response, cookie)
    return response
