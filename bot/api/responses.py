"""`POST /v1/responses`, OpenAI's newer API, as a plain ASGI route: text in, text out.

It is the default of OpenAI's and Vercel's SDKs. The answer comes about as in
`/v1/chat/completions`, with the same searches, adapters and records; only the form differs.

A response that goes on from an earlier one (`previous_response_id`) is a conversation of its own in
the store, whose key names the earlier response. So several responses can go on from the same one,
and each has exactly the history that led to it.
"""

import contextlib
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import orjson
from sqlite_utils import Database
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from bot.answering.chat import Ask, Delta, Ended, Started
from bot.api import completion_request, relay
from bot.api.completion_request import ChatRequest
from bot.api.completions import about, answer, understand
from bot.api.problems import BadField, Problem
from bot.api.response_request import REFERENCE, InputMessage, ResponseRequest
from bot.service import Service
from data.conversations import conversations
from data.conversations.conversations import Message
from data.store.errors import NotFound

log = logging.getLogger(__name__)
GOES_ON = re.compile(r"/after/(chatcmpl-[0-9a-f]{1,64})$")  # at the end of a conversation's key


class PreviousResponseNotFound(BadField):
    """`previous_response_id` names no response that this person got."""

    def __init__(self) -> None:
        super().__init__(
            "previous_response_id",
            "There is no earlier response with this id for this person. It may have been erased.",
        )


class Responses:
    """Answer a question, in the format of OpenAI's Responses API.

    With `previous_response_id`, the conversation goes on from an earlier response to the same
    person: from its question and answer, and from those of the responses before it. Other messages
    that came with an earlier `input`, and earlier `instructions`, are not stored. With `stream`,
    the answer comes as OpenAI's events; if it is interrupted, the last one is
    `response.failed`."""

    tags: ClassVar = ["Answers"]
    request_model: ClassVar = ResponseRequest
    response_description: ClassVar = (
        "OpenAI's response. Its `id` is the `reply_id` for feedback; `understudy` and the headers "
        "are as in `/v1/chat/completions`."
    )
    responses: ClassVar = {404: {"description": "There is no such model."}}

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request, ask = await self._understand(Headers(scope=scope), receive)
            response = ResponseObject(request, ask.reply_id)

            def whole(started: Started, text: str, ended: Ended) -> dict[str, Any]:
                response.about = about(started)
                return response.ended(text, ended)

            encoder = ResponseEvents(response) if request.stream else None
            headers = completion_request.ignored_header(request)
            await answer(self._service, ask, encoder or whole, headers, scope, receive, send)
        except relay.CallerDisconnected:
            log.info("The caller disconnected before the answer was complete")

    async def _understand(self, headers: Headers, receive: Receive) -> tuple[ResponseRequest, Ask]:
        def parse(body: bytes) -> tuple[ResponseRequest, ChatRequest]:
            given = completion_request.parse_as(ResponseRequest, body)
            if given.input[-1].role != "user" or not given.input[-1].content.strip():
                raise BadField("input", "The last message must be the user's, and not empty.")
            return given, given.as_chat()

        request, ask = await understand(self._service, headers, receive, parse)
        turns = self._service.settings.bot.history_turns

        def read(db: Database) -> Ask:
            said = _with_references(db, request.input[:-1], ask.person)
            if (previous := request.previous_response_id) is None:
                return replace(ask, history=said)
            earlier = history_until(db, previous, ask.person, turns)
            thread = f"{ask.thread}/after/{previous}"
            return replace(ask, thread=thread, history=(*earlier, *said))

        return request, await self._service.store.read(read)


def _with_references(
    db: Database, earlier: Sequence[InputMessage], person: str
) -> tuple[Message, ...]:
    """The earlier messages of the input, with the texts of those that are only named. Raises
    BadField."""
    found = []
    for message in earlier:
        text = message.content
        if message.type == REFERENCE:
            text = _text_of(db, message.id or "", person)
        if message.role in ("user", "assistant") and text.strip():
            found.append(Message("user" if message.role == "user" else "assistant", text))
    return tuple(found)


def _text_of(db: Database, item_id: str, person: str) -> str:
    """The text of an earlier response's message. Raises BadField."""
    reply_id, text = item_id.replace("msg_", "chatcmpl-", 1), ""
    with contextlib.suppress(NotFound):
        if conversations.reply(db, reply_id).person == person:
            text = conversations.exchange(db, reply_id)[1]
    if not text:
        raise BadField("input", "An `item_reference` names no message that this person got.")
    return text


