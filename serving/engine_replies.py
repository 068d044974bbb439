"""What an engine says about an answer, checked before anything else reads it.

An engine is another program, perhaps another version or another product. Each event of a stream and
each refusal passes through here: JSON of any other shape is `NotAnAnswer`, and no text that could
be a web page is handed on, because people read these messages.
"""

import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from serving.tool_calls import MAX_CALLS, CallPiece

MAX_ERROR_CHARS = 500  # of an engine's error message
MAX_COUNT = 10**9  # a larger number of tokens is no count
MAX_RETRY_AFTER_S = 60.0  # an engine that wants a longer pause is tried again after this one
MARKUP = re.compile(r"<[a-zA-Z!/?]")  # a tag; `<|` begins a special token
FINISHED = {"stop", "length", "content_filter", "tool_calls"}  # the reasons that clients know
INTERRUPTED = {"abort", "error"}


class NotAnAnswer(ValueError):
    """What the engine sent has another shape than an answer."""


@dataclass(frozen=True)
class EventOfAnswer:
    """One event of a streamed answer."""

    model: str | None
    text: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    logprobs: tuple[dict[str, Any], ...] = ()  # of its tokens, in the form of OpenAI's API
    calls: tuple[CallPiece, ...] = ()


@dataclass(frozen=True)
class EngineError:
    """The engine says that it failed; '' if it does not say why."""

    message: str
    code: int | None = None  # as the status of a response


def event(data: bytes) -> EventOfAnswer | EngineError:
    """Read the data of one server-sent event. Raises NotAnAnswer."""
    found = _json(data)
    if not isinstance(found, dict):
        raise NotAnAnswer("it is not an object")
    if found.get("error") is not None:
        return EngineError(message_of(found), _code(found["error"]))
    model, choices = found.get("model"), found.get("choices")
    if not (model is None or isinstance(model, str)):
        raise NotAnAnswer("its model is not a string")
    counts = _counts(found.get("usage"))
    if choices == []:
        return EventOfAnswer(model, "", None, *counts)
    if not (isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], dict)):
        raise NotAnAnswer("it does not have one choice")
    delta, finish = choices[0].get("delta"), choices[0].get("finish_reason")
    delta = {} if delta is None and finish is not None else delta
    if not isinstance(delta, dict) or choices[0].get("index") not in (0, None):
        raise NotAnAnswer("its choice is not the beginning or the next piece of one answer")
    text = delta.get("content")
    if not (text is None or isinstance(text, str)):
        raise NotAnAnswer("its text is not a string")
    if not (finish is None or isinstance(finish, str)):
        raise NotAnAnswer("its finish reason is not a string")
    logprobs = _logprobs(choices[0].get("logprobs"))
    calls = tuple(_call(piece) for piece in _list(delta, "tool_calls"))
    return EventOfAnswer(model, text or "", _known(finish), *counts, logprobs, calls)


def _call(found: dict[str, Any]) -> CallPiece:
    """A piece of a call of a tool."""
    index, function = found.get("index"), found.get("function") or {}
    if not (isinstance(index, int) and 0 <= index < MAX_CALLS and isinstance(function, dict)):
        raise NotAnAnswer("a call of a tool has no place among the calls")
    name, arguments = function.get("name") or "", function.get("arguments") or ""
    if not (isinstance(name, str) and isinstance(arguments, str)):
        raise NotAnAnswer("a call of a tool has no name or no arguments")
    return CallPiece(index, name, arguments)


def _logprobs(found: Any) -> tuple[dict[str, Any], ...]:
    """The tokens of a piece, each with its log probability and the likeliest alternatives."""
    content = found.get("content") if isinstance(found, dict) else None
    return tuple(
        _token(token) | {"top_logprobs": [_token(other) for other in _list(token, "top_logprobs")]}
        for token in _list({"content": content}, "content")
    )


def _token(found: Any) -> dict[str, Any]:
    token, logprob = found.get("token"), found.get("logprob")
    if not isinstance(token, str) or not isinstance(logprob, int | float):
        raise NotAnAnswer("a log probability is not that of a token")
    raw = _list(found, "bytes")
    if not all(isinstance(byte, int) and 0 <= byte < 256 for byte in raw):
        raise NotAnAnswer("the bytes of a token are none")
    return {"token": token, "logprob": float(logprob), "bytes": raw or None}


def _list(found: Any, name: str) -> list[Any]:
    value = found.get(name) if isinstance(found, dict) else None
    if not isinstance(value or [], list) or (
        name != "bytes" and not all(isinstance(entry, dict) for entry in value or [])
    ):
        raise NotAnAnswer(f"its {name} are no list")
    return value or []


def _code(error: Any) -> int | None:
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else None


def message_of(found: Any) -> str:
    """The message of an error, in the forms that engines use; '' if there is none that people may
    read."""
    error = found.get("error") if isinstance(found, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    if not isinstance(message, str) or MARKUP.search(message):
        return ""
    return message.strip()[:MAX_ERROR_CHARS]


def refusal(body: bytes) -> str | None:
    """The message in the body of a refusal; None if no engine wrote it."""
    try:
        found = _json(body)
    except NotAnAnswer:
        return None
    if not isinstance(found, dict) or found.get("error") is None:
        return None
    return message_of(found)


def retry_after(header: str | None) -> float | None:
    """The seconds of a `Retry-After` header, which is a number or a date; None without a valid
    one. At most `MAX_RETRY_AFTER_S`."""
    if header is None:
        return None
    try:
        seconds = float(header) if header.strip().isdigit() else _until(header)
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 1.0), MAX_RETRY_AFTER_S)


def _until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()


def _json(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:  # also for bytes that are not UTF-8, and deep nesting
        raise NotAnAnswer("it is not JSON") from error


def _known(finish: str | None) -> str | None:
    """A reason that clients know. Engines name other ends of an answer, such as `eos_token`."""
    if not finish:
        return None
    return finish if finish in FINISHED or finish in INTERRUPTED else "stop"


def _counts(usage: Any) -> tuple[int | None, int | None]:
    """Tokens of the prompt and of the answer. Counts of another shape are no reason to refuse the
    answer: they are left out."""
    if not isinstance(usage, dict):
        return None, None
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def _count(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= MAX_COUNT else None
