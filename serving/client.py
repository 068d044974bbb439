"""Streams answers from an engine. The bot imports this module, which needs neither torch nor vLLM.

vLLM reports too little when something goes wrong, so answers are checked while they arrive: every
chunk must name the requested adapter, and an answer is complete only with a finish reason before
`[DONE]` (a stream that the engine's shutdown cuts also ends in `[DONE]`). Nothing after `[DONE]` is
read, and no more tokens than were asked for. All sampling parameters are sent, so that no default
of a model or an engine applies. `serving/sse.py` separates the events, and
`serving/engine_replies.py` checks each of them. Redirects are not followed: they could lead
people's questions to any address.

An interrupted answer can be continued: the text so far is sent back as the beginning of the answer.
White space at its end is not sent, because tokens begin with white space rather than end with it;
it is removed from the beginning of the continuation instead. So no text is doubled or lost.

Use `contextlib.aclosing` around `stream`: closing the generator closes the connection, and vLLM
then stops generating at once.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import aiohttp
import orjson

from data.retry import Backoff, retry_async
from data.store.errors import Invalid, Unavailable
from serving import engine_replies
from serving.engine_replies import MAX_ERROR_CHARS, EngineError, NotAnAnswer
from serving.sse import EventParser, EventTooLong
from serving.tool_calls import CallPieces
from serving.tool_calls import ToolCall as ToolCall  # the bot imports this module alone

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 4.0  # uvicorn closes idle connections after five seconds
CONNECT_S = 5.0
READ_S = 120.0  # for the first token, and between two tokens
ONCE_MORE = Backoff(attempts=2, first_s=0.0)
QUOTED = 12  # characters in a row that two texts do not share by chance
MAX_REFUSAL_BYTES = 64 * 1024  # of the body of a refusal; an engine's has a few hundred
REFUSAL_S = 5.0  # to read it
DONE_S = 0.1  # after `[DONE]`, to the end of the response, so that its connection can be kept
CHARS_PER_TOKEN = 128  # the longest tokens of the usual vocabularies, on average over an answer
NOT_AN_ANSWER = "The engine sent something that is not an answer."
LEFT_OUT = "its message is omitted because it repeats the conversation."

Messages = list[dict[str, Any]]


class EngineDown(Unavailable):
    """The engine could not be reached, or failed before the first token."""


class _StaleConnection(EngineDown):
    """The engine had closed the kept connection that the request was sent over."""


class EngineBusy(EngineDown):
    """The engine asks to be left alone for `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class EngineGone(EngineDown):
    """No engine listens at the address."""


class AdapterMissing(Unavailable):
    """The engine does not hold the adapter."""


class PromptTooLong(Invalid):
    """The prompt does not fit the engine's context."""

    def __init__(self, tokens: int | None, limit: int | None, what: str = "conversation") -> None:
        """`tokens` is the number at which the engine stopped counting."""
        self.tokens, self.limit = tokens, limit
        how_long = f"at least {tokens} tokens" if tokens else "too many tokens"
        at_most = f"; at most {limit} fit, including the answer" if limit else ""
        super().__init__(f"The {what} is too long: {how_long}{at_most}.")


class StreamCut(Unavailable):
    """The answer was interrupted before its end."""


class WrongAdapter(Unavailable):
    """The engine answered with another model than the requested one."""


@dataclass(frozen=True)
class Sampling:
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_k: int = 0  # 0: all tokens
    min_p: float = 0.0
    logit_bias: Mapping[str, float] | None = None  # by token id
    response_format: Mapping[str, Any] | None = None  # as in vLLM's API
    chat_template_kwargs: Mapping[str, Any] | None = None  # what the chat template is given
    tools: Sequence[Mapping[str, Any]] | None = None  # for the chat template, as in OpenAI's API
    tool_choice: Literal["none", "auto"] = "none"  # auto: the engine looks for calls in the text
    logprobs: int | None = None  # how many alternatives to tell of each token; None: tell nothing


@dataclass(frozen=True)
class Chunk:
    """A piece of the answer, with the token counts so far where the engine reports them. The last
    chunk has the finish reason and the counts, and no text."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    logprobs: tuple[dict[str, Any], ...] = ()  # of its tokens, if they were asked for
    tool_calls: tuple[ToolCall, ...] = ()  # of the whole answer, in the last chunk


class EngineClient:
    """One pool of connections to all engines. Create it anywhere, use it in one event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def stream(
        self,
        url: str,
        served_name: str,
        messages: Messages,
        sampling: Sampling,
        request_id: str,
        begun: str = "",
    ) -> AsyncGenerator[Chunk, None]:
        """Stream the answer of the adapter `served_name` on the engine at `url`. To continue an
        interrupted answer, pass its text as `begun`; only the continuation is streamed.

        Raises EngineDown, AdapterMissing, PromptTooLong, Invalid before the first chunk,
        StreamCut after it, WrongAdapter at any time.
        """
        body = orjson.dumps(_request(served_name, messages, sampling, begun.rstrip()))
        answer = _Answer(served_name, messages, sampling.max_tokens, begun[len(begun.rstrip()) :])
        response = await self._post(url, body, request_id)
        try:
            if response.status != 200:
                raise await _refusal(response, url, served_name, messages)
            parser = EventParser()
            async for piece in response.content.iter_any():
                for event in parser.feed(piece):
                    text = answer.take(event)
                    logprobs = answer.logprobs if sampling.logprobs is not None else ()
                    if text or logprobs:
                        yield Chunk(text, None, *answer.counts, logprobs)
                    if answer.done:
                        break
                if answer.done:
                    break
            if answer.done and not answer.cut:
                await _read_to_end(response)
        except EventTooLong as error:
            log.warning("%s sent no answer: %s", url, error)
            raise answer.broken(NOT_AN_ANSWER) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise answer.broken(_sentence(url, error)) from error
        finally:
            response.close()  # no effect when the answer was read to its end
        yield answer.last()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, url: str, body: bytes, request_id: str) -> aiohttp.ClientResponse:
        """Send the request, and send it once more if the engine had closed the kept connection."""
        target = f"{url}/v1/chat/completions"
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "X-Request-Id": request_id,
        }

        async def post(_: int) -> aiohttp.ClientResponse:
            trace = SimpleNamespace(reused=False)
            try:
                return await self._open().post(
                    target,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    trace_request_ctx=trace,
                )
            except (aiohttp.ServerDisconnectedError, ConnectionResetError) as error:
                kind = _StaleConnection if trace.reused else EngineDown
                raise kind(_sentence(url, error)) from error
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                raise EngineGone(_sentence(url, error)) from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise EngineDown(_sentence(url, error)) from error

        return await retry_async(post, ONCE_MORE, on=_StaleConnection)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_reuseconn.append(_note_reuse)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S),
                trace_configs=[trace],
            )
        return self._session


async def _note_reuse(_session: Any, context: SimpleNamespace, _params: Any) -> None:
    context.trace_request_ctx.reused = True


async def _read_to_end(response: aiohttp.ClientResponse) -> None:
    """Read past what comes after the answer, for a moment. Errors do not matter any more."""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(DONE_S):
            async for _ in response.content.iter_any():
                pass


class _Answer:
    """The state of one answer while it arrives."""

    def __init__(
        self, served_name: str, messages: Messages, max_tokens: int, shown: str = ""
    ) -> None:
        """`shown` is the white space at the end of the text that is continued."""
        self.served_name = served_name
        self._messages = messages
        self._max_tokens = max_tokens
        self._room = max_tokens * CHARS_PER_TOKEN
        self._pieces = 0  # each has at least one token
        self.begun = False  # whether there was any text
        self._shown = shown
        self.done = False  # nothing more is read
        self.cut = False  # the engine went on after the last permitted token
        self._finish_reason: str | None = None
        self._prompt_tokens: int | None = None
        self._completion_tokens: int | None = None
        self.logprobs: tuple[dict[str, Any], ...] = ()  # of the latest piece
        self._calls = CallPieces()

    def take(self, data: bytes) -> str:
        """The text in one event; often there is none. Raises WrongAdapter, and EngineDown or
        StreamCut for an event that is not part of an answer, and Invalid for a refusal."""
        self.logprobs = ()
        if data.strip() == b"[DONE]":
            self.done = True
            return ""
        try:
            event = engine_replies.event(data)
        except NotAnAnswer as error:
            log.warning("%s sent something that is not an answer: %s", self.served_name, error)
            raise self.broken(NOT_AN_ANSWER) from error
        if isinstance(event, EngineError):
            message = _unquoted(event.message, self._messages)
            if event.code == 400 and not self.begun:  # a schema is checked after the status is sent
                raise Invalid(f"The engine refused the question: {message or 'it is not valid.'}")
            log.warning("The engine failed while it answered: %s", message)
            raise self.broken("The engine failed before it answered.")
        if event.model != self.served_name:
            raise WrongAdapter(
                f"The engine answered as {_name(event.model)} instead of {self.served_name!r}."
            )
        written = event.text + "".join(c.name + c.arguments for c in event.calls)
        if self._is_too_much(written, event.completion_tokens):
            self.done, self.cut, self._finish_reason = True, True, "length"
            log.warning("%s wrote more than %d tokens", self.served_name, self._max_tokens)
            return ""
        if event.prompt_tokens is not None:
            self._prompt_tokens = event.prompt_tokens
        if event.completion_tokens is not None:
            self._completion_tokens = event.completion_tokens
        self._finish_reason = event.finish_reason or self._finish_reason
        self.begun = self.begun or bool(written)
        self._calls.add(event.calls)
        self.logprobs = event.logprobs
        return self._unseen(event.text) if self._shown else event.text

    def _is_too_much(self, text: str, tokens: int | None) -> bool:
        """Whether `text` exceeds the tokens that were asked for: by the engine's count, by the
        number of pieces if it counts none, or by its length."""
        if not text:
            return False
        self._pieces += 1
        self._room -= len(text)
        written = self._pieces if tokens is None else tokens
        return written > self._max_tokens or self._room < 0

    @property
    def counts(self) -> tuple[int | None, int | None]:
        """Tokens of the prompt and of the answer, as far as the engine has reported them."""
        return self._prompt_tokens, self._completion_tokens

    def _unseen(self, text: str) -> str:
        """`text` without the white space that was shown already."""
        same = 0
        while same < min(len(text), len(self._shown)) and text[same] == self._shown[same]:
            same += 1
        self._shown = self._shown[same:] if same == len(text) else ""
        return text[same:]

    def last(self) -> Chunk:
        """The closing chunk. Raises StreamCut or EngineDown when the answer is incomplete."""
        if not self.done:
            raise self.broken("The engine closed the connection before it answered.")
        if self._finish_reason is None or self._finish_reason in engine_replies.INTERRUPTED:
            raise StreamCut("The engine stopped in the middle of the answer.")
        calls = self._calls.whole
        return Chunk("", self._finish_reason, *self.counts, tool_calls=calls)

    def broken(self, before_text: str) -> Unavailable:
        """The error for a failure now. `before_text` is its message if there was no text yet."""
        if self.begun:
            return StreamCut("The engine failed in the middle of the answer.")
        return EngineDown(before_text)


def _request(
    served_name: str, messages: Messages, sampling: Sampling, begun: str
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": served_name,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": 1.0,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
    }
    if sampling.stop:
        body["stop"] = sampling.stop
    if sampling.logit_bias:
        body["logit_bias"] = sampling.logit_bias
    if sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    if sampling.response_format:
        body["response_format"] = sampling.response_format
    if sampling.tools:
        body |= {"tools": sampling.tools, "tool_choice": sampling.tool_choice}
    if sampling.chat_template_kwargs:
        body["chat_template_kwargs"] = sampling.chat_template_kwargs
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if begun:
        body["messages"] = [*messages, {"role": "assistant", "content": begun}]
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


async def _refusal(
    response: aiohttp.ClientResponse, url: str, served_name: str, messages: Messages
) -> Exception:
    """The error for a status other than 200."""
    status = response.status
    if 300 <= status < 400:
        return EngineDown(
            f"The engine at {url} answered {status}: it leads to another address, where no "
            "question is sent."
        )
    async with asyncio.timeout(REFUSAL_S):
        raw = await _beginning(response)
    message = engine_replies.refusal(raw)
    shown = _unquoted(message, messages) if message else ""
    if message is not None and status == 404:
        return AdapterMissing(f"The engine does not hold {served_name}.")
    if message is not None and status in (400, 413, 422):
        why = f"The engine refused the question: {shown}" if shown else "The engine refused it."
        return _too_long(message) or Invalid(why)
    sentence = (
        f"The engine answered {status}: {shown}" if shown else f"The engine answered {status}."
    )
    pause_s = engine_replies.retry_after(response.headers.get("Retry-After"))
    if status in (429, 503) and pause_s is not None:
        return EngineBusy(sentence, pause_s)
    return EngineDown(sentence)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """At most `MAX_REFUSAL_BYTES` of the body."""
    found = b""
    async for piece in response.content.iter_any():
        found += piece
        if len(found) >= MAX_REFUSAL_BYTES:
            break
    return found[:MAX_REFUSAL_BYTES]


def _name(model: str | None) -> str:
    """A model name that an engine gave, for a message that people read."""
    if model is None:
        return "nobody"
    return repr(model[:80]) if not engine_replies.MARKUP.search(model) else "something else"


def _unquoted(message: str, messages: Messages) -> str:
    """An engine's error message, unless it quotes the conversation: people's words belong in no
    log, and other people read about the failure, too."""
    texts, message = [m["content"] for m in messages], message[:MAX_ERROR_CHARS]
    runs = (message[at : at + QUOTED] for at in range(len(message) - QUOTED + 1))
    whole = any(len(text.strip()) >= QUOTED // 2 and text.strip() in message for text in texts)
    return LEFT_OUT if whole or any(run in text for run in runs for text in texts) else message


def _too_long(message: str) -> PromptTooLong | None:
    if "context length" not in message:
        return None
    limit = re.search(r"context length (?:is|of) (?:only )?(\d+)", message)
    tokens = re.search(r"(\d+) input tokens|prompt (?:contains|has)(?: at least)? (\d+)", message)
    return PromptTooLong(
        int(next(g for g in tokens.groups() if g)) if tokens else None,
        int(limit[1]) if limit else None,
    )


def _sentence(url: str, error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"The engine at {url} did not answer in time."
    return f"The engine at {url} cannot be reached ({type(error).__name__})."
