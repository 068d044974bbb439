"""What `POST /v1/chat/completions` accepts: an allow-list of OpenAI's fields.

A field that would change the answer and is not honoured is refused by name, never ignored. `null`
means the same as absent, as clients send it.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bot.api.problems import BadField, first_fault
from data.conversations.conversations import Message
from data.store.errors import Invalid

MAX_USER = 256

Word = Annotated[str, Field(max_length=MAX_USER)]
Stop = Annotated[str, Field(min_length=1, max_length=256)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TextPart(Strict):
    type: Literal["text"]
    text: str


def _joined(content: Any) -> Any:
    """Content given as parts of type text, as one string."""
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
    """One stop string is a list of one."""
    return [stop] if isinstance(stop, str) else stop


class ChatMessage(Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_joined)]
    name: Word | None = None  # accepted, unused: the person is `user`


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False  # accepted: our pieces are whatever the engine sends


class ResponseFormat(Strict):
    type: Literal["text"]


class ChatRequest(Strict):
    model: Annotated[str, Field(max_length=100)]
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stop: Annotated[list[Stop], BeforeValidator(_listed), Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    user: Word | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None  # accepted, unused
    response_format: ResponseFormat | None = None
    n: Literal[1] | None = None


@dataclass(frozen=True)
class CompletionQuestion:
    """The messages of a request, as the flow of a message wants them."""

    text: str
    history: tuple[Message, ...]
    system: str | None  # None: the domain's own


def parse(body: bytes) -> ChatRequest:
    """Read a request. Raises Invalid, or BadField naming the field."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"The body is not valid JSON: {error}.") from None
    if not isinstance(given, dict):
        raise Invalid("The body must be a JSON object.")
    try:
        return ChatRequest.model_validate(_without_nulls(given))
    except ValidationError as error:
        param, message = first_fault(error)
        raise BadField(param, message) from None


def question(request: ChatRequest) -> CompletionQuestion:
    """The last message asks; what came before is history. Raises BadField."""
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


def sampling(request: ChatRequest, longest: int) -> dict[str, Any]:
    """What the request says about sampling. More tokens than `longest` can never come, so a
    greater limit is the same as that one."""
    if request.stream_options is not None and not request.stream:
        raise BadField("stream_options", "'stream_options' needs \"stream\": true.")
    wanted = request.max_completion_tokens or request.max_tokens
    given = {
        "max_tokens": min(wanted, longest) if wanted else None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": tuple(request.stop) if request.stop else None,
        "seed": request.seed,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
    }
    return {name: value for name, value in given.items() if value is not None}


def _without_nulls(given: dict[str, Any]) -> dict[str, Any]:
    """The request and its messages, without the fields that are null."""
    kept = {name: value for name, value in given.items() if value is not None}
    if isinstance(messages := kept.get("messages"), list):
        kept["messages"] = [
            {k: v for k, v in m.items() if v is not None} if isinstance(m, dict) else m
            for m in messages
        ]
    return kept
