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
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from sqlite_utils import Database
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from bot.answering.chat import Ask
from bot.answering.several import WholeAnswer
from bot.api import answer_request, relay
from bot.api.completion_request import ChatRequest
from bot.api.completions import answer, understand
from bot.api.problems import BadField
from bot.api.response_object import ResponseEvents, ResponseObject
from bot.api.response_request import REFERENCE, InputMessage, ResponseRequest
from bot.service import Service
from data.conversations import conversations
from data.conversations.conversations import Message
from data.store.db import value
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

            def whole(answers: Sequence[WholeAnswer]) -> dict[str, Any]:
                (only,) = answers
                response.begin(only.started)
                return response.ended(only.text, only.ended)

            encoder = ResponseEvents(response) if request.stream else None
            headers = answer_request.ignored_header(request)
            await answer(self._service, 1, ask, encoder or whole, headers, scope, receive, send)
        except relay.CallerDisconnected:
            log.info("The caller disconnected before the answer was complete")

    async def _understand(self, headers: Headers, receive: Receive) -> tuple[ResponseRequest, Ask]:
        def parse(body: bytes) -> tuple[ResponseRequest, ChatRequest]:
            given = answer_request.parse(ResponseRequest, body)
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
        following, first = _named_in(known.thread), False
    return tuple(found)


def response_before(db: Database, conversation_id: int) -> str | None:
    """The response from which a conversation goes on, if it does."""
    thread = value(db, "SELECT thread FROM conversations WHERE id = ?", [conversation_id])
    return _named_in(str(thread))


def _named_in(thread: str) -> str | None:
    found = GOES_ON.search(thread)
    return found[1] if found else None
