"""`POST /v1/chat/completions`, compatible with OpenAI's API, as a plain ASGI route.

The `id` of the response is the reply id that `POST /v1/feedback` takes. The field `understudy` and
the header `X-Understudy-Adapter` name the adapter that answered. If it was a fallback, `instead_of`
and the header `X-Understudy-Instead-Of` name the adapter that should have answered.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import orjson
from sqlite_utils import Database
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from bot.answering import several
from bot.answering.events import Started
from bot.answering.prompt import Ask
from bot.answering.several import WholeAnswer
from bot.api import answer_request, auth, chat_programs, completion_request, models, relay
from bot.api.completion_object import Chunks, whole
from bot.api.completion_request import ChatRequest
from bot.api.problems import BadField
from bot.api.tool_fields import tools_of
from bot.service import Service
from data.conversations.conversations import new_reply_id
from data.domains import Domain
from data.store.errors import Invalid

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Admitted(Generic[T]):
    """A request whose key is valid."""

    given: T
    request: ChatRequest
    person: str
    domain: Domain
    pinned: str | None  # the model that it names, unless that is the domain


class Completions:
    """Answer a question, in the format of OpenAI's Chat Completions API.

    The last message is the question, the earlier ones are its history. With `stream`, the answer
    comes as server-sent events; if it is interrupted, the last event is an error and no `[DONE]`
    follows."""

    tags: ClassVar = ["Answers"]
    request_model: ClassVar = ChatRequest
    response_description: ClassVar = (
        "OpenAI's completion. Its `id` is the `reply_id` for feedback. `understudy` names the "
        "`adapter` that answered, its `variant` in a comparison, and in `instead_of` the adapter "
        "that could not answer, if a fallback did. The headers `X-Understudy-Adapter` and "
        "`X-Understudy-Instead-Of` say the same; `X-Understudy-Ignored` names the fields of the "
        "request that have no effect. `outcome` is `generated`, `quoted` (an approved "
        "answer, word for word), `declined`, `small_talk` or `task` (a title or the like that a "
        "chat program asks for by itself; it is not recorded, so `reply_id` is null). `sources` "
        "are the approved pairs that the answer rests on, each with `pair_id`, `prompt`, "
        "`approved_by`, `approved_at` and `similarity`; `references_sent` says whether the model "
        "was given them. `nearest` are the questions to ask instead of a declined one; "
        "if the answer had to be JSON, the words of a declined one are the message's `refusal`. "
        "`confidence` is the probability that the best source answers the question (null where it "
        "is not known), and `uncertain` marks an answer that may well not be the right one. "
        "`history_dropped` is the number of earlier messages that were left out, the oldest first, "
        "because the conversation does not fit into the model's context."
    )
    responses: ClassVar = {404: {"description": "There is no such model."}}

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request, ask = await self.understand(Headers(scope=scope), receive)

            def shape(answers: Sequence[WholeAnswer]) -> dict[str, Any]:
                return whole(request, answers)

            encoder = Chunks(request) if request.stream else None
            headers = answer_request.ignored_header(request)
            asked = request.choices, ask
            await answer(self._service, *asked, encoder or shape, headers, scope, receive, send)
        except relay.CallerDisconnected:
            log.info("The caller disconnected before the answer was complete")

    async def understand(self, headers: Headers, receive: Receive) -> tuple[ChatRequest, Ask]:
        """The parsed request and its question."""

        with_tools = self._service.chat.takes_tool_messages

        def parse(body: bytes) -> tuple[ChatRequest, ChatRequest]:
            request = answer_request.parse(ChatRequest, body, with_tools=with_tools)
            return request, request

        return await understand(self._service, headers, receive, parse)


async def answer(
    service: Service,
    count: int,
    ask: Ask,
    shape: relay.Encoder[Any] | Callable[[Sequence[WholeAnswer]], dict[str, Any]],
    headers: list[tuple[bytes, bytes]],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Send `count` answers: as a stream if `shape` is an encoder, or else whole, as the object that
    `shape` returns. Raises CallerDisconnected."""
    if callable(shape):
        work = several.complete(service.chat, ask, count)
        answers = await relay.unless_disconnected(receive, work)
        await _send_whole(send, shape(answers), headers, answers[0].started)
    else:
        limit_s = service.settings.bot.answer_timeout_s
        events = several.stream(service.chat, ask, count) if count > 1 else service.chat.answer(ask)
        stream = relay.stream(scope, send, events, shape, limit_s, headers)
        await relay.unless_disconnected(receive, stream)


async def understand(
    service: Service,
    headers: Headers,
    receive: Receive,
    parse: Callable[[bytes], tuple[T, ChatRequest]],
    complete: Callable[[Database, T, ChatRequest, str], ChatRequest] | None = None,
    field: str = "messages",
) -> tuple[T, Ask]:
    """The parsed request and its question. `parse` turns a body into the request, and the same as a
    chat request. `complete` gives this the messages that are only named, for the person who asks.
    `field`: where the messages stand in the body. An invalid key is reported before anything else,
    so that it reveals nothing about the request."""
    secret = auth.bearer(headers)
    body = await relay.body(receive)
    fault: Invalid | None = None
    parsed: tuple[T, ChatRequest] | None = None
    try:
        parsed = parse(body)
    except Invalid as error:
        fault = error

    def admit(db: Database) -> Admitted[T] | None:
        key = auth.verify(db, secret)
        if parsed is None:
            return None
        given, request = parsed
        domain, pinned = models.resolve(db, request.model)
        person = auth.person(key, request.user or chat_programs.user(headers))
        if complete is not None:
            request = complete(db, given, request, person)
        return Admitted(given, request, person, domain, pinned)

    admitted = await service.store.read(admit)
    if admitted is None:
        raise fault or Invalid("The request cannot be understood.")
    request, person = admitted.request, admitted.person
    task = chat_programs.task(request.messages, headers)
    at_the_end = task is not None and request.messages[-1].role == "system"
    question = (
        completion_request.instruction(request)
        if at_the_end
        else completion_request.question(request, field)
    )
    reply_id = new_reply_id()
    serving = service.settings.serving
    tools = tools_of(
        request.tools,
        request.tool_choice,
        parallel=request.parallel_tool_calls is not False,
        has_parser=bool(serving.tool_call_parser),
    )
    sampling = completion_request.sampling(request, serving.max_model_len)
    if tools is not None:
        if request.as_json:
            raise BadField("response_format", "Give either 'tools' or 'response_format'.")
        sampling |= tools.sampling
    return admitted.given, Ask(
        person=person,
        thread=f"{person}/{reply_id}",  # callers send the whole conversation every time
        text=question.text,
        domain=admitted.domain,
        pinned=admitted.pinned,
        history=question.history,
        repetitions=True,  # what a caller sends is sent on unchanged
        system=question.system,
        sampling=sampling,
        tools=tools,
        after=question.after,
        references=request.understudy.references,
        store=request.store,
        task=task,
        reply_id=reply_id,
    )


async def _send_whole(
    send: Send, completion: dict[str, Any], more: list[tuple[bytes, bytes]], started: Started
) -> None:
    body = orjson.dumps(completion)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *relay.adapter_headers(started),
        *more,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
