"""OpenAI's response object, and the events of its streams.

The output is a message with one part, and calls of functions. Without calls there is always a
message. Its part is a text, or a refusal if the words of a declined question stand where the caller
wants JSON.
"""

import time
from dataclasses import replace
from typing import Any, Literal

import orjson

from bot.answering.events import Delta, Ended, Started
from bot.api.completion_object import about, is_refusal
from bot.api.problems import Problem
from bot.api.response_request import ResponseRequest
from bot.api.tool_fields import calls_as_items, digits_of

Logprobs = tuple[dict[str, Any], ...]  # of tokens


class ResponseObject:
    """OpenAI's response object, in each state of the answer."""

    def __init__(
        self, request: ResponseRequest, reply_id: str, created_at: int | None = None
    ) -> None:
        """`created_at`: in seconds since 1970; None: now."""
        self.refused = False
        self._about: dict[str, Any] = {}
        self._as_json = request.text.format.type != "text"
        self._reply_id = reply_id
        self.item_id = f"msg_{digits_of(reply_id)}"
        tools = request.tools or []
        choice = request.tool_choice or ("auto" if tools else "none")
        self._head = {
            "id": reply_id,
            "object": "response",
            "created_at": int(time.time()) if created_at is None else created_at,
            "model": request.model,
            "background": False,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "parallel_tool_calls": bool(tools) and request.parallel_tool_calls is not False,
            "previous_response_id": request.previous_response_id,
            "store": request.store,
            "temperature": request.temperature,
            "text": {"format": request.text.format.as_json},
            "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
            "tools": [tool.model_dump() for tool in tools],
            "top_p": request.top_p,
            "truncation": "auto",
            "user": request.user,
        }

    def begin(self, started: Started) -> dict[str, Any]:
        """The response when its answer begins."""
        self._about = about(started)
        self.refused = is_refusal(self._as_json, started)
        return self._state("in_progress")

    def ended(self, text: str, ended: Ended, state: str = "") -> dict[str, Any]:
        """The response of an answer that ended, complete or at its length limit; in another
        `state` if it was stopped."""
        at_limit = ended.finish_reason == "length"
        state = state or ("incomplete" if at_limit else "completed")
        used = {
            "input_tokens": ended.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": ended.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": ended.prompt_tokens + ended.completion_tokens,
        }
        reason = {"reason": "max_output_tokens"} if at_limit else None
        calls = calls_as_items(self._reply_id, ended.tool_calls, state)
        words = [self.item(state, text, ended.logprobs)] if text or not calls else []
        output = [*words, *calls]
        return self._state(state, output=output, usage=used, incomplete_details=reason)

    def failed(self, problem: Problem) -> dict[str, Any]:
        error = {"code": problem.code or problem.type, "message": problem.message}
        return self._state("failed", error=error)

    def item(self, status: str, text: str | None = None, logprobs: Logprobs = ()) -> dict[str, Any]:
        """The message of the output; without a text while it begins."""
        content = [] if text is None else [self.part(text, logprobs)]
        return {
            "id": self.item_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def part(self, text: str, logprobs: Logprobs = ()) -> dict[str, Any]:
        """The only part of the message."""
        if self.refused:
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}

    def _state(self, status: str, **more: Any) -> dict[str, Any]:
        state = {"status": status, "error": None, "incomplete_details": None}
        rest: dict[str, Any] = {"output": [], "usage": None, "understudy": self._about}
        return self._head | state | rest | more


class ResponseEvents:
    """Encodes an answer as the events of OpenAI's Responses API, in their order."""

    content_type = b"text/event-stream; charset=utf-8"

    def __init__(self, response: ResponseObject) -> None:
        self._response = response
        self._parts: list[str] = []
        self._logprobs: Logprobs = ()
        self._number = 0
        self._place = {"item_id": response.item_id, "output_index": 0, "content_index": 0}

    def begin(self, started: Started) -> bytes:
        begun = self._response.begin(started)
        return b"".join(
            [
                self._event("response.created", response=begun),
                self._event("response.in_progress", response=begun),
            ]
        )

    def delta(self, delta: Delta) -> bytes:
        if not (delta.text or delta.logprobs):
            return b""
        begun = b"" if self._parts else self._message_begun()
        self._parts.append(delta.text)
        self._logprobs += delta.logprobs
        return begun + self._text_event("delta", delta.text, delta.logprobs)

    def end(self, ended: Ended) -> bytes:
        text = "".join(self._parts)
        response = self._response.ended(text, replace(ended, logprobs=self._logprobs))
        events = []
        for place, item in enumerate(response["output"]):
            if item["type"] == "message":
                events += [b"" if self._parts else self._message_begun(), self._message(item, text)]
            else:
                events.append(self._call(place, item))
        events.append(self._event(f"response.{response['status']}", response=response))
        return b"".join(events)

    def error(self, problem: Problem) -> bytes:
        """The last event of an interrupted answer."""
        return self._event("response.failed", response=self._response.failed(problem))

    def _message_begun(self) -> bytes:
        item, empty = self._response.item("in_progress"), self._response.part("")
        return b"".join(
            [
                self._event("response.output_item.added", output_index=0, item=item),
                self._event("response.content_part.added", **self._place, part=empty),
            ]
        )

    def _message(self, item: dict[str, Any], text: str) -> bytes:
        """The end of the message."""
        part = self._response.part(text, self._logprobs)
        return b"".join(
            [
                self._text_event("done", text, self._logprobs),
                self._event("response.content_part.done", **self._place, part=part),
                self._event("response.output_item.done", output_index=0, item=item),
            ]
        )

    def _call(self, index: int, item: dict[str, Any]) -> bytes:
        """A call, which comes at once: all that is known of it is known at the end."""
        place = {"item_id": item["id"], "output_index": index}
        whole = item["arguments"]
        begun = item | {"status": "in_progress", "arguments": ""}
        named = {"name": item["name"], "arguments": whole}
        return b"".join(
            [
                self._event("response.output_item.added", output_index=index, item=begun),
                self._event("response.function_call_arguments.delta", **place, delta=whole),
                self._event("response.function_call_arguments.done", **place, **named),
                self._event("response.output_item.done", output_index=index, item=item),
            ]
        )

    def _text_event(self, kind: Literal["delta", "done"], text: str, logprobs: Logprobs) -> bytes:
        """More of the text, or all of it, under the name that its part has for it."""
        if self._response.refused:
            name = "delta" if kind == "delta" else "refusal"
            return self._event(f"response.refusal.{kind}", **self._place, **{name: text})
        name = "delta" if kind == "delta" else "text"
        fields = {name: text, "logprobs": logprobs}
        return self._event(f"response.output_text.{kind}", **self._place, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"
