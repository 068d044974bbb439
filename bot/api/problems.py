"""The HTTP status and the OpenAI-compatible body of every error.

The body is `{"error": {"message", "type", "param", "code"}}` on every route. It never repeats the
values of a request, only names. An internal error shows just the request id that the log has too.
"""

import math
import re
from dataclasses import dataclass, field

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bot.answering.admission import TooBusy
from bot.answering.plan import NobodyCanAnswer
from bot.answering.prompt import TextTooLong
from bot.answering.routing import NoEngine
from bot.answering.writing import TookTooLong
from bot.api.auth import Unauthorized
from data.store.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable, UnderstudyError
from serving.client import PromptTooLong


class BadField(Invalid):
    """One field of a request is wrong; `param` names it."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class UnknownModel(NotFound):
    """The requested `model` does not exist."""

    param = "model"


@dataclass(frozen=True)
class Problem:
    """An error response: a status, OpenAI's four fields, and headers."""

    status: int
    type: str
    message: str
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        return orjson.dumps(
            {
                "error": {
                    "message": self.message,
                    "type": self.type,
                    "param": self.param,
                    "code": self.code,
                }
            }
        )

    def response(self) -> Response:
        return Response(self.body(), self.status, self.headers, "application/json")


STATUS: tuple[tuple[type[UnderstudyError], int, str], ...] = (
    (Unauthorized, 401, "authentication_error"),
    (Invalid, 400, "invalid_request_error"),
    (Forbidden, 403, "permission_error"),
    (NotFound, 404, "not_found_error"),
    (Conflict, 409, "conflict_error"),
    (TooBusy, 429, "rate_limit_error"),
    (Unavailable, 503, "service_unavailable_error"),
)
CODES: dict[type[UnderstudyError], str] = {  # codes that OpenAI's clients know
    Unauthorized: "invalid_api_key",
    UnknownModel: "model_not_found",
    PromptTooLong: "context_length_exceeded",
    TextTooLong: "context_length_exceeded",
    BadField: "invalid_value",
    NobodyCanAnswer: "engine_down",
    NoEngine: "engine_down",
    TookTooLong: "stream_cut",
}
# Clients that can shorten a conversation, or have a model with a longer context, look for these
# words: https://github.com/BerriAI/litellm (exception mapping), langchain-openai.
TOO_LONG = "The prompt is too long."
HEADERS: dict[int, dict[str, str]] = {
    401: {"WWW-Authenticate": "Bearer"},
    409: {"x-should-retry": "false"},  # OpenAI's clients retry a 409 otherwise
    429: {"Retry-After": "1"},
    503: {"Retry-After": "2"},
}
BY_STATUS = {
    400: "invalid_request_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
}


def problem_of(error: Exception) -> Problem | None:
    """The response for an expected error; None for an error that is a defect."""
    if isinstance(error, UnderstudyError):
        status, kind = 500, "server_error"
        for family, family_status, family_kind in STATUS:
            if isinstance(error, family):
                status, kind = family_status, family_kind
                break
        too_long = isinstance(error, PromptTooLong | TextTooLong)
        return Problem(
            status,
            kind,
            f"{TOO_LONG} {error}" if too_long else str(error),
            CODES.get(type(error)) or _snake(type(error).__name__),
            "messages" if too_long else getattr(error, "param", None),
            _headers(status, error),
        )
    if isinstance(error, RequestValidationError | ValidationError):
        param, message = first_fault(error)
        return Problem(400, "invalid_request_error", message, "invalid_value", param or None)
    if isinstance(error, HTTPException):
        return Problem(
            error.status_code,
            BY_STATUS.get(error.status_code, "invalid_request_error"),
            SENTENCES.get(error.detail, str(error.detail)),
            headers=dict(error.headers or {}),
        )
    return None


SENTENCES = {  # replacements for the framework's messages
    "Not Found": "There is nothing at this address.",
    "Method Not Allowed": "This address does not support that method.",
    "There was an error parsing the body": "The body is not valid JSON.",
}


def unexpected(request_id: str) -> Problem:
    """The response for a defect: nothing but the request id."""
    message = f"Internal error. The server log has the details under {request_id}."
    return Problem(500, "server_error", message, "internal_error")


def first_fault(error: RequestValidationError | ValidationError) -> tuple[str, str]:
    """The field name and the message of the first fault, without the values of the request."""
    fault = error.errors()[0]
    where = [p for p in fault["loc"] if p not in ("body", "query", "path", "header")]
    if fault["type"] == "json_invalid":
        return "", "The body is not valid JSON."
    param = ".".join(str(part) for part in where)
    if fault["type"] == "extra_forbidden":
        return param, f"{_name(param)} is not supported."
    if fault["type"] == "missing":
        return param, f"{_name(param)} is missing." if param else "The body is missing."
    if not param and fault["type"] in ("model_attributes_type", "model_type", "dict_type"):
        return "", "The body must be a JSON object, sent with `Content-Type: application/json`."
    if fault["type"] == "too_short":
        least = fault["ctx"]["min_length"]
        entries = "one entry" if least == 1 else f"{least} entries"
        return param, f"{_name(param)} must have at least {entries}."
    message = str(fault["msg"]).removeprefix("Value error, ").split(", unable")[0].rstrip(".")
    if message.startswith("Input should "):
        return param, f"{_name(param)} {message.replace('Input should', 'must', 1)}."
    return param, f"{_name(param)}: {message}." if param else f"The request is invalid: {message}."


def _name(param: str) -> str:
    """A field name that is safe to show: shortened, with unprintable characters escaped."""
    return repr(param if len(param) <= 80 else param[:80] + "…")


def _headers(status: int, error: UnderstudyError) -> dict[str, str]:
    """The headers of a status, with the error's own time to retry if it has one."""
    seconds = getattr(error, "retry_after", None)
    retry = {} if seconds is None else {"Retry-After": str(math.ceil(seconds))}
    return HEADERS.get(status, {}) | retry


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
