"""`GET` and `DELETE /v1/responses/{id}`: an earlier response, from what the store keeps of it.

A key sees the responses to its own people. The store keeps neither the instructions nor the
settings of a request, so these have their defaults in the response.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlite_utils import Database

from bot.answering import tool_use
from bot.answering.events import Ended, Started
from bot.api import auth
from bot.api.problems import Problem
from bot.api.rate_bounds import bound_key_writes
from bot.api.response_input import response_before
from bot.api.response_object import ResponseObject
from bot.api.response_request import ResponseRequest
from bot.service import Service
from data import domains
from data.adapters import registry
from data.conversations import conversations
from data.conversations.conversations import Reply
from data.experiments import experiments
from data.pairs import reply_sources
from data.people.keys import Key
from data.privacy import answer_words, erasure
from data.store.errors import Conflict, NotFound

router = APIRouter(tags=["Answers"], dependencies=[Depends(bound_key_writes)])
NO_SUCH: dict[int | str, dict[str, Any]] = {
    404: {"description": "No response with this id is stored for a person of this key."}
}
SCRUB_ATTEMPTS = 4  # what other readers still hold back is overwritten later
STOPPED = {"partial": "incomplete", "cancelled": "cancelled"}


@dataclass(frozen=True)
class _Stored:
    reply: Reply
    question: str
    text: str


@router.get(
    "/responses/{response_id}",
    response_description="OpenAI's response. `model` is the domain. Neither `instructions` nor the "
    "settings of the request are stored; they have their defaults here.",
    responses=NO_SUCH,
)
async def retrieve(
    request: Request, response_id: str, key: Annotated[Key, Depends(auth.member)]
) -> dict[str, Any]:
    """Show an earlier response."""
    service: Service = request.app.state.service
    return await service.store.read(lambda db: _object(db, _find(db, response_id, key)))


@router.delete(
    "/responses/{response_id}",
    response_description="`id`, and `deleted: true`.",
    responses=NO_SUCH | {409: {"description": "It is still being written."}},
)
async def delete(
    request: Request, response_id: str, key: Annotated[Key, Depends(auth.member)]
) -> dict[str, Any]:
    """Delete the words of an earlier response: its question and its answer. The figures stay, as
    with `store: false`."""
    service: Service = request.app.state.service

    def erase(db: Database) -> None:
        found = _find(db, response_id, key)
        if found.reply.status == "streaming":
            raise Conflict("This response is still being written.")
        answer_words.erase(db, found.reply.id)

    await service.store.submit(erase)
    await service.store.read(lambda db: erasure.scrub(db, SCRUB_ATTEMPTS))
    return {"id": response_id, "object": "response", "deleted": True}


def _find(db: Database, response_id: str, key: Key) -> _Stored:
    """Raises NotFound."""
    try:
        reply = conversations.reply(db, response_id)
        question, text = conversations.exchange(db, response_id)
    except NotFound:
        question = ""
    if not question or not auth.speaks_for(key, reply.person):
        raise NotFound("No response with this id is stored for a person of this key.")
    return _Stored(reply, question, text)


def _object(db: Database, stored: _Stored) -> dict[str, Any]:
    reply = stored.reply
    request = ResponseRequest.model_validate(
        {
            "model": domains.by_id(db, reply.domain_id).name,
            "input": stored.question,
            "previous_response_id": response_before(db, reply.conversation_id),
        }
    )
    response = ResponseObject(request, reply.id, reply.created_at // 1_000_000)
    begun = response.begin(_started(db, reply))
    called = reply.finish_reason == tool_use.CALLED
    text, calls = tool_use.from_text(stored.text) if called else (stored.text, ())
    tokens = reply.prompt_tokens, reply.completion_tokens
    ended = Ended(reply.finish_reason or "stop", *tokens, tool_calls=calls)
    match reply.status:
        case "streaming":
            return begun
        case "failed":
            return response.failed(Problem(503, "service_unavailable_error", reply.error))
        case "done":
            return response.ended(text, ended)
        case _:
            return response.ended(text, ended, STOPPED[reply.status])


def _started(db: Database, reply: Reply) -> Started:
    def name(adapter_id: int | None) -> str | None:
        return None if adapter_id is None else registry.by_id(db, adapter_id).name

    label = None
    if reply.variant_id is not None:
        compared = experiments.get(db, experiments.of_variant(db, reply.variant_id))
        label = next(v.label for v in compared.variants if v.id == reply.variant_id)
    return Started(
        reply.id,
        name(reply.adapter_id) or ("base" if reply.replica else ""),
        label,
        reply.precision,
        name(reply.instead_of),
        reply.outcome,
        reply.layout,
        reply_sources.of_reply(db, reply.id),
        confidence=reply.confidence,
        uncertain=reply.uncertain,
    )
