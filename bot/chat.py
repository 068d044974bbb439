"""The one flow of a message, for every front end; it knows neither Slack nor HTTP.

`Chat.answer(ask)` checks the question, plans in one read (history, comparison, adapter), records
question and exposure in one transaction, streams from the engine, and records how the answer
ended before it says so. However an answer ends (done, cut by the engine, cancelled by the
reader) the text that was shown is kept, with the adapter that wrote it.
"""

import asyncio
import contextlib
import itertools
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlite_utils import Database

from bot import assign
from data import conversations, domains, experiments
from data.clock import now_us
from data.config import Settings
from data.conversations import Message, Status
from data.db import Store
from data.domains import Domain
from data.errors import Invalid, Unavailable, UnderstudyError
from serving.client import (
    AdapterMissing,
    Chunk,
    EngineClient,
    EngineDown,
    PromptTooLong,
    Sampling,
    StreamCut,
)

log = logging.getLogger(__name__)

LEAST_ANSWER = 32  # tokens; a question that leaves less room is too long
HISTORY_BUDGET = 4  # times `max_prompt_chars`: more earlier text than this is never sent
CUT = ("", "abort", "error")  # finish reasons of an answer that did not come to its end


class TooBusy(Unavailable):
    """`max_in_flight` answers are being written already."""


@dataclass(frozen=True)
class Ask:
    """A question, and all that decides how it is answered."""

    person: str  # slack:T1/U2, http:KEY/USER, web:SESSION, cli:USER
    thread: str  # the conversation's key in the store
    text: str
    domain: Domain
    pinned: str | None = None  # helpdesk@3, helpdesk@base: not routed, in no comparison
    history: tuple[Message, ...] | None = None  # None: earlier turns come from the store
    system: str | None = None  # instead of the variant's and the domain's system prompt
    sampling: Mapping[str, Any] = field(default_factory=dict)  # fields of `Sampling`
    external_id: str = ""  # the front end's own id of the question, Slack's ts
    reply_id: str = field(default_factory=conversations.new_reply_id)


@dataclass(frozen=True)
class Started:
    """The question is recorded and its adapter chosen; the engine has not answered yet."""

    reply_id: str
    adapter: str  # helpdesk@3, or base
    variant: str | None  # its label


@dataclass(frozen=True)
class Delta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True)
class Ended:
    """The answer is complete and recorded."""

    finish_reason: str  # stop, length
    prompt_tokens: int
    completion_tokens: int


Event = Started | Delta | Ended


@dataclass(frozen=True)
class Closed:
    """How an answer ended, for who counts (`bot/metrics.py`). Times in microseconds."""

    domain: str
    adapter: str
    status: Status
    first_token_us: int | None
    latency_us: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class _Plan:
    domain: Domain
    choice: assign.Choice
    history: tuple[Message, ...]


@dataclass
class _Record:
    """What is known of an answer while it is written."""

    began_ns: int = field(default_factory=time.perf_counter_ns)
    parts: list[str] = field(default_factory=list)
    first_token_us: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = ""

    def age_us(self) -> int:
        return (time.perf_counter_ns() - self.began_ns) // 1000

    def add(self, chunk: Chunk) -> None:
        if chunk.text:
            if self.first_token_us is None:
                self.first_token_us = self.age_us()
            self.parts.append(chunk.text)
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.prompt_tokens = chunk.prompt_tokens or self.prompt_tokens
        self.completion_tokens = chunk.completion_tokens or self.completion_tokens


