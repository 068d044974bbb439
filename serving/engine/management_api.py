"""Requests to the management API of an engine, and the errors they raise.

The threads that synchronise an engine have no event loop, so this is `data/engine_http.py`. Chat
requests are in `serving/client.py`.
"""

import http.client
import urllib.error
import urllib.request
from typing import Any

import orjson

from data import engine_http
from data.store.errors import Unavailable
from serving import engine_replies

MAX_ANSWER = 16 * 2**20  # bytes; the log probabilities of a check are the largest answer
MAX_REASON = 2**16  # bytes of a refusal
TIMEOUT_S = 60.0  # the longest request reads an adapter from a slow disk
HEALTH_TIMEOUT_S = 5.0
NO_ANSWER = "cannot be reached"  # part of the reason when the outcome is unknown


class EngineRefused(Unavailable):
    """The engine refused a request, or did not answer; the message says what it answered."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        """`status` is the HTTP status of the answer; None: there was no valid answer."""
        super().__init__(reason)
        self.status = status


def ask(url: str, body: dict[str, Any] | None = None, timeout: float = TIMEOUT_S) -> Any:
    """GET, or POST `body`; returns the answer's JSON, or its text. `timeout` is in seconds and
    applies to each wait on the connection. Raises EngineRefused."""
    request = urllib.request.Request(  # noqa: S310 - the engine's own URL, from the settings
        url,
        data=None if body is None else orjson.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    opener = engine_http.opener()
    try:
        with opener.open(request, timeout=timeout) as answer:
            raw = answer.read(MAX_ANSWER + 1)
    except urllib.error.HTTPError as error:
        raise EngineRefused(_reason(error), error.code) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise EngineRefused(f"The engine at {url} {NO_ANSWER}: {error}") from error
    if len(raw) > MAX_ANSWER:
        raise EngineRefused(f"The engine at {url} answered with more than {MAX_ANSWER:,} bytes.")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")


def _reason(error: urllib.error.HTTPError) -> str:
    """What the engine says, without anything that no engine wrote: people read this."""
    try:
        raw = error.read(MAX_REASON)
    except (OSError, http.client.HTTPException):  # the connection broke in the middle of the reason
        raw = b""
    message = engine_replies.refusal(raw)
    if message is None and error.code == 404 and "lora_adapter" in error.url:
        message = "start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
    return f"The engine answered {error.code}" + (f": {message}" if message else ".")


def healthy(url: str, timeout: float = HEALTH_TIMEOUT_S) -> bool:
    """Whether the engine at `url` answers."""
    opener = engine_http.opener()
    try:
        with opener.open(f"{url}/health", timeout=timeout) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException, ValueError):  # a truncated answer is not an OSError
        return False
