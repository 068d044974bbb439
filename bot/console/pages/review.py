"""Reviewing pending pairs one by one: what was asked, what the bot said, what is known already.

A reviewer holds the pair that is shown, as in Slack, so that no two reviewers get the same one.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Form, Path, Query, Request
from sqlite_utils import Database
from starlette.responses import Response

from bot.console import access, rendering
from bot.console.access import SignedIn
from bot.console.entered_words import Words
from bot.console.rendering import HOME, ConsoleRouter
from bot.service import Service
from data import domains
from data.conversations import conversations
from data.domains import Domain
from data.pairs import pairs, review_queue
from data.pairs.pairs import Pair
from data.search import fact_proposals
from data.search.search import PairSearch, Reference
from data.store.errors import NotFound

router = ConsoleRouter()
Reviewer = Annotated[SignedIn, Depends(access.reviewer)]
Id = Annotated[int, Path(ge=1, lt=2**63)]
Number = Annotated[int, Query(ge=0, lt=2**63)]
Decision = Literal["approve", "newer", "reject", "skip"]
PATH = f"{HOME}/domains/{{domain}}/review"
NEAREST = 3


@dataclass(frozen=True)
class Reviewed:
    """The pair that is shown, and what helps to decide."""

    pair: Pair
    asked: str  # the question as it was asked; '' if the pair comes from no answer
    answered: str  # what the bot answered
    nearest: tuple[Reference, ...] = ()  # approved pairs
    older: Reference | None = None  # the approved pair whose fact it probably states


@router.get(PATH)
async def show(
    request: Request,
    domain: str,
    signed_in: Reviewer,
    after: Number = 0,
    decided: Number = 0,
    newer: bool = False,
) -> Response:
    """The next pair after pair `after`. `decided`: the pair whose decision can be undone; `newer`:
    it was approved as the newer answer."""
    service: Service = request.app.state.service

    def take(db: Database) -> tuple[Domain, Pair | None, int]:
        subject = domains.get(db, domain)
        pair = review_queue.take_next(db, signed_in.person, subject, after)
        return subject, pair, review_queue.pending(db, subject)

    subject, pair, left = await service.store.submit(take)
    shown = None
    if pair is not None:
        exchange = await service.store.read(lambda db: _exchange(db, pair))
        found = await asyncio.to_thread(_similar, service.chat.search, subject, pair)
        shown = Reviewed(pair, *exchange, *found)
    return await rendering.page(
        request, "review.html", signed_in, shown=shown, left=left, decided=decided, newer=newer
    )


@router.post(f"{PATH}/{{pair_id}}")
async def decide(
    request: Request,
    domain: str,
    pair_id: Id,
    decision: Annotated[Decision, Form()],
    signed_in: Reviewer,
    prompt: Words = "",
    response: Words = "",
    reason: Annotated[str, Form(max_length=review_queue.MAX_REASON)] = "",
    fact: Annotated[str, Form(max_length=1_000)] = "",
) -> Response:
    service: Service = request.app.state.service
    reviewer = signed_in.person
    path = PATH.format(domain=domain)
    if decision == "skip":
        return rendering.done(request, f"{path}?after={pair_id}")

    def store(db: Database) -> tuple[str, bool]:
        _pair(db, domain, pair_id)
        if decision == "reject":
            review_queue.decide(db, pair_id, "rejected", reviewer, reason)
            return "Rejected.", True
        confirmed = fact if decision == "newer" else ""
        approved = review_queue.edit(db, pair_id, prompt, response, reviewer, confirmed)
        newer = ", as the newer answer" if confirmed else ""
        if approved.id != pair_id:
            return f"Approved{newer}, in your words.", False
        return f"Approved{newer}.", True

    said, can_be_undone = await service.store.submit(store)
    newer = "&newer=true" if decision == "newer" else ""
    undo = f"&decided={pair_id}{newer}" if can_be_undone else ""
    return rendering.done(request, f"{path}?after={pair_id}{undo}", said)


@router.post(f"{PATH}/{{pair_id}}/undo")
async def undo(
    request: Request,
    domain: str,
    pair_id: Id,
    signed_in: Reviewer,
    newer: Annotated[bool, Form()] = False,
) -> Response:
    """Put a pair back into the queue. `newer`: it had been approved as the newer answer."""
    service: Service = request.app.state.service

    def put_back(db: Database) -> None:
        _pair(db, domain, pair_id)
        review_queue.undo(db, pair_id, signed_in.person, linked=newer)

    await service.store.submit(put_back)
    path = f"{PATH.format(domain=domain)}?after={pair_id - 1}"
    return rendering.done(request, path, "The pair is back.")


def _pair(db: Database, domain: str, pair_id: int) -> Pair:
    """Raises NotFound, also for a pair of another domain."""
    pair = pairs.get(db, pair_id)
    if pair.domain_id != domains.get(db, domain).id:
        raise NotFound(f"{domain} has no pair {pair_id}.")
    return pair


def _exchange(db: Database, pair: Pair) -> tuple[str, str]:
    """The question and the answer that a pair corrects; empty if it comes from no answer, or they
    were erased."""
    try:
        return conversations.exchange(db, pair.source_ref)
    except NotFound:
        return "", ""


def _similar(
    search: PairSearch, domain: Domain, pair: Pair
) -> tuple[tuple[Reference, ...], Reference | None]:
    found = search.find(domain, pair.prompt, limit=NEAREST).references
    return tuple(found), fact_proposals.propose(search, domain, pair)
