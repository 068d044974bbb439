"""OpenAI's batches: the answers of an output file, joined with the questions of its input file.

An output file names only the `custom_id` of each request, so both files are needed, in one zip
archive or one after the other in one file, in any order. Requests of `/v1/chat/completions` have
`messages`, those of `/v1/responses` an `input`. One side waits for the other in a temporary
database.

https://platform.openai.com/docs/api-reference/batch/request-input and .../batch/request-output
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined] # the SQLite of the store

from data.pair_files.verdicts import RowError

CUT_OFF = ("length", "content_filter", "max_output_tokens")
NO_INPUT = (
    "the answer of a batch without its question: put the batch's input file and this output file "
    "into one zip archive, and import that"
)


def is_batch(found: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a request or an answer of a batch."""
    return "custom_id" in found and (
        isinstance(found.get("body"), dict)
        or isinstance(found.get("response"), dict)
        or isinstance(found.get("error"), dict)
    )


class BatchFiles:
    """The requests and answers of a batch that wait for each other."""

    def __init__(self) -> None:
        self._opened: Any = None

    @property
    def _waiting(self) -> Any:
        if self._opened is None:
            self._opened = sqlite3.connect("")  # a temporary file, which SQLite deletes
            self._opened.execute(
                "CREATE TABLE waiting (id TEXT, side TEXT, line INTEGER, file TEXT, found TEXT,"
                " PRIMARY KEY (id, side))"
            )
        return self._opened

    def row(self, found: Mapping[str, Any], line: int, file: str) -> dict[str, Any] | None:
        """The row of messages that is complete with this object, if one is. Raises RowError for an
        answer that cannot be learned."""
        key = str(found["custom_id"])
        side = "request" if isinstance(found.get("body"), dict) else "answer"
        if side == "answer":
            answer(found)  # of a failed request, no question is needed
        other = self._waiting.execute(
            "DELETE FROM waiting WHERE id = ? AND side <> ? RETURNING found", (key, side)
        ).fetchone()
        if other is None:
            self._waiting.execute(
                "INSERT OR REPLACE INTO waiting VALUES (?, ?, ?, ?, ?)",
                (key, side, line, file, orjson.dumps(found).decode()),
            )
            return None
        asked, answered = found, orjson.loads(other[0])
        if side == "answer":
            asked, answered = answered, asked
        body = asked["body"]
        row = {"messages": [*_messages(body), {"role": "assistant", "content": answer(answered)}]}
        return row | {name: body[name] for name in ("tools", "functions") if name in body}

    def left(self) -> Iterator[tuple[int, str, str]]:
        """What nothing was found for: line, file, and "request" or "answer"."""
        if self._opened is not None:
            sql = "SELECT line, file, side FROM waiting ORDER BY file, line"
            yield from self._waiting.execute(sql)
            self._waiting.close()
            self._opened = None


def answer(found: Mapping[str, Any]) -> str:
    """The text that a request was answered with. Raises RowError if there is none, or if it was cut
    off."""
    response = found.get("response")
    error = found.get("error")
    if error or not isinstance(response, dict) or response.get("status_code") != 200:
        said = error if isinstance(error, dict) else _body(response).get("error") or {}
        raise RowError(f"the request failed: {said.get('message') or 'no answer'}")
    body = _body(response)
    if isinstance(body.get("output"), list):
        return _response_text(body)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise RowError("the answer is no chat completion")
    if len(choices) > 1:
        raise RowError(f"the request has {len(choices)} answers; keep one")
    if (reason := choices[0].get("finish_reason")) in CUT_OFF:
        raise RowError(f"the answer was cut off ({reason})")
    message = choices[0].get("message")
    message = message if isinstance(message, dict) else {}
    if message.get("tool_calls"):
        raise RowError("the answer has tool_calls; the bot calls no tools")
    if not isinstance(message.get("content"), str):
        raise RowError("the answer has no text")
    return str(message["content"])


def _response_text(body: Mapping[str, Any]) -> str:
    if body.get("status") == "incomplete":
        why = (body.get("incomplete_details") or {}).get("reason")
        raise RowError(f"the answer was cut off ({why})")
    texts = []
    for item in body["output"]:
        if item.get("type") == "function_call":
            raise RowError("the answer calls a function; the bot calls no tools")
        if item.get("type") == "message":
            parts = item.get("content") or []
            texts += [part["text"] for part in parts if part.get("type") == "output_text"]
    if not texts:
        raise RowError("the answer has no text")
    return "".join(texts)


def _messages(body: Mapping[str, Any]) -> list[Any]:
    if isinstance(body.get("messages"), list):
        return list(body["messages"])
    given = body.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list):
        raise RowError("the request is no chat: it has neither messages nor input")
    system = body.get("instructions")
    before = [{"role": "system", "content": system}] if isinstance(system, str) and system else []
    return [*before, *map(_as_chat, given)]


def _as_chat(message: Any) -> Any:
    """A message of the Responses API as one of a chat: its parts are `input_text`."""
    if isinstance(message, dict) and isinstance(message.get("content"), list):
        parts = [
            {**part, "type": "text"} if isinstance(part, dict) and part.get("type") in
            ("input_text", "output_text") else part
            for part in message["content"]
        ]  # fmt: skip
        return {**message, "content": parts}
    return message


def _body(response: Any) -> dict[str, Any]:
    body = response.get("body") if isinstance(response, dict) else None
    return body if isinstance(body, dict) else {}
