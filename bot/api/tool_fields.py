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


class ResponseTool(FunctionTool):
    """A tool of `/v1/responses`, where the function's fields stand beside the type."""

    type: Literal["function"] = Field(description="Only `function`.")

    @property
    def as_tool(self) -> Tool:
        """The same tool as `/v1/chat/completions` names it."""
        given = self.model_dump(exclude={"type"}, exclude_none=True)
        return Tool(type="function", function=FunctionTool(**given))


class NamedFunction(StrictModel):
    name: Name = Field(description="The name of one of the tools.")


class NamedTool(StrictModel):
    type: Literal["function"] = Field(description="Only `function`.")
    function: NamedFunction = Field(description="The function that must be called.")


ToolChoice = Literal["auto", "required"] | NamedTool


class NamedResponseTool(NamedFunction):
    """`tool_choice` of `/v1/responses`, if it names a function."""

    type: Literal["function"] = Field(description="Only `function`.")

    @property
    def as_choice(self) -> NamedTool:
        return NamedTool(type="function", function=NamedFunction(name=self.name))


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


def of_response(digits: str) -> str:
    """The reply id whose hexadecimal digits stand in the ids of a response's items."""
    return f"chatcmpl-{digits}"


def digits_of(reply_id: str) -> str:
    return reply_id.removeprefix("chatcmpl-")


def call_id(reply_id: str, number: int) -> str:
    """The id of a call in a response, which its result names: the same whenever it is made."""
    return f"call_{digits_of(reply_id)}_{number}"


def calls_as_items(reply_id: str, calls: Sequence[ToolCall], status: str) -> list[dict[str, Any]]:
    """The calls as items of a response's output."""
    return [
        {
            "id": f"fc_{digits_of(reply_id)}_{number}",
            "type": "function_call",
            "status": status,
            "call_id": call_id(reply_id, number),
            "name": call.name,
            "arguments": compact(call.arguments),
        }
        for number, call in enumerate(calls)
    ]


def calls_as_json(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """The field `tool_calls` of a message. Arguments that are JSON have no needless white space."""
    return [
        {
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": call.name, "arguments": compact(call.arguments)},
        }
        for call in calls
    ]


def compact(arguments: str) -> str:
    """Arguments without needless white space, if they are JSON."""
    try:
        return orjson.dumps(orjson.loads(arguments)).decode()
    except orjson.JSONDecodeError:  # it was cut
        return arguments
