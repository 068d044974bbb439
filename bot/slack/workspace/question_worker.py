"""Leases queued questions and has them answered.

`bot/slack/inbound/ingest.py` queues each question before it is acknowledged. The worker leases
questions while it has capacity, one per thread at a time. It renews its leases, and cancels an
attempt whose question was changed, deleted or taken over. At its start it releases the leases of
ended processes on this machine. Leases from other machines expire.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from functools import partial

from sqlite_utils import Database

from bot.slack.client.stream import LeaseLost
from bot.slack.workspace.background_tasks import BackgroundTasks
from data.slack import question_queue
from data.slack.question_queue import QueuedQuestion
from data.store.clock import now_us
from data.store.db import Store, StoreBusy, StoreFull
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)

LEASE_S = 30.0
AGAIN_S = 0.5  # until a write is tried again
LOCKED_S = 120.0  # for so long
POLL_S = 1.0  # for questions that were given back or whose leases expired


class QuestionLease:
    """A question that this worker holds, and the display state of its answer
    (`stream.AnswerState`)."""

    def __init__(self, store: Store, question: QueuedQuestion) -> None:
        self.question = question
        self.question_ts = question.ts
        self.asked_ts = question.asked_ts
        self.begun = question.begun
        self.shown_ts = question.shown_ts
        self.lost = False
        self.stopped = False  # the person pressed stop
        self._store = store

    async def begin(self) -> None:
        await self._write(lambda db: question_queue.begin_showing(db, self.question))

    async def shown(self, ts: str) -> None:
        await self._write(lambda db: question_queue.shown(db, self.question, ts))

    async def finish(self, also: Callable[[Database], None] = lambda db: None) -> None:
        """Mark the question as done, and run `also` in the same transaction. Raises LeaseLost."""

        def write(db: Database) -> bool:
            done = question_queue.finish(db, self.question)
            if done:
                also(db)
            return done

        await self._write(write)

    async def give_back(self, wait_s: float = 0.0) -> None:
        """Return the question to the queue, to be leased again after `wait_s` seconds. Raises
        LeaseLost."""
        wait_us = int(wait_s * 1_000_000)
        await self._write(lambda db: question_queue.give_back(db, self.question, wait_us))

    async def _write(self, write: Callable[[Database], bool]) -> None:
        """While the store is locked or full, write again, for `LOCKED_S`: the answer is there, and
        would be lost to the person otherwise. Raises LeaseLost, StoreBusy, StoreFull."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LOCKED_S
        while True:
            try:
                written = await self._store.submit(write)
            except (StoreBusy, StoreFull) as error:
                if loop.time() >= until:
                    raise
                log.warning("Question %d is recorded again: %s", self.question.id, error)
                await asyncio.sleep(AGAIN_S)
                continue
            if not written:
                raise LeaseLost("Another worker has this question, or it was changed.")
            return


Answer = Callable[[QuestionLease], Awaitable[None]]


class QuestionWorker:
    """The worker of this process, for all its workspaces."""

    def __init__(
        self, store: Store, tasks: BackgroundTasks, at_once: int, worker: str = ""
    ) -> None:
        self.worker = worker or f"{_process_name()}/{secrets.token_hex(4)}"
        self.started_us = now_us()
        self._store = store
        self._tasks = tasks
        self._at_once = at_once
        self._wake = asyncio.Event()
        self._running: dict[tuple[int, int], tuple[QuestionLease, asyncio.Task[None]]] = {}

    def wake(self) -> None:
        """Look at the queue now, because it has changed."""
        self._wake.set()

    def stop(self, team: str, channel: str, thread_ts: str) -> None:
        """The person pressed stop: end the answer in that thread where it is."""
        for lease, _ in self._running.values():
            question = lease.question
            if (question.team, question.channel, question.thread_ts) == (team, channel, thread_ts):
                lease.stopped = True

    async def run(self, answer: Answer) -> None:
        """Have `answer` answer every question, until cancelled."""
        await self._release_abandoned()
        while True:
            try:
                await self._tick(answer)
            except UnderstudyError as error:
                log.warning("The question queue cannot be read now: %s", error)
            except Exception:
                log.exception("Reading the question queue failed; trying again")
            try:
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _release_abandoned(self) -> None:
        """Release the questions of workers on this machine that have exited."""
        for worker in await self._store.read(question_queue.workers):
            if _has_exited(worker, self.worker):
                count = await self._store.submit(partial(question_queue.release, worker=worker))
                log.warning("Resuming %d questions that %s left unanswered", count, worker)

    async def _tick(self, answer: Answer) -> None:
        """Renew the leases, cancel the attempts that lost theirs, and lease new questions."""
        if not self._running and not await self._store.read(question_queue.claimable):
            return
        lease_us, room = int(LEASE_S * 1_000_000), self._at_once - len(self._running)
        running = dict(self._running)

        def write(db: Database) -> tuple[set[tuple[int, int]], list[QueuedQuestion]]:
            held = question_queue.renew(db, self.worker, lease_us)
            return held, question_queue.claim(db, self.worker, room, lease_us)

        held, claimed = await self._store.submit(write)
        for key, (lease, task) in running.items():
            if key not in held:
                lease.lost = True
                task.cancel()
        for question in claimed:
            self._begin(QuestionLease(self._store, question), answer)

    def _begin(self, lease: QuestionLease, answer: Answer) -> None:
        key = (lease.question.id, lease.question.generation)
        task = self._tasks.start(self._attempt(lease, answer), f"answer {lease.question.id}")
        self._running[key] = lease, task
        task.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: tuple[int, int]) -> None:
        del self._running[key]
        self.wake()

    async def _attempt(self, lease: QuestionLease, answer: Answer) -> None:
        try:
            await answer(lease)
        except LeaseLost:
            log.info("Question %d was changed or taken over", lease.question.id)
        except asyncio.CancelledError:
            if not lease.lost:  # the bot is stopping, so another worker continues
                await self._give_back(lease)
            raise

    async def _give_back(self, lease: QuestionLease) -> None:
        try:
            await lease.give_back()
        except UnderstudyError as error:
            log.info("Question %d could not be given back: %s", lease.question.id, error)


def _process_name() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"


def _has_exited(worker: str, me: str) -> bool:
    """Whether a worker has certainly exited: its process ran on this machine and has ended."""
    host, _, rest = worker.rpartition("/")[0].rpartition("/")
    my_host, _, my_pid = me.rpartition("/")[0].rpartition("/")
    if worker == me or host != my_host:
        return False
    if rest == my_pid:
        return True
    try:
        os.kill(int(rest), 0)
    except (ProcessLookupError, ValueError):
        return True
    except OSError:
        return False
    return False
