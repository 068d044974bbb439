"""The fields that `POST /v1/responses` accepts: text in, text or calls of functions out.

As for chat completions, a field that would change the answer but is not supported is refused by
name, and `null` means the same as an absent field.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from bot.api.answer_request import AnswerRequest, StrictModel, Word, fields_in_common
from bot.api.completion_request import ChatMessage, ChatRequest
from bot.api.response_format import TextFormat
from bot.api.tool_fields import CallId, Name, NamedResponseTool, ResponseTool

TEXT_PARTS = ("input_text", "output_text", "text")
NO_WORDS = ("reasoning",)  # items of earlier answers that hold no text of the conversation
REFERENCE = "item_reference"  # to the message of an earlier response, or to a call in it
CALL, OUTPUT = "function_call", "function_call_output"
NEEDED: Mapping[str, tuple[str, ...]] = {  # the fields of an item besides those of a message
    CALL: ("call_id", "name", "arguments"),
    OUTPUT: ("call_id", "output"),
}
LOGPROBS = "message.output_text.logprobs"  # in `include`
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
    """The items of the input: a text alone is the user's. Items that hold no text of the
    conversation are left out."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list):
        return given
    kept = []
    for item in given:
        kind = item.get("type", "message") if isinstance(item, dict) else None
        if kind in NO_WORDS:
            continue
        if kind not in ("message", REFERENCE, *NEEDED):
            raise ValueError(
                f"only items of the types 'message', '{CALL}' and '{OUTPUT}' are supported"
            )
        given = {name: value for name, value in item.items() if value is not None}
        kept.append(given if kind == "message" else {"role": "assistant", "content": ""} | given)
    return kept


class InputItem(StrictModel):
    """A message of the input or of an earlier response's output, or a call of a function, or what
    a function returned."""

    role: Literal["system", "developer", "user", "assistant"] = Field(description="Who says it.")
    content: Annotated[str, BeforeValidator(_joined)] = Field(
        description="A text, or parts of the type `input_text` or `output_text`."
    )
    type: Literal["message", "item_reference", "function_call", "function_call_output"] = Field(
        default="message",
        description="Only messages have a `role` and a `content`. `item_reference` needs only an "
        "`id`.",
    )
    id: Word | None = Field(default=None, description="Names the message in a reference.")
    status: Word | None = Field(default=None, description=NOT_USED)
    phase: Word | None = Field(default=None, description=NOT_USED)
    call_id: CallId | None = Field(
        default=None, description="Of a call, and of what the function returned for it."
    )
    name: Name | None = Field(default=None, description="The function that was called.")
    arguments: str | None = Field(default=None, description="Its arguments, as JSON.")
    output: Annotated[str, BeforeValidator(_joined)] | None = Field(
        default=None, description="What it returned."
    )

    @model_validator(mode="after")
    def _complete(self) -> "InputItem":
        needed = NEEDED.get(self.type, ())
        of_calls = {name for names in NEEDED.values() for name in names}
        if {name for name in of_calls if getattr(self, name) is not None} != set(needed):
            has = " and ".join(map(repr, needed)) or "none of the fields of a call"
            raise ValueError(f"an item of the type {self.type!r} has {has}")
        return self


def _no_effort(reasoning: Any) -> Any:
    """The effort that is usual, or none, is what every answer here takes."""
    if isinstance(reasoning, dict) and reasoning.get("effort") in (None, "none", "medium"):
        return {}
    raise ValueError("reasoning with an effort is not supported")


def _functions(tools: Any) -> Any:
    """Of OpenAI's own tools, none are here."""
    kinds = [t.get("type") for t in tools if isinstance(t, dict)] if isinstance(tools, list) else []
    if any(kind != "function" for kind in kinds):
        raise ValueError("only tools of the type 'function' are supported")
    return tools


class TextOptions(StrictModel):
    format: TextFormat = Field(default_factory=TextFormat, description="Plain text, or JSON.")
    verbosity: Literal["medium"] = Field(default="medium", description="Changes nothing.")


class ResponseRequest(AnswerRequest):
    input: Annotated[list[InputItem], BeforeValidator(_items), Field(min_length=1)] = Field(
        description="The question as a text, or a list of messages, each with a `role` (`system`, "
        "`developer`, `user` or `assistant`) and a `content` (text, or parts with text). The last "
        "one must be the user's, or a `function_call_output`; `system` messages may follow. An "
        "`item_reference` stands for an earlier response's message or call.",
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
    tools: (
        Annotated[list[ResponseTool], BeforeValidator(_functions), Field(max_length=128)] | None
    ) = Field(default=None, description="Functions that the model may call, or must.")
    tool_choice: Literal["auto", "required"] | NamedResponseTool | None = Field(
        default=None,
        description="`none`, `required`, or a function by its name. `auto`, the default with "
        "`tools`, needs `[serving] tool_call_parser`.",
    )
    parallel_tool_calls: bool | None = Field(
        default=None, description="`false`: at most one call. Only if calls are demanded."
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
        default=None,
        description="`message.output_text.logprobs`: the log probability of each token of a "
        "generated answer. Nothing else that it can name is in an answer from here.",
    )
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None, description="And of so many of the likeliest tokens in its place."
    )

    def as_chat(self) -> ChatRequest:
        """The same request for `/v1/chat/completions`. Of the messages it has the texts that stand
        in the input itself; `response_input.py` makes the conversation of them."""
        same = fields_in_common(self, ChatRequest)
        same.pop("stream_options", None)  # which say nothing about usage here
        choice = self.tool_choice
        same["logprobs"] = LOGPROBS in (self.include or ()) or None
        same["tools"] = [tool.as_tool for tool in self.tools or ()] or None
        same["tool_choice"] = choice.as_choice if isinstance(choice, NamedResponseTool) else choice
        return ChatRequest(
            messages=[ChatMessage(role=m.role, content=m.content) for m in self.input],
            max_completion_tokens=self.max_output_tokens,
            response_format=self.text.format.as_response_format,
            **same,
        )
