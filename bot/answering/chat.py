"""The flow of one message, for every front end; it knows neither Slack nor HTTP.

`Chat.answer(ask)` checks the question, finds an adapter and a replica (`bot/answering/writing.py`),
records the question and the exposure in one transaction, streams the answer from the engine, and
records the end of the answer before it yields `Ended`. However an answer ends (complete,
interrupted by the engine, cancelled by the reader), the store keeps the text that was shown and the
adapter that wrote it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from sqlite_utils import Database

from bot.answering import prompt, recording
from bot.answering.admission import Admission, TooBusy
from bot.answering.circuit_breaker import Breaker
from bot.answering.prompt import Ask
from bot.answering.recording import Closed
from bot.answering.routing import BASE
from bot.answering.writing import Engines, Writing
from data.config.settings import Settings
from data.conversations import conversations
from data.conversations.conversations import Status
from data.store.clock import now_us
from data.store.db import Store
from data.store.errors import Unavailable, UnderstudyError
from serving.client import EngineClient

__all__ = [
    "Ask",
    "Chat",
    "Closed",
    "Delta",
    "Ended",
    "Event",
    "Started",
    "TooBusy",
    "fallback_note",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Started:
    """The engine has started to answer; the question and its adapter are recorded."""

    reply_id: str
    adapter: str  # helpdesk@3, or base
    variant: str | None  # its label
    precision: str = ""  # of the base model's weights: bfloat16, nf4, ...; '' if unknown
    instead_of: str | None = None  # the adapter that should have answered and could not


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


def fallback_note(adapter: str, instead_of: str | None) -> str:
    """The note shown below an answer that a fallback wrote; '' for any other answer."""
    if instead_of is None:
        return ""
    intended = "The bare base" if instead_of == BASE else instead_of
    return f"{intended} could not answer; {'the bare base' if adapter == BASE else adapter} did."


class Chat:
    """Answers questions; one per process. `close` waits until every ended answer is recorded."""

    def __init__(
        self,
        store: Store,
        engine: EngineClient,
        settings: Settings,
        on_closed: Callable[[Closed], None] | None = None,
    ) -> None:
        bot = settings.bot
        self.breaker = Breaker()
        self.stopping = False  # True: the service, not the reader, cancels the remaining answers
        self.admission = Admission(bot.max_in_flight, bot.max_waiting)
        self._engines = Engines(store, engine, settings, self.breaker, self.admission)
        self._store = store
        self._settings = settings
        self._on_closed = on_closed
        self._recording: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """Answers being written."""
        return self.admission.running

    async def complete(self, ask: Ask) -> tuple[Started, str, Ended]:
        """The whole answer at once. Raises what `answer` raises."""
        started: Started | None = None
        text: list[str] = []
        async with contextlib.aclosing(self.answer(ask)) as events:
            async for event in events:
                match event:
                    case Started():
                        started = event
                    case Delta():
                        text.append(event.text)
                    case Ended() if started is not None:
                        return started, "".join(text), event
        raise Unavailable("The answer did not end properly. Ask again.")

    async def answer(self, ask: Ask) -> AsyncGenerator[Event, None]:
        """Answer `ask`: yields one Started, any number of Delta and one Ended, in that order.

        Close the generator (`contextlib.aclosing`) or cancel its task to stop the engine; the
        answer so far is kept as cancelled. Raises Invalid for a question that fails a check,
        PromptTooLong when the question alone exceeds the context, TooBusy, EngineDown or
        AdapterMissing. Raises StreamCut, after the pieces that arrived, when an answer was
        interrupted and no other replica could continue it."""
        prompt.check(ask, self._settings.bot.max_prompt_chars)
        writing = Writing(self._engines, ask)
        record = writing.record
        try:
            try:
                await writing.begin()
                started = False
                async with contextlib.aclosing(writing.chunks()) as chunks:
                    async for chunk in chunks:
                        if not started:
                            yield _started(writing, ask)
                            started = True
                        if chunk.text:
                            yield Delta(chunk.text)
            except (GeneratorExit, asyncio.CancelledError):
                await self._close(ask, writing, "partial" if self.stopping else "cancelled")
                raise
            except Exception as error:
                status: Status = "partial" if record.parts else "failed"
                with contextlib.suppress(UnderstudyError):  # report the first error, not this one
                    await self._close(ask, writing, status, error)
                raise
            await self._close(ask, writing, "done")
            yield Ended(record.finish_reason, record.prompt_tokens, record.completion_tokens)
        finally:
            writing.leave()

    async def close(self) -> None:
        """Wait until every ended answer is recorded."""
        while self._recording:
            await asyncio.wait(self._recording)

    async def close_abandoned(self) -> int:
        """Mark answers as failed that a dead process left open; returns their number."""
        limit_us = (self._settings.bot.answer_timeout_s + 60) * 1_000_000

        def close(db: Database) -> int:
            return conversations.close_abandoned(db, now_us() - limit_us)

        return await self._store.submit(close)

    async def _close(
        self,
        ask: Ask,
        writing: Writing,
        status: Status,
        error: BaseException | None = None,
    ) -> None:
        """Record how an answer ended, even if the task that waits for it is cancelled."""
        if writing.plan is None:
            return  # nothing was opened
        record, latency_us = writing.record, writing.record.age_us()

        def write(db: Database) -> None:
            recording.close_reply(db, ask.reply_id, record, status, latency_us, error)

        async def recorded() -> None:
            try:
                await self._store.submit(write)
            except Exception:
                log.exception("The end of %s could not be recorded", ask.reply_id)
                raise

        if self._on_closed is not None:
            self._on_closed(
                Closed(
                    writing.plan.domain.name,
                    writing.route.target.name,
                    status,
                    record.first_token_us,
                    latency_us,
                    record.prompt_tokens,
                    record.completion_tokens,
                    writing.route.instead_of.name if writing.route.instead_of else None,
                )
            )
        task = asyncio.create_task(recorded())
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)
        await asyncio.shield(task)


def _started(writing: Writing, ask: Ask) -> Started:
    route = writing.route
    return Started(
        ask.reply_id,
        route.target.name,
        route.target.variant.label if route.target.variant else None,
        route.replica.precision,
        route.instead_of.name if route.instead_of else None,
    )
