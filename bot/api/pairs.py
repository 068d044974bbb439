"""`/v1/pairs`: list and review pairs. For reviewers."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlite_utils import Database

from bot.api import auth
from bot.api.domain_field import DomainName, domain_of
from bot.commands import admin
from bot.service import Service
from data import domains
from data.pairs import pairs
from data.people.keys import Key
from data.quality import private_words
from data.search import fact_proposals

router = APIRouter(tags=["Pairs"])
Id = Annotated[int, Path(ge=1, lt=2**63)]


class ReviewRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal["approved", "rejected", "quarantined", "pending"] = Field(
        description="The new status. Only approved pairs are learned."
    )
    fact: str = Field(
        default="",
        max_length=1_000,
        description="For an approval: the fact that the pair states, as proposed by "
        "`/v1/pairs/{pair_id}/fact`. Its answer replaces the older ones of that fact.",
    )


@router.get(
    "/pairs",
    dependencies=[Depends(auth.reviewer)],
    response_description="A list of [pair](#pair) objects.",
    responses={404: {"description": "There is no such domain."}},
)
async def list_pairs(
    request: Request,
    domain: DomainName | None = None,
    status: Annotated[pairs.Status | None, Query(description="Only pairs of this status.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="The number of pairs to show.")] = 100,
) -> dict[str, Any]:
    """List the pairs of a domain (by default, the default domain), oldest first."""
    service: Service = request.app.state.service

    def find(db: Database) -> list[dict[str, Any]]:
        found = pairs.list_pairs(db, domain_of(db, domain), status, limit)
        return [_as_json(pair) for pair in found]

    return {"object": "list", "data": await service.store.read(find)}


@router.get(
    "/pairs/{pair_id}/fact",
    dependencies=[Depends(auth.reviewer)],
    response_description="`fact`, `pair_id`, `prompt`, `response` and `similarity` of the approved "
    "pair whose fact a pending one probably states; `fact` is null if there is none.",
    responses={404: {"description": "There is no such pair."}},
)
async def propose_fact(request: Request, pair_id: Id) -> dict[str, Any]:
    """Propose the fact that a pending pair states, for a reviewer to confirm."""
    service: Service = request.app.state.service

    def find(db: Database) -> tuple[pairs.Pair, domains.Domain]:
        pair = pairs.get(db, pair_id)
        return pair, domains.by_id(db, pair.domain_id)

    pair, domain = await service.store.read(find)
    found = await asyncio.to_thread(fact_proposals.propose, service.chat.search, domain, pair)
    if found is None:
        return {"object": "pair.fact", "fact": None}
    return {
        "object": "pair.fact",
        "fact": found.fact,
        "pair_id": found.pair_id,
        "prompt": found.prompt,
        "response": found.response,
        "similarity": round(found.similarity, 4),
    }


@router.post(
    "/pairs/{pair_id}/review",
    response_description="The [pair](#pair).",
    responses={404: {"description": "There is no such pair."}},
)
async def review(
    request: Request,
    pair_id: Id,
    given: ReviewRequest,
    key: Annotated[Key, Depends(auth.reviewer)],
) -> dict[str, Any]:
    """Approve, reject or quarantine a pair."""
    service: Service = request.app.state.service
    actor = auth.person(key)

    def decide(db: Database) -> pairs.Pair:
        return admin.review(db, pair_id, given.status, actor, given.fact)

    return _as_json(await service.store.submit(decide))


@router.post(
    "/pairs/{pair_id}/unmask",
    response_description="The [pair](#pair) with its words.",
    responses={
        404: {"description": "There is no such pair."},
        409: {"description": "Nothing is masked in it, or it was decided on."},
    },
)
async def unmask(
    request: Request, pair_id: Id, key: Annotated[Key, Depends(auth.reviewer)]
) -> dict[str, Any]:
    """Show the contact data and secrets that were masked in a pending pair. The audit log records
    who asked for them."""
    service: Service = request.app.state.service
    actor = auth.person(key)
    shown = await service.store.submit(lambda db: private_words.reveal(db, pair_id, actor))
    return _as_json(shown)


def _as_json(pair: pairs.Pair) -> dict[str, Any]:
    return {"object": "pair"} | asdict(pair)
