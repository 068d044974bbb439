"""`POST /v1/chat/completions`, compatible with OpenAI's API, as a plain ASGI route.

The `id` of the response is the reply id that `POST /v1/feedback` takes. The field `understudy` and
the header `X-Understudy-Adapter` name the adapter that answered. If it was a fallback, `instead_of`
and the header `X-Understudy-Instead-Of` name the adapter that should have answered.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import orjson
from sqlite_utils import Database
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from bot.answering.chat import Ask, Delta, Ended, Started
from bot.api import answer_request, auth, chat_programs, completion_request, models, relay
from bot.api.answer_sources import grounds_as_json
from bot.api.completion_request import ChatRequest
from bot.api.problems import Problem
from bot.service import Service
from data.conversations.conversations import new_reply_id
from data.domains import Domain
from data.people.keys import Key
from data.store.errors import Invalid

log = logging.getLogger(__name__)
T = TypeVar("T")


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

            def whole(started: Started, text: str, ended: Ended) -> dict[str, Any]:
                return _completion(request, started, text, ended)

            encoder = Chunks(request) if request.stream else None
            headers = answer_request.ignored_header(request)
            await answer(self._service, ask, encoder or whole, headers, scope, receive, send)
        except relay.CallerDisconnected:
            log.info("The caller disconnected before the answer was complete")

    async def understand(self, headers: Headers, receive: Receive) -> tuple[ChatRequest, Ask]:
        """The parsed request and its question."""

        def parse(body: bytes) -> tuple[ChatRequest, ChatRequest]:
            request = answer_request.parse(ChatRequest, body)
            return request, request

        return await understand(self._service, headers, receive, parse)


async def answer(
    service: Service,
    ask: Ask,
    shape: relay.Encoder | Callable[[Started, str, Ended], dict[str, Any]],
    headers: list[tuple[bytes, bytes]],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Send the answer: as a stream if `shape` is an encoder, or else whole, as the object that
    `shape` returns. Raises CallerDisconnected."""
    if callable(shape):
        work = service.chat.complete(ask)
        started, text, ended = await relay.unless_disconnected(receive, work)
        await _send_whole(send, shape(started, text, ended), headers, started)
    else:
        limit_s = service.settings.bot.answer_timeout_s
        events = service.chat.answer(ask)
        stream = relay.stream(scope, send, events, shape, limit_s, headers)
        await relay.unless_disconnected(receive, stream)


async def understand(
    service: Service,
    headers: Headers,
    receive: Receive,
    parse: Callable[[bytes], tuple[T, ChatRequest]],
) -> tuple[T, Ask]:
    """The parsed request and its question. `parse` turns a body into the request, and the same as a
    chat request. An invalid key is reported before anything else, so that it reveals nothing about
    the request."""
    secret = auth.bearer(headers)
    body = await relay.body(receive)
    fault: Invalid | None = None
    parsed: tuple[T, ChatRequest] | None = None
    try:
        parsed = parse(body)
    except Invalid as error:
        fault = error

    def admit(db: Database) -> tuple[Key, Domain | None, str | None]:
        key = auth.verify(db, secret)
        return (key, *models.resolve(db, parsed[1].model)) if parsed else (key, None, None)

    key, domain, pinned = await service.store.read(admit)
    if parsed is None or domain is None:
        raise fault or Invalid("The request cannot be understood.")
    given, request = parsed
    question = completion_request.question(request)
    person = auth.person(key, request.user or chat_programs.user(headers))
    reply_id = new_reply_id()
    context_tokens = service.settings.serving.max_model_len
    return given, Ask(
        person=person,
        thread=f"{person}/{reply_id}",  # callers send the whole conversation every time
        text=question.text,
        domain=domain,
        pinned=pinned,
        history=question.history,
        repetitions=True,  # what a caller sends is sent on unchanged
        system=question.system,
        sampling=completion_request.sampling(request, context_tokens),
        references=request.understudy.references,
        store=request.store,
        task=chat_programs.task(request.messages, headers),
        reply_id=reply_id,
    )


class Chunks:
    """Encodes `chat.completion.chunk` events. Everything except the text is encoded only once."""

    content_type = b"text/event-stream; charset=utf-8"

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._include_usage = request.include_usage
        self._head: dict[str, Any] = {}
        self._before = self._after = b""

    def begin(self, started: Started) -> bytes:
        self._head = {
            "id": started.reply_id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self._request.model,
        }
        usage = b',"usage":null' if self._include_usage else b""
        self._before = (
            b"data: "
            + orjson.dumps(self._head)[:-1]
            + b',"choices":[{"index":0,"delta":{"%s":'
            % (b"refusal" if is_refusal(self._request.as_json, started) else b"content")
        )
        self._after = b'},"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        first = {"role": "assistant", "content": ""}
        return self._chunk([_choice(delta=first)], understudy=about(started))

    def delta(self, delta: Delta) -> bytes:
        if delta.logprobs:
            said = {"content": delta.text}
            return self._chunk([_choice(delta=said, logprobs=_logprobs(delta))])
        return self._before + orjson.dumps(delta.text) + self._after

    def end(self, ended: Ended) -> bytes:
        parts = [self._chunk([_choice(delta={}, finish_reason=ended.finish_reason)])]
        if self._include_usage:
            parts.append(event(self._head | {"choices": [], "usage": usage_of(ended)}))
        return b"".join([*parts, b"data: [DONE]\n\n"])

    def error(self, problem: Problem) -> bytes:
        """The last event of an interrupted answer; no `[DONE]` follows."""
        return b"data: " + problem.body() + b"\n\n"

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        usage = {"usage": None} if self._include_usage else {}
        return event(self._head | {"choices": choices} | usage | more)


def _completion(request: ChatRequest, started: Started, text: str, ended: Ended) -> dict[str, Any]:
    refused = is_refusal(request.as_json, started)
    message = {
        "role": "assistant",
        "content": None if refused else text,
        "refusal": text if refused else None,
    }
    return {
        "id": started.reply_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [
            _choice(message=message, finish_reason=ended.finish_reason, logprobs=_logprobs(ended))
        ],
        "usage": usage_of(ended),
        "understudy": about(started),
    }


def is_refusal(as_json: bool, started: Started) -> bool:
    """Whether the words of a declined question stand in `refusal`, as in OpenAI's API, because
    whoever wants JSON would take them for it."""
    return as_json and started.outcome == "declined"


def _logprobs(told: Delta | Ended) -> dict[str, Any] | None:
    return {"content": told.logprobs, "refusal": None} if told.logprobs else None


def _choice(**more: Any) -> dict[str, Any]:
    return {"index": 0, "logprobs": None, "finish_reason": None} | more


def about(started: Started) -> dict[str, Any]:
    """The field `understudy`."""
    return {
        "adapter": started.adapter or None,
        "variant": started.variant,
        "instead_of": started.instead_of,
        "precision": started.precision,
        "reply_id": None if started.task else started.reply_id,
        "history_dropped": started.history_dropped,
        **grounds_as_json(started),
    }


def usage_of(ended: Ended) -> dict[str, int]:
    return {
        "prompt_tokens": ended.prompt_tokens,
        "completion_tokens": ended.completion_tokens,
        "total_tokens": ended.prompt_tokens + ended.completion_tokens,
    }


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


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
