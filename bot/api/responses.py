"""`POST /v1/responses`, OpenAI's newer API, as a plain ASGI route: text in, text or calls out.

It is the default of OpenAI's and Vercel's SDKs. The answer comes about as in
`/v1/chat/completions`, with the same searches, adapters and records; only the form differs.

A response that goes on from an earlier one (`previous_response_id`) is a conversation of its own in
the store, whose key names the earlier response. So several responses can go on from the same one,
and each has exactly the history that led to it.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from sqlite_utils import Database
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from bot.answering.prompt import Ask
from bot.answering.several import WholeAnswer
from bot.api import answer_request, relay
from bot.api.completion_request import ChatRequest
from bot.api.completions import answer, understand
from bot.api.problems import BadField
from bot.api.response_input import conversation
from bot.api.response_object import ResponseEvents, ResponseObject
from bot.api.response_request import LOGPROBS, NEEDED, ResponseRequest
from bot.service import Service

log = logging.getLogger(__name__)


class Responses:
    """Answer a question, in the format of OpenAI's Responses API.

    With `previous_response_id`, the conversation goes on from an earlier response to the same
    person: from its question and answer, and from those of the responses before it. Other messages
    that came with an earlier `input`, what tools returned, and earlier `instructions`, are not
    stored. With `stream`,
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
        chat = self._service.chat
        turns = self._service.settings.bot.history_turns

        def parse(body: bytes) -> tuple[ResponseRequest, ChatRequest]:
            given = answer_request.parse(ResponseRequest, body)
            if given.tools and given.text.format.type != "text":
                raise BadField("text.format", "Give either 'tools' or a 'text.format'.")
            if given.top_logprobs and LOGPROBS not in (given.include or ()):
                raise BadField(
                    "top_logprobs", f"'top_logprobs' requires '{LOGPROBS}' in 'include'."
                )
            if not chat.takes_tool_messages and any(item.type in NEEDED for item in given.input):
                given.ignore("input.function_call")
            return given, given.as_chat()

        def complete(
            db: Database, given: ResponseRequest, request: ChatRequest, person: str
        ) -> ChatRequest:
            with_tools = chat.takes_tool_messages
            said = conversation(db, given, person, turns, with_tools=with_tools)
            return request.model_copy(update={"messages": said})

        understood = await understand(self._service, headers, receive, parse, complete, "input")
        request, ask = understood
        if (previous := request.previous_response_id) is not None:
            ask = replace(ask, thread=f"{ask.thread}/after/{previous}")
        return request, ask
