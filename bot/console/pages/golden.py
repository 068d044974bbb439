"""The golden set of a domain: questions that measure every version and train none."""

import asyncio
from typing import Annotated

from fastapi import Depends, Form, Path, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.entered_words import Words
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data import domains
from data.pairs import contamination, golden, pair_edits
from data.pairs.pairs import Pair

router = ConsoleRouter()
Reviewer = Annotated[SignedIn, Depends(access.reviewer)]
Admin = Annotated[SignedIn, Depends(access.admin)]
Id = Annotated[int, Path(ge=1, lt=2**63)]
PATH = f"{HOME}/domains/{{domain}}/pairs/golden"
SHOWN = 200  # questions; the list of pairs shows all


@router.get(PATH)
async def show(request: Request, domain: str, signed_in: Reviewer, seen: bool = False) -> Response:
    """`seen`: also which versions learned a question before, which takes long in a large domain."""
    service: Service = request.app.state.service

    def read(db: Database) -> tuple[list[Pair], dict[int, tuple[str, ...]]]:
        subject = domains.get(db, domain)
        found = golden.list_golden(db, subject)
        return found, contamination.seen_by(db, subject, found[:SHOWN]) if seen else {}

    found, names = await service.store.read(read)
    return await rendering.page(
        request,
        "golden.html",
        signed_in,
        questions=found[:SHOWN],
        total=len(found),
        seen=seen,
        names=names,
    )


@router.post(PATH)
async def add(
    request: Request,
    domain: str,
    prompt: Words,
    response: Words,
    signed_in: Admin,
    fact: Annotated[str, Form(max_length=pair_edits.MAX_FACT)] = "",
) -> Response:
    service: Service = request.app.state.service
    subject = await service.store.read(lambda db: domains.get(db, domain))
    words = (prompt, response, signed_in.person, fact.strip())
    added = await asyncio.to_thread(golden.add_to, service.store, subject, *words)
    said = "The question is in the golden set."
    if added.seen_by:
        names = ", ".join(added.seen_by)
        said += f" {names} learned it before, so its score on the golden set is too high."
    return rendering.done(request, PATH.format(domain=domain), said)


@router.post(f"{PATH}/{{pair_id}}/release")
async def release(request: Request, domain: str, pair_id: Id, signed_in: Admin) -> Response:
    """Turn a golden question into a pair to train on."""
    service: Service = request.app.state.service

    def take_out(db: Database) -> None:
        golden.release(db, domains.get(db, domain), pair_id, signed_in.person)

    await service.store.submit(take_out)
    said = "The question is no longer golden: the next run may learn it."
    return rendering.done(request, PATH.format(domain=domain), said)
