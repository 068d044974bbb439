"""The fields that `POST /v1/chat/completions` accepts, and the question that they ask."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bot.api.answer_request import SampledRequest, StrictModel, Word
from bot.api.problems import BadField
from data.conversations.conversations import Message


class TextPart(StrictModel):
    type: Literal["text"]
    text: str


def _joined(content: Any) -> Any:
    """Join content that consists of text parts into one string."""
    if not isinstance(content, list):
        return content
    parts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise ValueError("only content parts of type 'text' are supported")
        parts.append(TextPart.model_validate(part).text)
    return "".join(parts)


class ChatMessage(StrictModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_joined)]
    name: Word | None = Field(default=None, description="Accepted and not used; see `user`.")


class ChatRequest(SampledRequest):
    messages: Annotated[list[ChatMessage], Field(min_length=1)] = Field(
        description="Each has a `role` (`system`, `developer`, `user` or `assistant`) and a "
        "`content` (text, or parts of type `text`). The last one must be the user's."
    )
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The same as `max_tokens`. If both are given, this one applies."
    )
    logprobs: bool | None = Field(
        default=None, description="Tell the log probability of each token of a generated answer."
    )
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None, description="And of so many of the likeliest tokens in its place."
    )


@dataclass(frozen=True)
class CompletionQuestion:
    """The messages of a request, split into question, history and system prompt."""

    text: str
    history: tuple[Message, ...]
    system: str | None  # None: the domain's system prompt


def question(request: ChatRequest) -> CompletionQuestion:
    """Take the last message as the question and the earlier ones as history. Raises BadField."""
    *earlier, last = request.messages
    if last.role != "user":
        raise BadField("messages", "The last message must have the role 'user'.")
    if not last.content.strip():
        raise BadField("messages", "The last message is empty.")
    system = [m.content for m in earlier if m.role in ("system", "developer")]
    history = tuple(
        Message("user" if m.role == "user" else "assistant", m.content)
        for m in earlier
        if m.role in ("user", "assistant") and m.content.strip()
    )
    return CompletionQuestion(last.content, history, "\n\n".join(system) if system else None)


def sampling(request: ChatRequest, context_tokens: int) -> dict[str, Any]:
    """The sampling settings of the request. An answer cannot exceed `context_tokens`, so a larger
    limit is lowered to it."""
    if request.stream_options is not None and not request.stream:
        raise BadField("stream_options", "'stream_options' requires \"stream\": true.")
    if request.top_logprobs and not request.logprobs:
        raise BadField("top_logprobs", "'top_logprobs' requires \"logprobs\": true.")
    limit = request.max_completion_tokens or request.max_tokens
    template = request.chat_template_kwargs
    settings = {
        "max_tokens": min(limit, context_tokens) if limit else None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": tuple(request.stop) if request.stop else None,
        "seed": request.seed,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "top_k": max(0, request.top_k) if request.top_k is not None else None,
        "min_p": request.min_p,
        "logprobs": request.top_logprobs or 0 if request.logprobs else None,
        "logit_bias": request.logit_bias or None,
        "response_format": request.response_format and request.response_format.for_engine,
        "chat_template_kwargs": template.model_dump(exclude_none=True) if template else None,
    }
    return {name: value for name, value in settings.items() if value is not None}
