"""The fields that `POST /v1/responses` accepts: text in, text out.

As for chat completions, a field that would change the answer but is not supported is refused by
name, and `null` means the same as an absent field.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bot.api.answer_request import AnswerRequest, StrictModel, Word, fields_in_common
from bot.api.completion_request import ChatMessage, ChatRequest
from bot.api.response_format import TextFormat

TEXT_PARTS = ("input_text", "output_text", "text")
NO_WORDS = ("reasoning",)  # items of earlier answers that hold no text of the conversation
REFERENCE = "item_reference"  # to the message of an earlier response
NOT_USED = "Accepted and not used."


def _part(part: Any) -> str:
    """The text of a part, whatever else stands beside it."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in TEXT_PARTS or not isinstance(part.get("text"), str):
        raise ValueError("only content parts of the type 'input_text' or 'output_text' are taken")
    return str(part["text"])


def _joined(content: Any) -> Any:
    return "".join(map(_part, content)) if isinstance(content, list) else content


def _items(given: Any) -> Any:
    """The messages of the input: a text alone is the user's. Items that hold no text are left
    out."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list):
        return given
    kept = []
    for item in given:
        kind = item.get("type", "message") if isinstance(item, dict) else None
        if kind in NO_WORDS:
            continue
        if kind == REFERENCE:
            kept.append({**item, "role": "assistant", "content": ""})
        elif kind == "message":
            kept.append({name: value for name, value in item.items() if value is not None})
        else:
            raise ValueError("only items of the type 'message' are supported")
    return kept


class InputMessage(StrictModel):
    """A message of the input, or of an earlier response's output."""

    role: Literal["system", "developer", "user", "assistant"] = Field(description="Who says it.")
    content: Annotated[str, BeforeValidator(_joined)] = Field(
        description="A text, or parts of the type `input_text` or `output_text`."
    )
    type: Literal["message", "item_reference"] = Field(
        default="message", description="`item_reference` needs only an `id`."
    )
    id: Word | None = Field(default=None, description="Names the message in a reference.")
    status: Word | None = Field(default=None, description=NOT_USED)
    phase: Word | None = Field(default=None, description=NOT_USED)


def _no_effort(reasoning: Any) -> Any:
    """The effort that is usual, or none, is what every answer here takes."""
    if isinstance(reasoning, dict) and reasoning.get("effort") in (None, "none", "medium"):
        return {}
    raise ValueError("reasoning with an effort is not supported")


class TextOptions(StrictModel):
    format: TextFormat = Field(default_factory=TextFormat, description="Plain text, or JSON.")
    verbosity: Literal["medium"] = Field(default="medium", description="Changes nothing.")


class ResponseRequest(AnswerRequest):
    input: Annotated[list[InputMessage], BeforeValidator(_items), Field(min_length=1)] = Field(
        description="The question as a text, or a list of messages, each with a `role` (`system`, "
        "`developer`, `user` or `assistant`) and a `content` (text, or parts with text). The last "
        "one must be the user's. An `item_reference` stands for an earlier response's message.",
    )
    instructions: str | None = Field(
        default=None, description="The system prompt. Default: that of the variant or the domain."
    )
    previous_response_id: Annotated[str, Field(max_length=100)] | None = Field(
        default=None,
        description="The `id` of an earlier response to the same person, to go on from: its "
        "question, its answer and those before them come first.",
    )
    max_output_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Default: `[bot] max_tokens`."
    )
    store: bool = Field(
        default=True,
        description="As in `/v1/chat/completions`. No response can go on from one that is not "
        "stored.",
    )
    text: TextOptions = Field(default_factory=TextOptions, description="The form of the answer.")
    truncation: Literal["auto"] | None = Field(
        default=None, description="The oldest messages are left out if they do not fit."
    )
    reasoning: Annotated[dict[str, Any], BeforeValidator(_no_effort)] | None = Field(
        default=None, description="Only the effort `none` or `medium`, which changes nothing."
    )
    background: Literal[False] | None = Field(
        default=None, description="Answers in the background are not supported."
    )
    include: list[str] | None = Field(
        default=None, description="Nothing that it can name is in an answer from here."
    )

    def as_chat(self) -> ChatRequest:
        """The same request for `/v1/chat/completions`."""
        said = [ChatMessage(role=m.role, content=m.content) for m in self.input]
        if self.instructions:
            said.insert(0, ChatMessage(role="system", content=self.instructions))
        same = fields_in_common(self, ChatRequest)
        same.pop("stream_options", None)  # which say nothing about usage here
        return ChatRequest(
            messages=said,
            max_completion_tokens=self.max_output_tokens,
            response_format=self.text.format.as_response_format,
            **same,
        )
