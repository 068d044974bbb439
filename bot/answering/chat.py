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
from typing import Any

from sqlite_utils import Database

from bot.answering import prompt, task_answers
from bot.answering.admission import Admission, AdmissionClass
from bot.answering.beginning import Beginning
from bot.answering.circuit_breaker import Breaker
from bot.answering.events import Delta, Ended, Event, Started
from bot.answering.grounding import Grounds
from bot.answering.prompt import Ask
from bot.answering.recorder import AnswerRecorder
from bot.answering.recording import Closed
from bot.answering.reference_finder import ReferenceFinder
from bot.answering.storage_bounds import StorageBounds
from bot.answering.task_answers import TaskAnswers
from bot.answering.tool_use import Tools
from bot.answering.writing import Engines, Writing
from data.bases import control_tokens, tool_template
from data.config.settings import Settings
from data.conversations import conversations
from data.conversations.conversations import Outcome, Status
from data.search.search import PairSearch
from data.store.db import Store
from data.store.errors import Invalid, Unavailable, UnderstudyError
from serving.client import AdapterMissing, EngineClient, PromptTooLong

log = logging.getLogger(__name__)


class _QuoteInstead(Exception):
    """No engine wrote the answer, nothing has been shown, and an approved answer can be quoted."""

    def __init__(self, failure: UnderstudyError) -> None:
        self.failure = failure


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
        self._recorder = AnswerRecorder(store, on_closed)

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
            for event in await self._recorder.give(ask, grounds, outcome):
                yield event
            return
        writing = Writing(self._engines, ask, None if found.must_call else grounds)
        failure: UnderstudyError | None = None
        try:
            async with contextlib.aclosing(self._recorded(ask, found, writing)) as events:
                async for event in events:
                    yield event
        except _QuoteInstead as instead:
            failure = instead.failure
        finally:
            writing.leave()
        if failure is not None and grounds is not None:
            log.debug("%s is answered with an approved pair: %s", ask.reply_id, failure)
            for event in await self._recorder.give(ask, grounds, "quoted", writing, failure):
                yield event

    async def _recorded(
        self, ask: Ask, found: SearchOutcome, writing: Writing
    ) -> AsyncGenerator[Event, None]:
        """An answer that an engine writes, on record however it ends. Raises what `answer` raises,
        and _QuoteInstead."""
        beginning = Beginning(ask.tools, must_call=found.must_call)
        started = False
        recorder, record, grounds = self._recorder, writing.record, found.grounds
        try:
            async with contextlib.aclosing(self._written(ask, writing, beginning)) as events:
                async for event in events:
                    started = True
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            record.keep_shown(started)
            await recorder.close(ask, writing, "partial" if recorder.stopping else "cancelled")
            raise
        except Invalid as error:
            record.keep_shown(started)
            if isinstance(error, PromptTooLong) or ask.constrained:
                await recorder.take_back(ask, writing)
            else:
                with contextlib.suppress(UnderstudyError):  # report the first error
                    await recorder.close(ask, writing, "failed", error)
            raise
        except Exception as error:
            may_quote = grounds is not None and grounds.may_quote and not started
            if isinstance(error, Unavailable) and may_quote:
                raise _QuoteInstead(error) from error
            record.keep_shown(started)
            status: Status = "partial" if record.parts else "failed"
            with contextlib.suppress(UnderstudyError):  # report the first error
                await recorder.close(ask, writing, status, error)
            raise
        declined = grounds if beginning.is_unknown else None
        calls = beginning.tool_calls
        if calls:
            record.end_with_calls(calls, alone=beginning.demanded)
        await recorder.close(ask, writing, "done", declined=declined)
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

    async def _written(
        self, ask: Ask, writing: Writing, beginning: Beginning
    ) -> AsyncGenerator[Started | Delta, None]:
        """What the engine writes, without a beginning that is held back to the end because it
        turns out to decline, or to call a tool."""
        await writing.begin()
        beginning.held |= writing.may_decline
        started = False
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
        if beginning.held and not beginning.is_unknown:
            yield _started(writing, ask)
            if beginning.text and not beginning.demanded:
                yield Delta(beginning.text, beginning.logprobs)

    def stop(self) -> None:
        """From now on the service, not the reader, cancels the answers that are being written."""
        self._recorder.stopping = True

    async def close(self) -> None:
        """Wait until every ended answer is recorded."""
        await self._recorder.close_all()

    async def close_abandoned(self) -> int:
        """Mark answers as failed that a dead process left open; returns their number."""
        after_s = self._settings.bot.answer_timeout_s + 60

        def close(db: Database) -> int:
            return conversations.close_abandoned(db, after_s)

        return await self._store.submit(close)


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
