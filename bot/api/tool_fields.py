"""`tools` and `tool_choice` of a request, and the calls of tools in its messages and its answer."""

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from bot.answering.tool_use import Tools
from bot.api.answer_request import StrictModel
from bot.api.problems import BadField
from bot.api.response_format import Description, Schema
from serving.client import ToolCall

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
CallId = Annotated[str, Field(min_length=1, max_length=256)]
NO_PARSER = (
    "Whether to call a tool cannot be left to the model here, because `[serving] tool_call_parser` "
    "is not set. Send 'required', or name a function."
)


class FunctionTool(StrictModel):
    name: Name = Field(description="The name of the function.")
    description: Description | None = Field(
        default=None, description="What it does. The model reads this."
    )
    parameters: Schema | None = Field(default=None, description="A JSON Schema of its arguments.")
    strict: bool | None = Field(
        default=None, description="Accepted: calls that are demanded always follow the schema."
    )


class Tool(StrictModel):
    type: Literal["function"] = Field(description="Only `function`.")
    function: FunctionTool = Field(description="A function that the caller can run.")


class NamedFunction(StrictModel):
    name: Name = Field(description="The name of one of the tools.")


class NamedTool(StrictModel):
    type: Literal["function"] = Field(description="Only `function`.")
    function: NamedFunction = Field(description="The function that must be called.")


ToolChoice = Literal["auto", "required"] | NamedTool


class CalledFunction(StrictModel):
    name: Name = Field(description="The name of the function.")
    arguments: str = Field(description="Its arguments, as JSON.")


class MessageCall(StrictModel):
    """A call of a tool in an earlier message."""

    id: CallId = Field(description="The id that the result names as `tool_call_id`.")
    type: Literal["function"] = Field(default="function", description="Only `function`.")
    function: CalledFunction = Field(description="What was called.")


def tools_of(
    tools: Sequence[Tool] | None,
    choice: ToolChoice | None,
    *,
    parallel: bool,
    has_parser: bool,
) -> Tools | None:
    """The tools of a request; None without any. Raises BadField."""
    if not tools:
        if choice not in (None, "auto"):
            raise BadField("tool_choice", "'tool_choice' requires 'tools'.")
        return None
    names = [tool.function.name for tool in tools]
    if len(set(names)) < len(names):
        raise BadField("tools", "Two tools have the same name.")
    given = tuple(tool.model_dump(exclude_none=True, by_alias=True) for tool in tools)
    if isinstance(choice, NamedTool):
        if choice.function.name not in names:
            raise BadField("tool_choice", "'tool_choice' names none of the 'tools'.")
        return Tools(given, "named", choice.function.name, parallel)
    if choice == "required":
        return Tools(given, "required", parallel=parallel)
    if not has_parser:
        raise BadField("tool_choice", NO_PARSER)
    return Tools(given, "auto", parallel=parallel)


def calls_as_json(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """The field `tool_calls` of a message. Arguments that are JSON have no needless white space."""
    return [
        {
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": call.name, "arguments": _compact(call.arguments)},
        }
        for call in calls
    ]


def _compact(arguments: str) -> str:
    try:
        return orjson.dumps(orjson.loads(arguments)).decode()
    except orjson.JSONDecodeError:  # it was cut
        return arguments
