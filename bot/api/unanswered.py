"""`/v1/unanswered`: the questions that the bot declined. For reviewers."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from bot.answering import unanswered_groups
from bot.answering.unanswered_groups import UnansweredGroup
from bot.api import auth
from bot.api.domain_field import DomainName, domain_of
from bot.service import Service
from data.pairs.pairs import MAX_CHARS
from data.people.keys import Key
from data.store.clock import iso

T = TypeVar("T")
router = APIRouter(tags=["Unanswered questions"])
Reviewer = Annotated[Key, Depends(auth.reviewer)]
Id = Annotated[str, Path(max_length=100)]


class GivenAnswer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    response: Annotated[str, Field(min_length=1, max_length=MAX_CHARS)] = Field(
        description="The answer."
    )
    question: Annotated[str, Field(max_length=MAX_CHARS)] = Field(
        default="", description="Better words for the question. Default: those of its asker."
    )
    domain: DomainName | None = None


class Dismissal(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: DomainName | None = None


@router.get(
    "/unanswered",
    dependencies=[Depends(auth.reviewer)],
    response_description="A list of groups, each with `id`, `question`, `people` (how many asked), "
    "`times`, `want_person` (how many want a person to answer), `last_at` and `draft`, the nearest "
    "approved answer.",
    responses={404: {"description": "There is no such domain."}},
)
async def list_unanswered(request: Request, domain: DomainName | None = None) -> dict[str, Any]:
    """List the questions that a domain declined, in groups of the same meaning."""
    found = await _in_groups(request, domain, unanswered_groups.list_groups)
    return {"object": "list", "data": [_as_json(group) for group in found]}


@router.post(
    "/unanswered/{group_id}/answer",
    response_description="The id of the approved pair, as `pair_id`.",
    responses={404: {"description": "There is no such open question."}},
)
async def answer(
    request: Request, group_id: Id, given: GivenAnswer, key: Reviewer
) -> dict[str, Any]:
    """Make an approved pair of a question. It answers from the next question on."""
    words = (given.response, auth.person(key), given.question)
    pair = await _in_groups(request, given.domain, unanswered_groups.answer, group_id, *words)
    return {"object": "unanswered.answer", "pair_id": pair.id}


@router.post(
    "/unanswered/{group_id}/dismiss",
    response_description="The number of questions that were dismissed.",
    responses={404: {"description": "There is no such open question."}},
)
async def dismiss(
    request: Request, group_id: Id, given: Dismissal, key: Reviewer
) -> dict[str, Any]:
    """Take a question off the list without an answer."""
    who = auth.person(key)
    count = await _in_groups(request, given.domain, unanswered_groups.dismiss, group_id, who)
    return {"object": "unanswered.dismissal", "questions": count}


async def _in_groups(
    request: Request, domain: str | None, do: Callable[..., T], *arguments: str
) -> T:
    """Call a function about the groups of a domain in a thread, because it searches."""
    service: Service = request.app.state.service
    subject = await service.store.read(lambda db: domain_of(db, domain))
    return await asyncio.to_thread(do, service.store, service.chat.search, subject, *arguments)


def _as_json(group: UnansweredGroup) -> dict[str, Any]:
    return {
        "object": "unanswered",
        "id": group.id,
        "question": group.question,
        "people": group.people,
        "times": len(group.questions),
        "want_person": group.want_person,
        "last_at": iso(group.last_at),
        "draft": None if group.draft is None else group.draft.response,
    }
