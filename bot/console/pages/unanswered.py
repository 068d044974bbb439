"""The questions that the bot declined, in groups of the same meaning, each with a draft answer."""

import asyncio
from typing import Annotated

from fastapi import Depends, Path, Request
from starlette.responses import Response

from bot.answering import unanswered_groups
from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.entered_words import Words
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data import domains
from data.store.clock import DAY_US, now_us

router = ConsoleRouter()
Reviewer = Annotated[SignedIn, Depends(access.reviewer)]
Id = Annotated[str, Path(max_length=100)]
PATH = f"{HOME}/domains/{{domain}}/unanswered"
MOST_SHOWN = 50  # groups


@router.get(PATH)
async def show(request: Request, domain: str, signed_in: Reviewer) -> Response:
    service: Service = request.app.state.service
    subject = await service.store.read(lambda db: domains.get(db, domain))
    groups = await asyncio.to_thread(
        unanswered_groups.list_groups, service.store, service.chat.search, subject, MOST_SHOWN
    )
    return await rendering.page(
        request,
        "unanswered.html",
        signed_in,
        groups=groups[:MOST_SHOWN],
        more=len(groups) - MOST_SHOWN,
        week=now_us() - 7 * DAY_US,
        week_before=now_us() - 14 * DAY_US,
    )


@router.post(f"{PATH}/{{group_id}}/answer")
async def answer(
    request: Request,
    domain: str,
    group_id: Id,
    response: Words,
    signed_in: Reviewer,
    question: Words = "",
) -> Response:
    """Make an approved pair of a group of questions."""
    service: Service = request.app.state.service
    subject = await service.store.read(lambda db: domains.get(db, domain))
    words = (response, signed_in.person, question)
    await asyncio.to_thread(
        unanswered_groups.answer, service.store, service.chat.search, subject, group_id, *words
    )
    said = "The answer is approved, and counts from the next question on."
    return rendering.done(request, PATH.format(domain=domain), said)


@router.post(f"{PATH}/{{group_id}}/dismiss")
async def dismiss(request: Request, domain: str, group_id: Id, signed_in: Reviewer) -> Response:
    service: Service = request.app.state.service
    subject = await service.store.read(lambda db: domains.get(db, domain))
    await asyncio.to_thread(
        unanswered_groups.dismiss,
        service.store,
        service.chat.search,
        subject,
        group_id,
        signed_in.person,
    )
    return rendering.done(request, PATH.format(domain=domain), "The question is off the list.")
