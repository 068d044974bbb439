"""The fields that `POST /v1/chat/completions` accepts: an allow-list of OpenAI's fields.

A field that would change the answer but is not supported is refused by name, never ignored.
`inert_fields.py` has the fields that change nothing. `null` means the same as an absent field.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
)

from bot.api import inert_fields
from bot.api.problems import BadField, first_fault
from bot.api.response_format import ResponseFormat
from data.conversations.conversations import Message
from data.store.errors import Invalid

MAX_USER = 256

Word = Annotated[str, Field(max_length=MAX_USER)]
TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Stop = Annotated[str, Field(min_length=1, max_length=256)]


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


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


def _listed(stop: Any) -> Any:
    """Turn a single stop string into a list."""
    return [stop] if isinstance(stop, str) else stop


class ChatMessage(StrictModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_joined)]
    name: Word | None = Field(default=None, description="Accepted and not used; see `user`.")


class StreamOptions(StrictModel):
    include_usage: bool = Field(default=False, description="Send the token counts last.")
    include_obfuscation: bool = Field(default=False, description="Accepted and not used.")


class AnswerOptions(StrictModel):
    references: bool = Field(
        default=True,
        description="`false`: do not search the approved pairs. The adapter, or the bare base "
        "model, answers alone, and nothing is declined.",
    )


class AnswerRequest(StrictModel):
    """A request for an answer, in any form of OpenAI's API."""

    _ignored: tuple[str, ...] = PrivateAttr(default=())

    @property
    def ignored(self) -> tuple[str, ...]:
        """The names of the fields that were sent and have no effect here."""
        return self._ignored


M = TypeVar("M", bound=AnswerRequest)


class ChatRequest(AnswerRequest):
    model: Annotated[str, Field(max_length=100)] = Field(
        description="A domain, such as `travel`: the comparison or the live adapter answers. Or "
        "`travel@3` (that version) or `travel@base` (the base model without an adapter)."
    )
    messages: Annotated[list[ChatMessage], Field(min_length=1)] = Field(
        description="Each has a `role` (`system`, `developer`, `user` or `assistant`) and a "
        "`content` (text, or parts of type `text`). The last one must be the user's."
    )
    stream: bool = Field(default=False, description="Send the answer as it is written.")
    stream_options: StreamOptions | None = Field(default=None, description="Only with `stream`.")
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Default: `[bot] max_tokens`."
    )
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The same as `max_tokens`. If both are given, this one applies."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="Default: `[bot] temperature`."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Nucleus sampling: the probability mass to sample from."
    )
    logprobs: bool | None = Field(
        default=None, description="Tell the log probability of each token of a generated answer."
    )
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None, description="And of so many of the likeliest tokens in its place."
    )
    top_k: Annotated[int, Field(ge=-1, le=100_000)] | None = Field(
        default=None, description="Sample from so many tokens. `0` or `-1`: from all."
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Leave out tokens that are less likely than this share of the likeliest one.",
    )
    logit_bias: (
        Annotated[dict[TokenId, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=300)]
        | None
    ) = Field(default=None, description="Token ids, and what is added to their logits.")
    stop: Annotated[list[Stop], BeforeValidator(_listed), Field(max_length=4)] | None = Field(
        default=None, description="One text, or up to four."
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(
        default=None, description="Makes sampling repeatable."
    )
    store: bool = Field(
        default=True,
        description="`false`: the words of the question and the answer are not stored, only "
        "figures: who asked, when, which adapter answered, and how long it took.",
    )
    user: Word | None = Field(
        default=None,
        description="The person who asks, among the people of the key. A person keeps their "
        "variant of a comparison.",
    )
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None, description="As in OpenAI's API."
    )
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None, description="As in OpenAI's API."
    )
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = Field(
        default=None, description="Accepted and not used."
    )
    response_format: ResponseFormat | None = Field(
        default=None, description="Answers as JSON: `json_object`, or `json_schema` with a schema."
    )
    understudy: AnswerOptions = Field(
        default=AnswerOptions(), description="Options that OpenAI's API does not have."
    )
    n: Literal[1] | None = Field(default=None, description="Only one completion is supported.")

    @property
    def as_json(self) -> bool:
        """Whether the answer must be JSON."""
        return self.response_format is not None and self.response_format.type != "text"


def ignored_header(request: AnswerRequest) -> list[tuple[bytes, bytes]]:
    """The header that names the fields without effect; none if there are none. The names are those
    of `inert_fields.py`, never a caller's own."""
    if not request.ignored:
        return []
    return [(b"x-understudy-ignored", ", ".join(request.ignored).encode())]


@dataclass(frozen=True)
class CompletionQuestion:
    """The messages of a request, split into question, history and system prompt."""

    text: str
    history: tuple[Message, ...]
    system: str | None  # None: the domain's system prompt


def parse(body: bytes) -> ChatRequest:
    """Parse a request. Raises Invalid, or BadField with the name of the wrong field."""
    return parse_as(ChatRequest, body)


def parse_as(model: type[M], body: bytes) -> M:
    """Parse a request of another kind in the same way."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"The body is not valid JSON: {error}.") from None
    if not isinstance(given, dict):
        raise Invalid("The body must be a JSON object.")
    try:
        known = inert_fields.remove(given)
        request = model.model_validate(known.fields)
    except ValidationError as error:
        param, message = first_fault(error)
        raise BadField(param, message) from None
    request._ignored = known.ignored
    return request


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
    }
    return {name: value for name, value in settings.items() if value is not None}
