"""The worker that takes questions out of the store's queue and has them answered.

A delivery only puts its question into the queue (`bot/slack/inbound/ingest.py`); what was
acknowledged is there. The worker claims questions while it has room, one of a thread at a time,
keeps its leases, and drops an attempt whose question was changed, deleted or taken over. When it
starts it takes up at once what a process of this machine held that is gone; what others held, after
their leases ran out.
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
from data.store.db import Store
from data.store.errors import UnderstudyError

log = logging.getLogger(__name__)

LEASE_S = 30.0
POLL_S = 1.0  # for what was given back, and for what other processes lost


class QuestionLease:
    """A question that this worker holds, and what it shows of the answer (`stream.Showing`)."""

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
        """The question is answered; `also` is written in the same transaction. Raises LeaseLost."""

        def write(db: Database) -> bool:
            done = question_queue.finish(db, self.question)
            if done:
                also(db)
            return done

        await self._write(write)

    async def give_back(self, wait_s: float = 0.0) -> None:
        """Let it be claimed again, after `wait_s`. Raises LeaseLost."""
        wait_us = int(wait_s * 1_000_000)
        await self._write(lambda db: question_queue.give_back(db, self.question, wait_us))

    async def _write(self, write: Callable[[Database], bool]) -> None:
        if not await self._store.submit(write):
            raise LeaseLost("The question is answered by somebody else.")


Answer = Callable[[QuestionLease], Awaitable[None]]


class QuestionWorker:
    """One for each process and workspace; `run` until cancelled."""

    def __init__(
        self, store: Store, tasks: BackgroundTasks, at_once: int, worker: str = ""
    ) -> None:
        self.worker = worker or f"{_here()}/{secrets.token_hex(4)}"
        self.started_us = now_us()
        self._store = store
        self._tasks = tasks
        self._at_once = at_once
        self._wake = asyncio.Event()
        self._running: dict[tuple[int, int], tuple[QuestionLease, asyncio.Task[None]]] = {}

    def wake(self) -> None:
        """Something was put into the queue, or changed in it."""
        self._wake.set()

    def stop(self, team: str, channel: str, thread_ts: str) -> None:
        """The person pressed stop: what is being answered in that thread ends where it is."""
        for lease, _ in self._running.values():
            question = lease.question
            if (question.team, question.channel, question.thread_ts) == (team, channel, thread_ts):
                lease.stopped = True

    async def run(self, answer: Answer) -> None:
        """Have every question answered by `answer`, until cancelled."""
        await self._take_up()
        while True:
            try:
                await self._tick(answer)
            except UnderstudyError as error:
                log.warning("The queue of questions cannot be read just now: %s", error)
            except Exception:
                log.exception("The queue of questions failed; trying again")
            try:
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _take_up(self) -> None:
        """Release what processes of this machine held that are no more."""
        for worker in await self._store.read(question_queue.workers):
            if _is_gone(worker, self.worker):
                count = await self._store.submit(partial(question_queue.release, worker=worker))
                log.warning("Taking up %d questions that %s left unanswered", count, worker)

    async def _tick(self, answer: Answer) -> None:
        """Renew the leases, drop what was lost, lease what there is room for."""
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
            if not lease.lost:  # we are stopping: the next one goes on
                await self._give_back(lease)
            raise

    async def _give_back(self, lease: QuestionLease) -> None:
        try:
            await lease.give_back()
        except UnderstudyError as error:
            log.info("Question %d stays with us: %s", lease.question.id, error)


def _here() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"


def _is_gone(worker: str, me: str) -> bool:
    """Whether a worker certainly is no more: its process was of this machine and has ended."""
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