class Chat:
    """Answers questions; one per process. `close` waits for what is still being recorded."""

    def __init__(
        self,
        store: Store,
        engine: EngineClient,
        settings: Settings,
        on_closed: Callable[[Closed], None] | None = None,
    ) -> None:
        self.in_flight = 0
        self._store = store
        self._engine = engine
        self._settings = settings
        self._on_closed = on_closed
        self._asking: Counter[str] = Counter()  # replica URL -> answers it is writing
        self._recording: set[asyncio.Task[None]] = set()

    async def answer(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """Answer `ask`: one Started, any number of Delta, one Ended, in that order.

        Close the generator (`contextlib.aclosing`) or cancel its task to stop the engine; the
        answer so far is kept as cancelled. Raises Invalid for a question that can't be asked,
        PromptTooLong when it alone does not fit, TooBusy, EngineDown, AdapterMissing; StreamCut
        when the engine broke off, after the pieces that came."""
        self._check(ask)
        if self.in_flight >= self._settings.bot.max_in_flight:
            raise TooBusy("Too many answers are being written. Try again in a moment.")
        self.in_flight += 1
        try:
            plan = await self._store.read(lambda db: self._plan(db, ask))
            record = _Record()
            try:
                await self._store.submit(lambda db: _open(db, ask, plan))
                variant = plan.choice.variant
                yield Started(ask.reply_id, plan.choice.name, variant.label if variant else None)
                async with contextlib.aclosing(self._chunks(ask, plan, record)) as chunks:
                    async for chunk in chunks:
                        record.add(chunk)
                        if chunk.text:
                            yield Delta(chunk.text)
                if record.finish_reason in CUT:
                    raise StreamCut("The answer broke off. Please ask again.")  # noqa: TRY301
            except (GeneratorExit, asyncio.CancelledError):
                await self._close(ask, plan, record, "cancelled")
                raise
            except Exception as error:
                status: Status = "partial" if record.parts else "failed"
                with contextlib.suppress(UnderstudyError):  # the first error is the one to tell
                    await self._close(ask, plan, record, status, error)
                raise
            await self._close(ask, plan, record, "done")
            yield Ended(record.finish_reason, record.prompt_tokens, record.completion_tokens)
        finally:
            self.in_flight -= 1

    async def close(self) -> None:
        """Wait until every answer that has ended is recorded."""
        while self._recording:
            await asyncio.wait(self._recording)

    async def close_abandoned(self) -> int:
        """Mark answers that a stopped process left open as failed; returns how many."""
        limit_us = (self._settings.bot.answer_timeout_s + 60) * 1_000_000

        def close(db: Database) -> int:
            return conversations.close_abandoned(db, now_us() - limit_us)

        return await self._store.submit(close)

    def _check(self, ask: Ask) -> None:
        most = self._settings.bot.max_prompt_chars
        if not ask.text.strip():
            raise Invalid("The question is empty.")
        for name, text in (("question", ask.text), ("system message", ask.system or "")):
            if len(text) > most:
                raise Invalid(f"The {name} has {len(text):,} characters; at most {most:,} fit.")
        earlier = (m.text for m in ask.history or ())
        for text in (ask.text, ask.system or "", ask.person, ask.thread, *earlier):
            if "\x00" in text or not _encodable(text):
                raise Invalid("The text has characters that are not valid Unicode text.")

    def _plan(self, db: Database, ask: Ask) -> _Plan:
        """Everything the store knows that decides the answer, in one read."""
        known = conversations.find(db, ask.thread)
        domain = ask.domain
        if known is not None and known.domain_id != domain.id:
            domain = domains.by_id(db, known.domain_id)  # a conversation keeps its first domain
        history: Sequence[Message] = ask.history or ()
        if ask.history is None and known is not None:
            history = conversations.history(db, known.id, self._settings.bot.history_turns)
        budget = HISTORY_BUDGET * self._settings.bot.max_prompt_chars
        choice = assign.choose(db, domain, ask.person, ask.pinned)
        return _Plan(domain, choice, _newest(history, budget))

    async def _chunks(self, ask: Ask, plan: _Plan, record: _Record) -> AsyncGenerator[Chunk, None]:
        """The engine's answer. Before its first piece, another replica is tried when one is
        down. A prompt that is too long is made to fit: an answer longer than usual is given up
        first, then the oldest turns, then the usual length."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.bot.answer_timeout_s
        urls = sorted(plan.choice.urls, key=self._asking.__getitem__)
        history, sampling = plan.history, self._sampling(ask, plan)
        for attempt in itertools.count():
            request_id = f"{ask.reply_id}-{attempt}" if attempt else ask.reply_id
            messages = _messages(ask, plan, history)
            try:
                async with contextlib.aclosing(
                    self._from(urls[0], plan, messages, sampling, request_id)
                ) as chunks:
                    while True:
                        async with asyncio.timeout_at(deadline):
                            chunk = await anext(chunks, None)
                        if chunk is None:
                            return
                        yield chunk
            except PromptTooLong:
                if sampling.max_tokens > self._settings.bot.max_tokens:
                    sampling = _briefer(sampling, self._settings.bot.max_tokens)
                elif history:
                    history = _shorter(history)
                elif sampling.max_tokens > LEAST_ANSWER:
                    sampling = _briefer(sampling, LEAST_ANSWER)
                else:
                    raise
            except (EngineDown, AdapterMissing) as error:
                if record.parts or len(urls) == 1:
                    raise
                log.warning("%s did not answer, asking %s: %s", urls[0], urls[1], error)
                urls = urls[1:]
            except TimeoutError as error:
                waited = self._settings.bot.answer_timeout_s
                raise StreamCut(f"The answer took longer than {waited} seconds.") from error

    async def _from(
        self,
        url: str,
        plan: _Plan,
        messages: list[dict[str, str]],
        sampling: Sampling,
        request_id: str,
    ) -> AsyncGenerator[Chunk, None]:
        """One request to one replica."""
        self._asking[url] += 1
        try:
            stream = self._engine.stream(
                url, plan.choice.served_name, messages, sampling, request_id
            )
            async with contextlib.aclosing(stream) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._asking[url] -= 1

    def _sampling(self, ask: Ask, plan: _Plan) -> Sampling:
        """The deployment's defaults, then the variant's, then the caller's."""
        bot = self._settings.bot
        wanted: dict[str, Any] = {"max_tokens": bot.max_tokens, "temperature": bot.temperature}
        if plan.choice.variant is not None:
            wanted |= plan.choice.variant.sampling
        return Sampling(**(wanted | dict(ask.sampling)))

    async def _close(
        self,
        ask: Ask,
        plan: _Plan,
        record: _Record,
        status: Status,
        error: BaseException | None = None,
    ) -> None:
        """Record how an answer ended; goes on when the one who waits for it is cancelled."""
        expected = error is None or isinstance(error, UnderstudyError)
        latency_us = record.age_us()

        def write(db: Database) -> None:
            conversations.answered(
                db,
                ask.reply_id,
                "".join(record.parts),
                status=status,
                finish_reason=record.finish_reason,
                prompt_tokens=record.prompt_tokens,
                completion_tokens=record.completion_tokens,
                first_token_us=record.first_token_us,
                latency_us=latency_us,
                error="" if error is None else str(error) if expected else "internal error",
            )

        async def recorded() -> None:
            try:
                await self._store.submit(write)
            except Exception:
                log.exception("The end of %s could not be recorded", ask.reply_id)
                raise

        if self._on_closed is not None:
            self._on_closed(
                Closed(
                    plan.domain.name,
                    plan.choice.name,
                    status,
                    record.first_token_us,
                    latency_us,
                    record.prompt_tokens,
                    record.completion_tokens,
                )
            )
        task = asyncio.create_task(recorded())
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)
        await asyncio.shield(task)


