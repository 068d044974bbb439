"""Records how answers end, in tasks that nobody cancels: what was shown must be on record.

An answer ends complete, interrupted or cancelled (`close`), or it is given without an engine
(`give`). What turns out to be no question of a person is removed again (`take_back`).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from sqlite_utils import Database

from bot.answering import recording
from bot.answering.events import Delta, Ended, Started
from bot.answering.grounding import Grounds
from bot.answering.plan import NobodyCanAnswer
from bot.answering.prompt import Ask
from bot.answering.recording import Closed
from bot.answering.routing import Target
from bot.answering.writing import NotLearned, Writing
from data.conversations.conversations import Outcome, Status
from data.store.db import Store, StoreBusy, StoreFull
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)
T = TypeVar("T")
AGAIN_S = 1.0  # before the end of an answer is written again
GIVE_UP_S = 600.0  # after this, it is lost
FIRST_TRY_S = 12.0  # that people wait for the record of an answer that failed; SQLite waits for ten


class AnswerRecorder:
    """One per process. `close_all` waits until every ended answer is recorded."""

    def __init__(self, store: Store, on_closed: Callable[[Closed], None] | None) -> None:
        self.stopping = False  # True: the service stops; a locked or full store is not waited for
        self._store = store
        self._on_closed = on_closed
        self._recording: set[asyncio.Task[Any]] = set()

    async def close_all(self) -> None:
        """Wait until every ended answer is recorded."""
        while self._recording:
            await asyncio.wait(self._recording)

    async def close(
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
            await self.take_back(ask, writing)
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

    async def take_back(self, ask: Ask, writing: Writing) -> None:
        """Remove from the store what is no question of a person: a task of a chat program, once it
        has ended. Or one that is too long, or has a schema that the engine refuses: that is the
        caller's error, and no answer of the adapter that was to answer."""
        if writing.plan is not None:
            removed = self._recorded(ask, lambda db: recording.take_back(db, ask), until=GIVE_UP_S)
            await asyncio.wait({removed}, timeout=FIRST_TRY_S)

    async def give(
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
