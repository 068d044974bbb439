"""OpenAI's chat completion, whole and as the chunks of a stream."""

import time
from collections.abc import Sequence
from typing import Any

import orjson

from bot.answering.events import Delta, Ended, Started
from bot.answering.several import Choice, WholeAnswer
from bot.api.answer_sources import grounds_as_json
from bot.api.completion_request import ChatRequest
from bot.api.problems import Problem
from bot.api.tool_fields import calls_as_json


class Chunks:
    """Encodes `chat.completion.chunk` events. Everything except the text is encoded only once."""

    content_type = b"text/event-stream; charset=utf-8"

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._include_usage = request.include_usage
        self._head: dict[str, Any] = {}
        self._before = self._after = b""
        self._refused: dict[int, bool] = {}

    def begin(self, started: Started) -> bytes:
        self._head = {
            "id": started.reply_id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self._request.model,
        }
        if self._request.choices > 1:
            return b""  # each choice begins by itself
        usage = b',"usage":null' if self._include_usage else b""
        self._before = (
            b"data: "
            + orjson.dumps(self._head)[:-1]
            + b',"choices":[{"index":0,"delta":{"%s":'
            % (b"refusal" if is_refusal(self._request.as_json, started) else b"content")
        )
        self._after = b'},"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        return self._first(0, started)

    def delta(self, delta: Delta | Choice) -> bytes:
        if isinstance(delta, Choice):
            return self._of_choice(delta)
        if delta.logprobs:
            said = {"content": delta.text}
            return self._chunk([_choice(delta=said, logprobs=_logprobs(delta))])
        return self._before + orjson.dumps(delta.text) + self._after

    def end(self, ended: Ended) -> bytes:
        parts = [] if self._request.choices > 1 else [self._last(0, ended)]
        if self._include_usage:
            parts.append(event(self._head | {"choices": [], "usage": usage_of(ended)}))
        return b"".join([*parts, b"data: [DONE]\n\n"])

    def _of_choice(self, choice: Choice) -> bytes:
        match choice.event:
            case Started() as started:
                self._refused[choice.index] = is_refusal(self._request.as_json, started)
                return self._first(choice.index, started)
            case Delta() as delta:
                name = "refusal" if self._refused[choice.index] else "content"
                said = {name: delta.text}
                return self._chunk([_choice(choice.index, delta=said, logprobs=_logprobs(delta))])
            case Ended() as ended:
                return self._last(choice.index, ended)

    def _first(self, index: int, started: Started) -> bytes:
        delta = {"role": "assistant", "content": None if self._request.tools else ""}
        return self._chunk([_choice(index, delta=delta)], understudy=about(started))

    def _last(self, index: int, ended: Ended) -> bytes:
        last = self._chunk([_choice(index, delta={}, finish_reason=ended.finish_reason)])
        if not ended.tool_calls:
            return last
        calls = enumerate(calls_as_json(ended.tool_calls))
        delta = {"tool_calls": [{"index": number, **call} for number, call in calls]}
        return self._chunk([_choice(index, delta=delta)]) + last

    def error(self, problem: Problem) -> bytes:
        """The last event of an interrupted answer; no `[DONE]` follows."""
        return b"data: " + problem.body() + b"\n\n"

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        usage = {"usage": None} if self._include_usage else {}
        return event(self._head | {"choices": choices} | usage | more)


def whole(request: ChatRequest, answers: Sequence[WholeAnswer]) -> dict[str, Any]:
    """The completion of answers that have ended."""
    return {
        "id": answers[0].started.reply_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [
            _choice(
                index,
                message=_message(request, answer),
                finish_reason=answer.ended.finish_reason,
                logprobs=_logprobs(answer.ended),
                **each_about(answers, answer),
            )
            for index, answer in enumerate(answers)
        ],
        "usage": usage_of_all(answers),
        "understudy": about(answers[0].started),
    }


def _message(request: ChatRequest, answer: WholeAnswer) -> dict[str, Any]:
    refused = is_refusal(request.as_json, answer.started)
    calls = calls_as_json(answer.ended.tool_calls)
    return {
        "role": "assistant",
        "content": None if refused or (calls and not answer.text) else answer.text,
        "refusal": answer.text if refused else None,
        **({"tool_calls": calls} if calls else {}),
    }


def is_refusal(as_json: bool, started: Started) -> bool:
    """Whether the words of a declined question stand in `refusal`, as in OpenAI's API, because
    whoever wants JSON would take them for it."""
    return as_json and started.outcome == "declined"


def _logprobs(told: Delta | Ended) -> dict[str, Any] | None:
    return {"content": told.logprobs, "refusal": None} if told.logprobs else None


def _choice(index: int = 0, **more: Any) -> dict[str, Any]:
    return {"index": index, "logprobs": None, "finish_reason": None} | more


def about(started: Started) -> dict[str, Any]:
    """The field `understudy`."""
    return {
        "adapter": started.adapter or None,
        "variant": started.variant,
        "instead_of": started.instead_of,
        "precision": started.precision,
        "reply_id": None if started.task else started.reply_id,
        "history_dropped": started.history_dropped,
        **grounds_as_json(started),
    }


def each_about(answers: Sequence[WholeAnswer], answer: WholeAnswer) -> dict[str, Any]:
    """The field `understudy` of a choice, if there are several."""
    return {"understudy": about(answer.started)} if len(answers) > 1 else {}


def usage_of_all(answers: Sequence[WholeAnswer]) -> dict[str, int]:
    """The tokens of the prompt once, and those of all answers."""
    prompt = max(a.ended.prompt_tokens for a in answers)
    completion = sum(a.ended.completion_tokens for a in answers)
    return usage_of(Ended("stop", prompt, completion))


def usage_of(ended: Ended) -> dict[str, int]:
    return {
        "prompt_tokens": ended.prompt_tokens,
        "completion_tokens": ended.completion_tokens,
        "total_tokens": ended.prompt_tokens + ended.completion_tokens,
    }


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
