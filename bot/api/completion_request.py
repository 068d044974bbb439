"""The fields that `POST /v1/chat/completions` accepts, and the question that they ask."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bot.api.answer_request import SampledRequest, StrictModel, Word
from bot.api.problems import BadField
from bot.api.tool_fields import CallId, MessageCall, Tool, ToolChoice
from data.conversations.conversations import Message

LAST = (
    "The last message must have the role 'user', or be what a tool returned, if the chat template "
    "of the base model has a place for that."
)
SYSTEM = ("system", "developer")


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
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str, BeforeValidator(_joined)]
    name: Word | None = Field(default=None, description="Accepted and not used; see `user`.")
    tool_calls: Annotated[list[MessageCall], Field(max_length=128)] | None = Field(
        default=None, description="The calls in an earlier answer."
    )
    tool_call_id: CallId | None = Field(
        default=None, description="In a `tool` message: the call whose result it is."
    )

    @property
    def as_history(self) -> Message:
        role: Literal["user", "assistant"] = "user" if self.role == "user" else "assistant"
        calls = tuple(call.model_dump() for call in self.tool_calls or ())
        return Message(role, self.content, calls, self.tool_call_id or "")

    @property
    def says_something(self) -> bool:
        return bool(self.content.strip() or self.tool_calls or self.role == "tool")


class ChatRequest(SampledRequest):
    messages: Annotated[list[ChatMessage], Field(min_length=1)] = Field(
        description="Each has a `role` (`system`, `developer`, `user`, `assistant` or `tool`) and "
        "a `content` (text, or parts of type `text`). The last one must be the user's, or what a "
        "tool returned; `system` messages may follow."
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
    tools: Annotated[list[Tool], Field(max_length=128)] | None = Field(
        default=None, description="Functions that the model may call, or must."
    )
    tool_choice: ToolChoice | None = Field(
        default=None,
        description="`none`, `required`, or a function by its name. `auto`, the default with "
        "`tools`, needs `[serving] tool_call_parser`.",
    )
    parallel_tool_calls: bool | None = Field(
        default=None, description="`false`: at most one call. Only if calls are demanded."
    )


@dataclass(frozen=True)
class CompletionQuestion:
    """The messages of a request, split into question, history and system prompt."""

    text: str
    history: tuple[Message, ...]
    system: str | None  # None: the domain's system prompt
    after: tuple[Message, ...] = ()  # calls of tools for the question, and what they returned


def question(request: ChatRequest, field: str = "messages") -> CompletionQuestion:
    """Take the last message of the user as the question and the earlier ones as history. Only
    calls of tools and their results may follow it. System messages at the end belong to the system
    prompt. If the question before them was answered already, it is asked again, with its answer in
    the history. `field`: where the messages stood in the request. Raises BadField."""
    said = [m for m in request.messages if m.role not in SYSTEM]
    roles = [m.role for m in said]
    told = request.messages[-1].role in SYSTEM
    answered = told and roles[-1:] == ["assistant"] and said[-1].says_something
    if "user" not in roles or not (answered or roles[-1] in ("user", "tool")):
        raise BadField(field, LAST)
    at = len(roles) - 1 - roles[::-1].index("user")
    earlier, last, after = said[:at], said[at], said[at + 1 :]
    if not last.content.strip():
        raise BadField(field, "The last message is empty.")
    for number, message in enumerate(request.messages):
        if message.role == "tool" and message.tool_call_id is None:
            where = f"{field}.{number}.tool_call_id"
            raise BadField(where, f"'{where}' is missing: the call whose result this is.")
    if answered:
        earlier, after = said, []
    if not all(m.role == "tool" or m.tool_calls for m in after):
        raise BadField(field, LAST)
    system = [m.content for m in request.messages if m.role in SYSTEM]
    return CompletionQuestion(
        last.content,
        tuple(m.as_history for m in earlier if m.says_something),
        "\n\n".join(system) if system else None,
        tuple(m.as_history for m in after),
    )


def instruction(request: ChatRequest) -> CompletionQuestion:
    """Take the last message as what is asked, although it is a system message, as some chat
    programs ask for a summary of the conversation."""
    *earlier, last = request.messages
    system = [m.content for m in earlier if m.role in SYSTEM]
    said = tuple(m.as_history for m in earlier if m.role not in SYSTEM and m.says_something)
    return CompletionQuestion(last.content, said, "\n\n".join(system) if system else None)


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
