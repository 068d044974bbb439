"""Parses one row of an imported file into a draft, or explains what is wrong with it.

Two shapes of JSON object are understood, and mixed files are fine: a prompt with its response
(under the names that public data sets use), and OpenAI's chat messages, where the last
assistant message is the response and what came before it the context. A CSV row is read as the
first shape. `RowError` carries the sentence; whoever reads the file knows the line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from data.pairs.pairs import Draft, Split, Turn, check
from data.store.errors import Invalid

PROMPT_NAMES = ("prompt", "question", "instruction")
RESPONSE_NAMES = ("response", "answer", "output", "completion")


class RowError(Invalid):
    """This row cannot be a pair."""


@dataclass(frozen=True)
class JsonShape:
    """A kind of JSON object that states a pair."""

    key: str  # an object with this key has the shape; "": one with no key of another shape
    read: Callable[[Mapping[str, Any]], Draft]  # raises RowError
    write: Callable[[Draft], dict[str, Any]]


def draft_of_json(line: bytes, shape: JsonShape | None = None) -> Draft:
    """The draft that one line of JSON states; None: in the shape that it has. Raises RowError."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RowError(_not_json(line, error)) from None
    if not isinstance(found, dict):
        raise RowError(f"a JSON object is expected, this is {_kind(found)}")
    shape = shape or JSON_SHAPES[shape_of(found) or "jsonl"]
    return _checked(shape.read(found))


def shape_of(found: Mapping[str, Any]) -> str | None:
    """The name of the shape whose key the object has, or None."""
    return next((n for n, shape in JSON_SHAPES.items() if shape.key and shape.key in found), None)


def draft_of_fields(found: Mapping[str, Any]) -> Draft:
    """The draft in a prompt-and-response object; not checked yet. Raises RowError."""
    prompt_name, prompt = _first(found, PROMPT_NAMES)
    _, response = _first(found, RESPONSE_NAMES)
    more = found.get("input")
    if prompt_name == "instruction" and isinstance(more, str) and more.strip():
        prompt = f"{prompt}\n\n{more}"
    return Draft(
        prompt=prompt,
        response=response,
        system=_text(found, "system"),
        turns=_turns(found.get("turns") or []),
        fact=_text(found, "fact"),
        split=_split(found),
    )


def draft_of_cells(cells: Mapping[str, str]) -> Draft:
    """The draft in a CSV row, by column name; `turns` holds JSON. Raises RowError."""
    found: dict[str, Any] = dict(cells)
    if cells.get("turns"):
        try:
            found["turns"] = orjson.loads(cells["turns"])
        except orjson.JSONDecodeError as error:
            raise RowError(f"the column turns is not JSON: {error}") from None
    return _checked(draft_of_fields(found))


def _of_messages(found: Mapping[str, Any]) -> Draft:
    messages = found.get("messages")
    if not isinstance(messages, list):
        raise RowError(
            f"messages is {_kind(messages)}, not a list" if "messages" in found else "no messages"
        )
    system, turns = "", []
    for number, message in enumerate(messages, 1):
        role, content = _message(message, number)
        if role != "system":
            turns.append(Turn(role, content))
        elif number == 1:
            system = content
        else:
            raise RowError(f"message {number} is a system message; only the first can be")
    if not turns or turns[-1].role != "assistant":
        raise RowError("the last message is not from the assistant, so there is nothing to learn")
    if len(turns) < 2 or turns[-2].role != "user":
        raise RowError("the message before the last is not from the user, so there is no prompt")
    return Draft(
        prompt=turns[-2].content,
        response=turns[-1].content,
        system=system,
        turns=tuple(turns[:-2]),
        fact=_text(found, "fact"),
        split=_split(found),
    )


def _message(found: Any, number: int) -> tuple[Any, str]:
    """Role and text of one chat message, the role being system, user or assistant."""
    if not isinstance(found, dict):
        raise RowError(f"message {number} is {_kind(found)}, not an object")
    role = "system" if found.get("role") == "developer" else found.get("role")
    if role not in ("system", "user", "assistant"):
        raise RowError(
            f"message {number} has the unknown role {role!r}; "
            "the role must be system, user or assistant"
        )
    content = found.get("content")
    if isinstance(content, list):
        content = "".join(_part(part, number) for part in content)
    if not isinstance(content, str):
        raise RowError(f"the content of message {number} is {_kind(content)}, not text")
    return role, content


def _part(part: Any, number: int) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise RowError(f"message {number} holds something other than text")


def _turns(found: Any) -> tuple[Turn, ...]:
    if not isinstance(found, list):
        raise RowError(f"turns is {_kind(found)}, not a list")
    turns = []
    for number, turn in enumerate(found, 1):
        role, content = _message(turn, number)
        if role == "system":
            raise RowError(f"turn {number} is a system message; put it under the key system")
        turns.append(Turn(role, content))
    return tuple(turns)


def _first(found: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, str]:
    for name in names:
        if name in found:
            if found[name] is None:
                break
            return name, _text(found, name)
    if other := shape_of(found):
        raise RowError(f"this is a row of the format {other}; import the file with that format")
    raise RowError(f"no {names[0]} (names that are understood: {', '.join(names)})")


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError(f"{name} is {_kind(value)}, not text")
    return value


def _split(found: Mapping[str, Any]) -> Split:
    return _text(found, "split") or "auto"  # type: ignore[return-value] # `check` looks at it


def _checked(draft: Draft) -> Draft:
    try:
        check(draft)
    except Invalid as error:
        raise RowError(str(error)) from None
    return draft


def _not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as broken:
        return f"not valid UTF-8: byte 0x{line[broken.start]:02x} at column {broken.start + 1}"
    return f"not JSON: {error.msg} (column {error.colno})"


def _kind(value: Any) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"


def fields_of(draft: Draft) -> dict[str, Any]:
    """The prompt-and-response object of a draft."""
    turns = [{"role": turn.role, "content": turn.content} for turn in draft.turns]
    fields = {"prompt": draft.prompt, "response": draft.response, "system": draft.system}
    return _present(fields | {"turns": turns} | _marks(draft))


def messages_of(draft: Draft) -> dict[str, Any]:
    """The chat-messages object of a draft."""
    messages = [{"role": "system", "content": draft.system}] if draft.system else []
    messages += [{"role": turn.role, "content": turn.content} for turn in draft.turns]
    messages.append({"role": "user", "content": draft.prompt})
    messages.append({"role": "assistant", "content": draft.response})
    return _present({"messages": messages} | _marks(draft))


def _marks(draft: Draft) -> dict[str, str]:
    return {"fact": draft.fact, "split": "" if draft.split == "auto" else draft.split}


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


JSON_SHAPES: dict[str, JsonShape] = {  # by the name of the format
    "jsonl": JsonShape("", draft_of_fields, fields_of),
    "chat": JsonShape("messages", _of_messages, messages_of),
}
