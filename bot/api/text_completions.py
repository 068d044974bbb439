"""`POST /v1/completions`, OpenAI's older API, as a plain ASGI route: the prompt is the question.

It is the default of clients such as llama-index. The answer comes about as in
`/v1/chat/completions`, with the same searches, adapters and records; only the form differs.
"""

import logging
import time
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import BeforeValidator, Field
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from bot.answering.events import Delta, Ended, Event, Started
from bot.answering.several import Choice, WholeAnswer
from bot.api import answer_request, relay
from bot.api.answer_request import SampledRequest, fields_in_common
from bot.api.completion_object import (
    about,
    each_about,
    event,
    is_refusal,
    usage_of,
    usage_of_all,
)
from bot.api.completion_request import ChatMessage, ChatRequest
from bot.api.completions import answer, understand
from bot.api.problems import Problem
from bot.service import Service

log = logging.getLogger(__name__)


def _only(prompt: Any) -> Any:
    """The prompt of a list of one."""
    if isinstance(prompt, list):
        if len(prompt) != 1 or not isinstance(prompt[0], str):
            raise ValueError("send one text; lists of texts and tokens are not supported")
        return prompt[0]
    return prompt


class TextCompletionRequest(SampledRequest):
    prompt: Annotated[str, BeforeValidator(_only)] = Field(
        description="The question: one text, or a list of one."
    )

    def as_chat(self) -> ChatRequest:
        """The same request for `/v1/chat/completions`."""
        messages = [ChatMessage(role="user", content=self.prompt)]
        return ChatRequest(messages=messages, **fields_in_common(self, ChatRequest))


class TextCompletions:
    """Answer a question, in the format of OpenAI's older Completions API.

    `prompt` is the question. A conversation, or a system prompt, needs `/v1/chat/completions`."""

    tags: ClassVar = ["Answers"]
    request_model: ClassVar = TextCompletionRequest
    response_description: ClassVar = (
        "OpenAI's text completion. Its `id` is the `reply_id` for feedback; `understudy` and the "
        "headers are as in `/v1/chat/completions`."
    )
    responses: ClassVar = {404: {"description": "There is no such model."}}

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:

            def parse(body: bytes) -> tuple[TextCompletionRequest, ChatRequest]:
                given = answer_request.parse(TextCompletionRequest, body)
                return given, given.as_chat()

            headers = Headers(scope=scope)
            request, ask = await understand(self._service, headers, receive, parse)

            def whole(answers: Sequence[WholeAnswer]) -> dict[str, Any]:
                return _completion(request, answers)

            encoder = TextChunks(request) if request.stream else None
            ignored = answer_request.ignored_header(request)
            asked = request.choices, ask
            await answer(self._service, *asked, encoder or whole, ignored, scope, receive, send)
        except relay.CallerDisconnected:
            log.info("The caller disconnected before the answer was complete")


class TextChunks:
    """Encodes an answer as a stream of text completions."""

    content_type = b"text/event-stream; charset=utf-8"

    def __init__(self, request: TextCompletionRequest) -> None:
        self._request = request
        self._head: dict[str, Any] = {}
        self._started: dict[int, Started] = {}

    def begin(self, started: Started) -> bytes:
        self._head = _head(self._request.model, started)
        if self._request.choices > 1:
            return b""  # each choice begins by itself
        return self._of(0, started)

    def delta(self, delta: Delta | Choice) -> bytes:
        if isinstance(delta, Choice):
            return self._of(delta.index, delta.event)
        return self._of(0, delta)

    def end(self, ended: Ended) -> bytes:
        parts = [] if self._request.choices > 1 else [self._of(0, ended)]
        if self._request.include_usage:
            parts.append(event(self._head | {"choices": [], "usage": usage_of(ended)}))
        return b"".join([*parts, b"data: [DONE]\n\n"])

    def _of(self, index: int, told: Event) -> bytes:
        """A chunk of one choice."""
        match told:
            case Started():
                self._started[index] = told
                return self._chunk(choices=[_choice(index, {"text": ""})], understudy=about(told))
            case Delta():
                said = _said(self._request, self._started[index], told.text)
                return self._chunk(choices=[_choice(index, said)])
            case Ended():
                return self._chunk(choices=[_choice(index, {"text": ""}, told.finish_reason)])

    def error(self, problem: Problem) -> bytes:
        """The last event of an interrupted answer; no `[DONE]` follows."""
        return b"data: " + problem.body() + b"\n\n"

    def _chunk(self, **more: Any) -> bytes:
        usage = {"usage": None} if self._request.include_usage else {}
        return b"data: " + orjson.dumps(self._head | usage | more) + b"\n\n"


def _head(model: str, started: Started) -> dict[str, Any]:
    return {
        "id": started.reply_id,
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
    }


def _completion(request: TextCompletionRequest, answers: Sequence[WholeAnswer]) -> dict[str, Any]:
    def choice(index: int, answer: WholeAnswer) -> dict[str, Any]:
        said = _said(request, answer.started, answer.text)
        return _choice(index, said, answer.ended.finish_reason) | each_about(answers, answer)

    return _head(request.model, answers[0].started) | {
        "choices": [choice(index, answer) for index, answer in enumerate(answers)],
        "usage": usage_of_all(answers),
        "understudy": about(answers[0].started),
    }


def _said(request: TextCompletionRequest, started: Started, text: str) -> dict[str, str]:
    """The text, or the words of a declined question, which nobody may take for JSON."""
    if is_refusal(request.as_json, started):
        return {"text": "", "refusal": text}
    return {"text": text}


def _choice(index: int, said: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": index, **said, "logprobs": None, "finish_reason": finish_reason}
