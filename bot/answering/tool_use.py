"""Tools that the caller offers to the model, and the calls of them in an answer.

A call that the caller demands (`required`, or a function by its name) is made certain: the engine
allows only tokens of a JSON Schema made from the tools, as vLLM itself does where it has a parser
for the base (`vllm/tool_parsers/utils.py`). So it needs no parser, and it works with every base.
With `auto` the model decides, in the syntax of its own that the engine's parser knows.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from data.search import layout
from data.store.errors import Invalid
from serving.client import ToolCall

NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
MAX_CALLS = 8  # that an answer may have, if calls are demanded
CALLED = "tool_calls"  # the finish reason of an answer that calls tools
BEGIN = '[{"name":'  # of the calls as they are stored


class ToolsDisagree(Invalid):
    """Two tools define the same part of a schema in different ways."""

    param = "tools"


@dataclass(frozen=True)
class Tools:
    """The tools of a request."""

    definitions: tuple[dict[str, Any], ...]  # as in OpenAI's API
    choice: Literal["auto", "required", "named"]
    name: str = ""  # of the function that must be called
    parallel: bool = True  # whether one answer may have several calls

    @property
    def demanded(self) -> bool:
        """Whether the answer must be a call."""
        return self.choice != "auto"

    @property
    def sampling(self) -> dict[str, Any]:
        """The fields of `Sampling`. Raises ToolsDisagree."""
        if not self.demanded:
            return {"tools": self.definitions, "tool_choice": "auto"}
        schema = self._schema_of(self.name) if self.choice == "named" else self._schema_of_calls()
        form = {"type": "json_schema", "json_schema": {"name": "tool_call", "schema": schema}}
        return {"tools": self.definitions, "tool_choice": "none", "response_format": form}

    def calls_in(self, text: str) -> tuple[ToolCall, ...]:
        """The calls in the text of an answer that had to be one. Text that was cut at its limit of
        tokens has only the calls that are complete; a single function has all its arguments."""
        if self.choice == "named":
            return (ToolCall(self.name, text),) if text.strip() else ()
        return tuple(
            ToolCall(call["name"], orjson.dumps(call["parameters"]).decode())
            for call in _complete(text)
        )

    def _schema_of(self, name: str) -> dict[str, Any]:
        functions = (tool["function"] for tool in self.definitions)
        parameters = next(f.get("parameters") for f in functions if f["name"] == name)
        return dict(parameters or NOTHING)

    def _schema_of_calls(self) -> dict[str, Any]:
        """A list of calls, each with a name and parameters."""
        shared: dict[str, Any] = {}
        calls = []
        for tool in self.definitions:
            name = tool["function"]["name"]
            parameters = self._schema_of(name)
            for part, defined in (parameters.pop("$defs", None) or {}).items():
                if shared.setdefault(part, defined) != defined:
                    raise ToolsDisagree(f"Two tools define {part!r} in '$defs' differently.")
            calls.append(
                {
                    "type": "object",
                    "properties": {"name": {"const": name}, "parameters": parameters},
                    "required": ["name", "parameters"],
                    "additionalProperties": False,
                }
            )
        schema: dict[str, Any] = {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_CALLS if self.parallel else 1,
            "items": calls[0] if len(calls) == 1 else {"anyOf": calls},
        }
        return schema | ({"$defs": shared} if shared else {})


def harmless(tool: Any, control_tokens: Collection[str]) -> Any:
    """A tool, or a part of one, whose texts spell no control token of the base."""
    if isinstance(tool, str):
        return layout.harmless(tool, control_tokens)
    if isinstance(tool, Mapping):
        return {harmless(k, control_tokens): harmless(v, control_tokens) for k, v in tool.items()}
    if isinstance(tool, list):
        return [harmless(part, control_tokens) for part in tool]
    return tool


def as_text(calls: tuple[ToolCall, ...]) -> str:
    """The calls as they are stored, after the words of the answer."""
    return orjson.dumps([{"name": c.name, "arguments": c.arguments} for c in calls]).decode()


def from_text(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """The words and the calls of an answer as it is stored; only for one that called tools."""
    # arguments are a JSON string, whose quotation marks are escaped: the last place is theirs
    words, begin, rest = text.rpartition(BEGIN)
    given = orjson.loads(begin + rest) if begin else []
    return (words if begin else text), tuple(ToolCall(c["name"], c["arguments"]) for c in given)


def _complete(text: str) -> list[Mapping[str, Any]]:
    """The complete calls in a list that may have been cut."""
    try:
        return list(orjson.loads(text))
    except orjson.JSONDecodeError:
        pass
    for end in range(len(text), 0, -1):  # the last brace after which the list can be closed
        if text[end - 1] == "}":
            try:
                return list(orjson.loads(text[:end] + "]"))
            except orjson.JSONDecodeError:
                continue
    return []
