"""Conversations: OpenAI's chat messages, ShareGPT's with `from` and `value`, and LLaMA-Factory's
v1 with `loss_weight` (`src/llamafactory/v1/utils/types.py` there).

The last answer of the assistant is the response, and what came before it the context.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from data.pair_files.columns import is_empty, kind_of
from data.pair_files.row_marks import weight_of
from data.pair_files.verdicts import RowError
from data.pairs.pairs import Draft, Turn

ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user",
    "prompter": "user", "customer": "user", "assistant": "assistant", "gpt": "assistant",
    "chatgpt": "assistant", "bot": "assistant", "model": "assistant", "bing": "assistant",
    "bard": "assistant", "agent": "assistant", "chatbot": "assistant",
}  # fmt: skip
ROLE_KEYS = ("role", "from", "speaker")
TEXT_KEYS = ("content", "value", "text")
USED = frozenset({*ROLE_KEYS, *TEXT_KEYS, "weight", "loss_weight", "name", "id"})
NOT_TEXT = ("tool_calls", "function_call", "audio", "images", "image", "video")
LIST = "a list of messages"


class NoWeight(RowError):
    """All answers of the conversation have weight 0."""


def draft_of(messages: Any, name: str = "messages", unused: Counter[str] | None = None) -> Draft:
    """The draft that a conversation states; `unused` counts keys that are not used. Raises
    RowError, and NoWeight if the conversation is not to be learned."""
    if not isinstance(messages, list):
        raise RowError(f"{name} is {kind_of(messages)}, not a list")
    system, turns, weights = "", [], []
    for number, message in enumerate(messages, 1):
        role, content = message_of(message, f"message {number}", unused)
        if role == "system":
            if number != 1:
                raise RowError(f"message {number} is a system message; only the first can be")
            system = content
            continue
        turns.append(Turn(role, content))
        given = message.get("weight", message.get("loss_weight"))
        weights.append(1 if given is None else weight_of(given, f"the weight of message {number}"))
    return with_last_answer(turns, weights, system)


def with_last_answer(
    turns: Sequence[Turn], weights: Sequence[float] = (), system: str = ""
) -> Draft:
    """The draft whose response is the last answer of a weight. Raises RowError."""
    turns = list(turns)
    if not turns or turns[-1].role != "assistant":
        raise RowError("the last message is not from the assistant, so there is nothing to learn")
    while weights and turns and (turns[-1].role != "assistant" or not weights[len(turns) - 1]):
        turns.pop()
    if not turns:
        raise NoWeight("every answer has weight 0")
    if len(turns) < 2 or turns[-2].role != "user":
        raise RowError("the message before the last is not from the user, so there is no prompt")
    return Draft(
        prompt=turns[-2].content,
        response=turns[-1].content,
        system=system,
        turns=tuple(turns[:-2]),
    )


def turns_of(found: Any, name: str = "turns") -> tuple[Turn, ...]:
    """Earlier turns: a list of messages, or of questions with their answers. Raises RowError."""
    if not isinstance(found, list):
        raise RowError(f"{name} is {kind_of(found)}, not a list")
    turns: list[Turn] = []
    for number, turn in enumerate(found, 1):
        if isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn):
            turns += [Turn("user", turn[0]), Turn("assistant", turn[1])]
            continue
        role, content = message_of(turn, f"turn {number}")
        if role == "system":
            raise RowError(f"turn {number} is a system message; put it under the key system")
        turns.append(Turn(role, content))
    return tuple(turns)


def message_of(found: Any, where: str, unused: Counter[str] | None = None) -> tuple[Any, str]:
    """Role and text of one message, the role being system, user or assistant. Raises RowError."""
    if not isinstance(found, dict):
        raise RowError(f"{where} is {kind_of(found)}, not an object")
    given = next((found[key] for key in ROLE_KEYS if key in found), None)
    role = ROLES.get(given.casefold()) if isinstance(given, str) else None
    if role is None:
        raise RowError(
            f"{where} has the unknown role {given!r}; the role must be system, user or assistant"
        )
    for key in NOT_TEXT:
        if not is_empty(found.get(key)):
            raise RowError(f"{where} has {key}: only text is learned, and the bot calls no tools")
    content = next((found[key] for key in TEXT_KEYS if key in found), None)
    if isinstance(content, list):
        content = "".join(_part(part, where) for part in content)
    if not isinstance(content, str):
        raise RowError(f"the content of {where} is {kind_of(content)}, not text")
    if unused is not None and not found.keys() <= USED:
        for key in found.keys() - USED:
            if not is_empty(found[key]):
                unused[f"messages[].{key}"] += 1
    return role, content


def is_conversation(value: Any) -> bool:
    """Whether a value is a list of messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and any(key in each for key in ROLE_KEYS) for each in value)
    )


def _part(part: Any, where: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text":
        text = part.get("text", part.get("value"))  # OpenAI's and LLaMA-Factory's key
        if isinstance(text, str):
            return text
    raise RowError(f"{where} holds something other than text")
