"""The flow of one message, for every front end; it knows neither Slack nor HTTP.

`Chat.answer(ask)` checks the question and searches the approved pairs
(`bot/answering/reference_finder.py`). What the search finds decides whether the question is
declined (`bot/answering/grounding.py`). Otherwise it finds an adapter and a replica
(`bot/answering/writing.py`), records the question and the exposure in one transaction, streams the
answer from the engine, and records the end of the answer before it yields `Ended`. If no engine can
answer, it quotes an approved answer instead. However an answer ends (complete,
interrupted by the engine, cancelled by the reader), the store keeps the text that was shown and the
adapter that wrote it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlite_utils import Database

from bot.answering import prompt, recording, task_answers
from bot.answering.admission import Admission, AdmissionClass, TooBusy
from bot.answering.circuit_breaker import Breaker
from bot.answering.grounding import Grounds
from bot.answering.plan import NobodyCanAnswer
from bot.answering.prompt import Ask
from bot.answering.recording import Closed
from bot.answering.reference_finder import ReferenceFinder
from bot.answering.routing import BASE, Target
from bot.answering.storage_bounds import StorageBounds
from bot.answering.task_answers import TaskAnswers
from bot.answering.tool_use import Tools
from bot.answering.writing import Engines, NotLearned, Writing
from data.bases import control_tokens, tool_template
from data.config.settings import Settings
from data.conversations import conversations
from data.conversations.conversations import Outcome, Status
from data.pairs.reply_sources import Source
from data.search import layout
from data.search.search import PairSearch
from data.store.db import Store, StoreBusy, StoreFull
from data.store.errors import Invalid, Unavailable, UnderstudyError
from serving.client import AdapterMissing, Chunk, EngineClient, PromptTooLong, ToolCall

__all__ = [
    "Ask",
    "Chat",
    "Closed",
    "Delta",
    "Ended",
    "Event",
    "SearchOutcome",
    "Started",
    "TooBusy",
    "fallback_note",
]

log = logging.getLogger(__name__)
T = TypeVar("T")
AGAIN_S = 1.0  # before the end of an answer is written again
GIVE_UP_S = 600.0  # after this, it is lost
FIRST_TRY_S = 12.0  # that people wait for the record of an answer that failed; SQLite waits for ten


@dataclass(frozen=True)
class Started:
    """The answer begins; the question and the adapter that answers it are recorded."""

    reply_id: str
    adapter: str  # helpdesk@3, base, or '' if no engine writes the answer
    variant: str | None  # its label
    precision: str = ""  # of the base model's weights: bfloat16, nf4, ...; '' if unknown
    instead_of: str | None = None  # the adapter that should have answered and could not
    outcome: Outcome = "generated"
    layout: int = 0  # of the sources in the prompt; 0: the model did not get them
    sources: tuple[Source, ...] = ()  # what the answer rests on, the best first
    suggestions: tuple[str, ...] = ()  # questions to ask instead, under a refusal
    confidence: float | None = None  # that the first source answers, 0..1; None: not known
    uncertain: bool = False  # the answer is given, and may well not be the one
    history_dropped: int = 0  # earlier messages that did not fit into the prompt
    task: bool = False  # it is for a chat program itself, and is not recorded


@dataclass(frozen=True)
class Delta:
    """The next piece of the answer. It has no text only if it has log probabilities."""

    text: str
    logprobs: tuple[dict[str, Any], ...] = ()  # of its tokens, if the caller wants them


@dataclass(frozen=True)
class Ended:
    """The answer is complete and recorded."""

    finish_reason: str  # stop, length; stop if no engine wrote the answer
    prompt_tokens: int
    completion_tokens: int
    without_quoted: bool = False  # what the question quotes did not fit and was left out
    logprobs: tuple[dict[str, Any], ...] = ()  # of the whole answer; only from `complete`
    tool_calls: tuple[ToolCall, ...] = ()


Event = Started | Delta | Ended


@dataclass(frozen=True)
class SearchOutcome:
    """What the search found for a question; without grounds, the answer does not rest on pairs."""

    grounds: Grounds | None
    tools: Tools | None = None  # of the question

    @property
    def must_call(self) -> bool:
        """Whether no pair answers the question, so that it is declined unless a tool is called."""
        outcome = self.grounds.without_engine if self.grounds is not None else None
        return outcome == "declined" and self.tools is not None

    @property
    def outcome(self) -> Outcome | None:
        """The outcome that is certain before any engine is asked, if one is."""
        return self.grounds.without_engine if self.grounds and not self.must_call else None


def fallback_note(adapter: str, instead_of: str | None) -> str:
    """The note shown below an answer that a fallback wrote; '' for any other answer."""
    if instead_of is None:
        return ""
    if not adapter:
        return f"{instead_of} could not answer; this is the nearest approved answer."
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
        search: PairSearch | None = None,
    ) -> None:
        """`search`: None for one of its own."""
        bot = settings.bot
        self.breaker = Breaker()
        self.stopping = False  # True: the service, not the reader, cancels the remaining answers
        self.admission = Admission(bot.max_in_flight, bot.max_waiting, _classes(settings))
        self._engines = Engines(
            store, engine, settings, self.breaker, self.admission, control_tokens.of_base(settings)
        )
        self.search = search or PairSearch(store, settings.search)
        self.storage = StorageBounds(store, bot.web_storage_mib, bot.key_storage_mib)
        self.takes_tool_messages = tool_template.takes_tools(settings)
        self._finder = ReferenceFinder(store, settings, self.search)
        self._tasks = TaskAnswers(settings, self.search)
        self._store = store
        self._settings = settings
        self._on_closed = on_closed
        self._recording: set[asyncio.Task[Any]] = set()

    @property
    def in_flight(self) -> int:
        """Answers being written."""
        return self.admission.running

    async def complete(self, ask: Ask) -> tuple[Started, str, Ended]:
        """The whole answer at once. Raises what `answer` raises."""
        started: Started | None = None
        text: list[str] = []
        logprobs: list[dict[str, Any]] = []
        async with contextlib.aclosing(self.answer(ask)) as events:
            async for event in events:
                match event:
                    case Started():
                        started = event
                    case Delta():
                        text.append(event.text)
                        logprobs += event.logprobs
                    case Ended() if started is not None:
                        ended = replace(event, logprobs=tuple(logprobs))
                        return started, "".join(text), ended
        raise Unavailable("The answer did not end properly. Ask again.")

    async def ground(self, ask: Ask) -> SearchOutcome:
        """Check a question and search for it, for `answer`. Raises Invalid for a question that
        fails a check."""
        prompt.check(ask, self._settings.bot.max_prompt_chars)
        await self.storage.check(ask.person)
        return SearchOutcome(await self._finder.find(ask), ask.tools)

    async def answer(
        self, ask: Ask, found: SearchOutcome | None = None
    ) -> AsyncGenerator[Event, None]:
        """Answer `ask`: yields one Started, any number of Delta and one Ended, in that order.
        `found`: what `ground` found, if it was searched before.

        Close the generator (`contextlib.aclosing`) or cancel its task to stop the engine; the
        answer so far is kept as cancelled. Raises Invalid for a question that fails a check,
        PromptTooLong when the question alone exceeds the context. Raises TooBusy, EngineDown or
        AdapterMissing when no adapter can answer and no approved answer can be quoted. Raises
        StreamCut, after the pieces that arrived, when an answer was interrupted and no other
        replica could continue it."""
        if ask.task is not None:
            text = await self._tasks.text(ask)
            if text is not None:
                yield Started(ask.reply_id, "", None, task=True)
                yield Delta(text)
                yield Ended("stop", 0, 0)
                return
            ask = task_answers.by_model(ask)
        found = found or await self.ground(ask)
        grounds, outcome = found.grounds, found.outcome
        if grounds is not None and outcome is not None:
            if ask.second_variant is not None:
                raise AdapterMissing("No variant writes an answer to this question.")
            for event in await self._give(ask, grounds, outcome):
                yield event
            return
        writing = Writing(self._engines, ask, None if found.must_call else grounds)
        record = writing.record
        failure: UnderstudyError | None = None
        started = False
        try:
            try:
                await writing.begin()
                beginning = Beginning(
                    held=writing.may_decline,
                    tools=ask.tools,
                    must_call=found.must_call,
                )
                async with contextlib.aclosing(writing.chunks()) as chunks:
                    async for chunk in chunks:
                        delta = beginning.add(chunk)
                        if beginning.held:
                            continue
                        if not started:
                            yield _started(writing, ask)
                            started = True
                        if delta.text or delta.logprobs:
                            yield delta
                declined = grounds if beginning.is_unknown else None
                if beginning.held and declined is None:
                    yield _started(writing, ask)
                    if beginning.text and not beginning.demanded:
                        yield Delta(beginning.text, beginning.logprobs)
            except (GeneratorExit, asyncio.CancelledError):
                await self._close(ask, writing, "partial" if self.stopping else "cancelled")
                raise
            except Invalid as error:
                if not (isinstance(error, PromptTooLong) or ask.constrained):
                    with contextlib.suppress(UnderstudyError):  # report the first error
                        await self._close(ask, writing, "failed", error)
                    raise
                await self._take_back(ask, writing)
                raise
            except Exception as error:
                may_quote = grounds is not None and grounds.may_quote and not started
                if not (isinstance(error, Unavailable) and may_quote):
                    status: Status = "partial" if record.parts else "failed"
                    with contextlib.suppress(UnderstudyError):  # report the first error
                        await self._close(ask, writing, status, error)
                    raise
                failure = error
            if failure is None:
                calls = beginning.tool_calls
                if calls:
                    record.end_with_calls(calls, alone=beginning.demanded)
                await self._close(ask, writing, "done", declined=declined)
                if declined is not None:
                    yield _started(writing, ask, declined)
                    yield Delta(declined.text("declined"))
                yield Ended(
                    record.finish_reason,
                    record.prompt_tokens,
                    record.completion_tokens,
                    writing.without_quoted,
                    tool_calls=calls,
                )
        finally:
            writing.leave()
        if failure is not None and grounds is not None:  # nothing has been shown
            log.debug("%s is answered with an approved pair: %s", ask.reply_id, failure)
            for event in await self._give(ask, grounds, "quoted", writing, failure):
                yield event

    async def close(self) -> None:
        """Wait until every ended answer is recorded."""
        while self._recording:
            await asyncio.wait(self._recording)

    async def close_abandoned(self) -> int:
        """Mark answers as failed that a dead process left open; returns their number."""
        after_s = self._settings.bot.answer_timeout_s + 60

        def close(db: Database) -> int:
            return conversations.close_abandoned(db, after_s)

        return await self._store.submit(close)

    async def _close(
        self,
        ask: Ask,
        writing: Writing,
        status: Status,
        error: BaseException | None = None,
        declined: Grounds | None = None,
    ) -> None:
        """Record how an answer ended, even if the task that waits for it is cancelled. `declined`:
        the adapter found that its references do not answer the question."""
        if writing.plan is None:
            return  # nothing was opened
        if ask.task is not None:
            await self._take_back(ask, writing)
            return
        record, latency_us = writing.record, writing.record.age_us()
        sources, version = writing.sources, writing.layout

        def write(db: Database) -> None:
            if declined is not None:
                recording.close_declined(db, ask, declined, record, latency_us, version)
            else:
                recording.close_reply(db, ask, record, status, latency_us, error, sources, version)

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
                    "generated" if declined is None else "declined",
                )
            )
        recorded = self._recorded(ask, write, until=GIVE_UP_S)
        if status == "done":
            await asyncio.shield(recorded)
        else:  # people learn what went wrong, even while the store is locked
            await asyncio.wait({recorded}, timeout=FIRST_TRY_S)

    async def _take_back(self, ask: Ask, writing: Writing) -> None:
        """Remove from the store what is no question of a person: a task of a chat program, once it
        has ended. Or one that is too long, or has a schema that the engine refuses: that is the
        caller's error, and no answer of the adapter that was to answer."""
        if writing.plan is not None:
            removed = self._recorded(ask, lambda db: recording.take_back(db, ask), until=GIVE_UP_S)
            await asyncio.wait({removed}, timeout=FIRST_TRY_S)

    async def _give(
        self,
        ask: Ask,
        grounds: Grounds,
        outcome: Outcome,
        writing: Writing | None = None,
        failure: UnderstudyError | None = None,
    ) -> tuple[Started, Delta, Ended]:
        """Record an answer that no engine writes; returns its events. `writing` and `failure`: an
        engine was asked first, and failed."""
        opened = writing is not None and writing.plan is not None
        intended = writing.intended if writing is not None else None
        if intended is None and isinstance(failure, NobodyCanAnswer):
            intended = failure.targets[0]
        latency_us = writing.record.age_us() if writing is not None else 0
        failed = failure is not None and not isinstance(failure, NotLearned)

        def write(db: Database) -> Target | None:
            return recording.give(
                db,
                ask,
                grounds,
                outcome,
                latency_us,
                intended=intended,
                failed=failed,
                opened=opened,
            )

        missing = await asyncio.shield(self._recorded(ask, write))
        instead_of = missing.name if missing is not None else None
        if self._on_closed is not None:
            name = grounds.domain.name
            self._on_closed(
                Closed(name, "", "done", latency_us, latency_us, 0, 0, instead_of, outcome)
            )
        suggestions = grounds.suggestions if outcome == "declined" else ()
        sources = grounds.sources_of(outcome)
        started = Started(
            ask.reply_id,
            "",
            None,
            instead_of=instead_of,
            outcome=outcome,
            sources=sources,
            suggestions=suggestions,
            confidence=grounds.found.confidence,
            uncertain=outcome == "quoted" and grounds.uncertain,
        )
        return started, Delta(grounds.text(outcome)), Ended("stop", 0, 0)

    def _recorded(
        self, ask: Ask, write: Callable[[Database], T], until: float = 0.0
    ) -> asyncio.Task[T]:
        """Write to the store, in a task that nobody cancels. What was shown must be on record: as
        long as the store is locked or full, it is written again, for `until` seconds."""

        async def recorded() -> T:
            began = asyncio.get_running_loop().time()
            while True:
                try:
                    return await self._store.submit(write)
                except (StoreBusy, StoreFull) as error:
                    waited_s = asyncio.get_running_loop().time() - began
                    if waited_s >= until or self.stopping:
                        log.exception("The end of %s could not be recorded", ask.reply_id)
                        raise
                    log.warning("The end of %s is written again: %s", ask.reply_id, error)
                    await asyncio.sleep(AGAIN_S)
                except Exception:
                    log.exception("The end of %s could not be recorded", ask.reply_id)
                    raise

        task = asyncio.create_task(recorded())
        self._recording.add(task)
        task.add_done_callback(self._forget_recording)
        return task

    def _forget_recording(self, task: asyncio.Task[Any]) -> None:
        self._recording.discard(task)
        if not task.cancelled():
            task.exception()  # it was logged; nobody may be waiting for it


