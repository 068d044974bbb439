"""`POST /v1/completions`, OpenAI's older API, as a plain ASGI route: the prompt is the question.

It is the default of clients such as llama-index. The answer comes about as in
`/v1/chat/completions`, with the same searches, adapters and records; only the form differs.
"""

import logging
import time
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import BeforeValidator, Field
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from bot.answering.chat import Delta, Ended, Started
from bot.api import completion_request, relay
from bot.api.completion_request import (
    AnswerOptions,
    AnswerRequest,
    ChatMessage,
    ChatRequest,
    Stop,
    StreamOptions,
    Word,
)
from bot.api.completions import about, answer, event, understand, usage_of
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


def _listed(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


class TextCompletionRequest(AnswerRequest):
    model: Annotated[str, Field(max_length=100)] = Field(
        description="As in `/v1/chat/completions`."
    )
    prompt: Annotated[str, BeforeValidator(_only)] = Field(
        description="The question: one text, or a list of one."
    )
    stream: bool = Field(default=False, description="Send the answer as it is written.")
    stream_options: StreamOptions | None = Field(default=None, description="Only with `stream`.")
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Default: `[bot] max_tokens`."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="Default: `[bot] temperature`."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="As in `/v1/chat/completions`."
    )
    stop: Annotated[list[Stop], BeforeValidator(_listed), Field(max_length=4)] | None = Field(
        default=None, description="One text, or up to four."
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(
        default=None, description="Makes sampling repeatable."
    )
    store: bool = Field(default=True, description="As in `/v1/chat/completions`.")
    user: Word | None = Field(
        default=None, description="The person who asks, as in `/v1/chat/completions`."
    )
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None, description="As in OpenAI's API."
    )
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None, description="As in OpenAI's API."
    )
    n: Literal[1] | None = Field(default=None, description="Only one completion is supported.")
    understudy: AnswerOptions = Field(
        default=AnswerOptions(), description="Options that OpenAI's API does not have."
    )

    def as_chat(self) -> ChatRequest:
        """The same request for `/v1/chat/completions`."""
        kept = {name: getattr(self, name) for name in self.model_fields_set}
        for name in ("prompt", "n"):
            kept.pop(name, None)
        messages = [ChatMessage(role="user", content=self.prompt)]
        return ChatRequest(messages=messages, **kept)


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
                given = completion_request.parse_as(TextCompletionRequest, body)
                return given, given.as_chat()

            headers = Headers(scope=scope)
            request, ask = await understand(self._service, headers, receive, parse)
            options = request.stream_options
            usage = options is not None and options.include_usage

            def whole(started: Started, text: str, ended: Ended) -> dict[str, Any]:
                return _head(request.model, started) | {
                    "choices": [_choice(text, ended.finish_reason)],
                    "usage": usage_of(ended),
                    "understudy": about(started),
                }

            encoder = TextChunks(request.model, usage) if request.stream else None
            ignored = completion_request.ignored_header(request)
            await answer(self._service, ask, encoder or whole, ignored, scope, receive, send)
        except relay.CallerDisconnected:
            log.info("The caller disconnected before the answer was complete")


class TextChunks:
    """Encodes an answer as a stream of text completions."""

    content_type = b"text/event-stream; charset=utf-8"

    def __init__(self, model: str, include_usage: bool) -> None:
        self._model = model
        self._include_usage = include_usage
        self._head: dict[str, Any] = {}

    def begin(self, started: Started) -> bytes:
        self._head = _head(self._model, started)
        return self._chunk(choices=[_choice("")], understudy=about(started))

    def delta(self, delta: Delta) -> bytes:
        return self._chunk(choices=[_choice(delta.text)])

    def end(self, ended: Ended) -> bytes:
        parts = [self._chunk(choices=[_choice("", ended.finish_reason)])]
        if self._include_usage:
            parts.append(event(self._head | {"choices": [], "usage": usage_of(ended)}))
        return b"".join([*parts, b"data: [DONE]\n\n"])

    def error(self, problem: Problem) -> bytes:
        """The last event of an interrupted answer; no `[DONE]` follows."""
        return b"data: " + problem.body() + b"\n\n"

    def _chunk(self, **more: Any) -> bytes:
        usage = {"usage": None} if self._include_usage else {}
        return b"data: " + orjson.dumps(self._head | usage | more) + b"\n\n"


def _head(model: str, started: Started) -> dict[str, Any]:
    return {
        "id": started.reply_id,
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
    }


def _choice(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