def history_until(db: Database, reply_id: str, person: str, turns: int) -> tuple[Message, ...]:
    """The last `turns` questions and answers up to a response, the oldest first. Raises
    PreviousResponseNotFound if this person did not get the response."""
    found: list[Message] = []
    following: str | None = reply_id
    first = True
    while following is not None and (first or len(found) < 2 * turns):
        try:
            known = conversations.reply_with_question(db, following)
        except NotFound:
            known = None
        if known is None or known.reply.person != person:
            if first:
                raise PreviousResponseNotFound
            break  # erased since
        if known.text.strip() and turns:
            found = [Message("user", known.question), Message("assistant", known.text), *found]
        named = GOES_ON.search(known.thread)
        following, first = named[1] if named else None, False
    return tuple(found)


class ResponseObject:
    """OpenAI's response object, in each state of the answer."""

    def __init__(self, request: ResponseRequest, reply_id: str) -> None:
        self.about: dict[str, Any] = {}
        self.item_id = f"msg_{reply_id.removeprefix('chatcmpl-')}"
        self._head = {
            "id": reply_id,
            "object": "response",
            "created_at": int(time.time()),
            "model": request.model,
            "background": False,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "parallel_tool_calls": False,
            "previous_response_id": request.previous_response_id,
            "store": request.store,
            "temperature": request.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_p": request.top_p,
            "truncation": "auto",
            "user": request.user,
        }

    def begun(self) -> dict[str, Any]:
        return self._state("in_progress")

    def ended(self, text: str, ended: Ended) -> dict[str, Any]:
        """The response of an answer that ended, complete or at its length limit."""
        complete = ended.finish_reason != "length"
        state = "completed" if complete else "incomplete"
        used = {
            "input_tokens": ended.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": ended.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": ended.prompt_tokens + ended.completion_tokens,
        }
        reason = None if complete else {"reason": "max_output_tokens"}
        item = self.item(state, text)
        return self._state(state, output=[item], usage=used, incomplete_details=reason)

    def failed(self, problem: Problem) -> dict[str, Any]:
        error = {"code": problem.code or problem.type, "message": problem.message}
        return self._state("failed", error=error)

    def item(self, status: str, text: str | None = None) -> dict[str, Any]:
        """The message of the output; without a text while it begins."""
        content = [] if text is None else [part(text)]
        return {
            "id": self.item_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _state(self, status: str, **more: Any) -> dict[str, Any]:
        state = {"status": status, "error": None, "incomplete_details": None}
        rest: dict[str, Any] = {"output": [], "usage": None, "understudy": self.about}
        return self._head | state | rest | more


def part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class ResponseEvents:
    """Encodes an answer as the events of OpenAI's Responses API, in their order."""

    content_type = b"text/event-stream; charset=utf-8"

    def __init__(self, response: ResponseObject) -> None:
        self._response = response
        self._parts: list[str] = []
        self._number = 0
        self._place = {"item_id": response.item_id, "output_index": 0, "content_index": 0}

    def begin(self, started: Started) -> bytes:
        self._response.about = about(started)
        begun = self._response.begun()
        item = self._response.item("in_progress")
        return b"".join(
            [
                self._event("response.created", response=begun),
                self._event("response.in_progress", response=begun),
                self._event("response.output_item.added", output_index=0, item=item),
                self._event("response.content_part.added", **self._place, part=part("")),
            ]
        )

    def delta(self, delta: Delta) -> bytes:
        self._parts.append(delta.text)
        return self._event(
            "response.output_text.delta", **self._place, delta=delta.text, logprobs=[]
        )

    def end(self, ended: Ended) -> bytes:
        text = "".join(self._parts)
        response = self._response.ended(text, ended)
        (item,) = response["output"]
        return b"".join(
            [
                self._event("response.output_text.done", **self._place, text=text, logprobs=[]),
                self._event("response.content_part.done", **self._place, part=part(text)),
                self._event("response.output_item.done", output_index=0, item=item),
                self._event(f"response.{response['status']}", response=response),
            ]
        )

    def error(self, problem: Problem) -> bytes:
        """The last event of an interrupted answer."""
        return self._event("response.failed", response=self._response.failed(problem))

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"