class Beginning:
    """The beginning of an answer, held back while it may still turn out to say that the references
    do not answer the question. With tools it is held back to its end, if it has to be a call, or is
    declined unless it is one."""

    def __init__(self, *, held: bool, tools: Tools | None = None, must_call: bool = False) -> None:
        self.text = ""
        self.logprobs: tuple[dict[str, Any], ...] = ()
        self.demanded = tools is not None and tools.demanded
        self.held = held or must_call or self.demanded
        self._must_call = must_call
        self._tools = tools
        self._calls: tuple[ToolCall, ...] = ()

    def add(self, chunk: Chunk) -> Delta:
        """What to show now."""
        self._calls += chunk.tool_calls
        if not self.held:
            return Delta(chunk.text, chunk.logprobs)
        self.text += chunk.text
        self.logprobs += chunk.logprobs
        to_the_end = self._must_call or self.demanded
        self.held = to_the_end or layout.may_become_unknown(self.text)
        return Delta("") if self.held else Delta(self.text, self.logprobs)

    @property
    def is_unknown(self) -> bool:
        if self._must_call:
            return not self._calls
        return self.held and not self.demanded and not self._calls and layout.is_unknown(self.text)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls of tools in the answer, when it has ended."""
        if self._tools is not None and self.demanded:
            return self._tools.calls_in(self.text)
        return self._calls


def _classes(settings: Settings) -> list[AdmissionClass]:
    """The classes of people who can ask at all; each gets reserved room."""
    open_to: dict[AdmissionClass, bool] = {
        "member": settings.slack.mode != "off",
        "key": True,
        "web": settings.bot.web_chat,
    }
    return [name for name, open_now in open_to.items() if open_now]


def _started(writing: Writing, ask: Ask, declined: Grounds | None = None) -> Started:
    route = writing.route
    return Started(
        ask.reply_id,
        route.target.name,
        route.target.variant.label if route.target.variant else None,
        route.replica.precision,
        route.instead_of.name if route.instead_of else None,
        "generated" if declined is None else "declined",
        writing.layout,
        writing.sources if declined is None else declined.nearest,
        () if declined is None else declined.suggestions,
        writing.grounds.found.confidence if writing.grounds else None,
        declined is None and writing.grounds is not None and writing.grounds.uncertain,
        writing.history_dropped,
        ask.task is not None,
    )