def _open(db: Database, ask: Ask, plan: _Plan) -> None:
    """The question, its reply and the person's exposure, in one transaction."""
    choice = plan.choice
    thread = conversations.open_thread(db, ask.thread, plan.domain.id, ask.person)
    conversations.ask(
        db,
        reply_id=ask.reply_id,
        conversation=thread,
        person=ask.person,
        text=ask.text,
        adapter_id=choice.adapter.id if choice.adapter else None,
        variant_id=choice.variant.id if choice.variant else None,
        external_id=ask.external_id,
    )
    if choice.experiment_id is not None and choice.variant is not None:
        experiments.expose(db, choice.experiment_id, ask.person, choice.variant.id)


def _messages(ask: Ask, plan: _Plan, history: tuple[Message, ...]) -> list[dict[str, str]]:
    """What the model is sent, as chat messages."""
    system = ask.system
    if system is None and plan.choice.variant is not None:
        system = plan.choice.variant.system_prompt
    if system is None:
        system = plan.domain.system_prompt
    begin = [{"role": "system", "content": system}] if system else []
    turns = [{"role": m.role, "content": m.text} for m in history]
    return [*begin, *turns, {"role": "user", "content": ask.text}]


def _newest(history: Sequence[Message], budget: int) -> tuple[Message, ...]:
    """The newest messages that have at most `budget` characters together."""
    kept: list[Message] = []
    for message in reversed(history):
        budget -= len(message.text)
        if budget < 0:
            return _from_a_question(kept[::-1])
        kept.append(message)
    return tuple(kept[::-1])


def _shorter(history: tuple[Message, ...]) -> tuple[Message, ...]:
    """Without the oldest turn, or the oldest quarter of many."""
    return _from_a_question(history[max(1, len(history) // 4) :])


def _briefer(sampling: Sampling, least: int) -> Sampling:
    """With half of the tokens for the answer, but at least `least`."""
    return replace(sampling, max_tokens=max(least, sampling.max_tokens // 2))


def _from_a_question(history: Sequence[Message]) -> tuple[Message, ...]:
    """Without the answers at its beginning, whose question is gone."""
    begin = 0
    while begin < len(history) and history[begin].role == "assistant":
        begin += 1
    return tuple(history[begin:])


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
