"""Admission control: a bounded queue in front of the engines that is fair between people.

Each replica writes at most `running` answers at once, and at most `waiting` questions wait for each
replica. A waiting question lists the replicas that can answer it and takes the first slot that
becomes free at one of them.

The queue is fair between people and keeps each person's questions in order: start-time fair
queueing (Goyal, Vin and Cheng, SIGCOMM 1996), where every answer costs one unit. A question's start
tag is the finish tag of the person's previous question, but never less than the virtual time, so
nobody accumulates credit while idle. A quarter of a replica's slots is reserved for people who
have no answer in flight, so that nobody waits for somebody else's hundredth question. When the
queue is full, the person with the most waiting questions loses their newest one to somebody who has
fewer ("longest queue drop", McKenney, "Stochastic Fairness Queueing", INFOCOM 1990); otherwise the
new question is refused with the time after which to retry.

Use it from one event loop: nothing here blocks, and nothing is shared between threads.
"""

import asyncio
import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data.store.errors import Unavailable

RESERVED_SHARE = 0.25  # of a replica's slots, for people who have no answer in flight
INITIAL_ANSWER_S = 4.0  # assumed duration of an answer until one has been measured
SMOOTHING = 0.1  # weight of the newest answer in the moving average of durations
MAX_RETRY_S = 60


class TooBusy(Unavailable):
    """The queue is full."""

    def __init__(self, retry_after: int) -> None:
        """`retry_after` is in seconds."""
        self.retry_after = retry_after
        when = "a second" if retry_after == 1 else f"about {retry_after} seconds"
        super().__init__(f"Too many questions are waiting. Try again in {when}.")


@dataclass(eq=False)
class _Waiter:
    person: str
    replicas: tuple[str, ...]
    start_tag: int  # negative: resumes an interrupted answer, ahead of everyone else
    arrival: int  # breaks ties between equal start tags
    slot: asyncio.Future[str]  # the replica that has the slot


class Admission:
    """The slots of all replicas and the queue for them; one per process."""

    def __init__(self, running: int, waiting: int) -> None:
        """Both limits apply to each replica."""
        self._slots = running
        self._reserved = math.ceil(RESERVED_SHARE * running) if running > 1 else 0
        self._max_waiting = waiting
        self._by_replica: Counter[str] = Counter()  # answers in flight
        self._by_person: Counter[str] = Counter()  # answers in flight
        self._queue: list[_Waiter] = []
        self._arrivals = itertools.count()
        self._virtual_time = 0  # the largest start tag that has got a slot
        self._finish_tags: dict[str, int] = {}  # person -> earliest start tag of the next question
        self._answer_s = INITIAL_ANSWER_S
        self.refused = 0
        self.waiting_for_engine = 0  # questions that wait until an engine has restarted

    @property
    def running(self) -> int:
        """Answers being written."""
        return self._by_replica.total()

    @property
    def waiting(self) -> int:
        """Questions waiting for a slot."""
        return len(self._queue)

    def load(self, replica: str) -> int:
        """The number of answers that this replica is writing."""
        return self._by_replica[replica]

    async def enter(self, person: str, replicas: Sequence[str], *, resuming: bool = False) -> str:
        """Wait for a slot at one of `replicas` and return that replica. Free it with `leave`.

        `resuming`: the question was admitted before and moves to another replica; it waits ahead of
        everyone else and is never refused. Raises TooBusy when the queue is full, or when this
        question is dropped in favour of somebody who has fewer."""
        waiter = _Waiter(
            person,
            tuple(replicas),
            -1 if resuming else max(self._virtual_time, self._finish_tags.get(person, 0)),
            next(self._arrivals),
            asyncio.get_running_loop().create_future(),
        )
        free = self._free_for(waiter)
        if free is None and not resuming:
            self._make_room(waiter)
        if not resuming:
            self._finish_tags[person] = waiter.start_tag + 1
        if free is not None:  # nobody in the queue could have taken this slot
            self._take(waiter, free)
            return free
        self._queue.append(waiter)
        try:
            return await waiter.slot
        except asyncio.CancelledError:
            slot = waiter.slot
            if waiter in self._queue:
                self._remove(waiter)
            elif slot.done() and not slot.cancelled() and not slot.exception():
                self.leave(person, slot.result())  # the slot was granted at the same moment
            raise

    @contextlib.contextmanager
    def wait_for_engine(self) -> Iterator[None]:
        """Count a question that waits outside the queue because no engine is ready."""
        self.waiting_for_engine += 1
        try:
            yield
        finally:
            self.waiting_for_engine -= 1

    def leave(self, person: str, replica: str, seconds: float | None = None) -> None:
        """Free a slot; `seconds` is how long the answer took, if it is complete."""
        _decrease(self._by_replica, replica)
        _decrease(self._by_person, person)
        if seconds is not None:
            self._answer_s += SMOOTHING * (seconds - self._answer_s)
        self._grant_free_slots()
        if not self._queue:  # tags matter only while somebody waits
            self._finish_tags = {
                person: tag
                for person, tag in self._finish_tags.items()
                if person in self._by_person
            }

    def _grant_free_slots(self) -> None:
        """Give free slots to the waiting questions with the smallest start tags."""
        while self._queue:
            eligible = [(w, r) for w in self._queue if (r := self._free_for(w)) is not None]
            if not eligible:
                return
            waiter, replica = min(eligible, key=lambda one: (one[0].start_tag, one[0].arrival))
            if waiter.slot.done():  # cancelled, but its task has not run yet
                self._remove(waiter)
                continue
            self._queue.remove(waiter)
            self._take(waiter, replica)
            waiter.slot.set_result(replica)

    def _free_for(self, waiter: _Waiter) -> str | None:
        """The least loaded replica with a slot that this person may take."""
        may_use_reserved = self._by_person[waiter.person] == 0 or waiter.start_tag < 0
        slots = self._slots if may_use_reserved else self._slots - self._reserved
        free = [r for r in waiter.replicas if self._by_replica[r] < slots]
        return min(free, key=self._by_replica.__getitem__, default=None)

    def _take(self, waiter: _Waiter, replica: str) -> None:
        self._by_replica[replica] += 1
        self._by_person[waiter.person] += 1
        self._virtual_time = max(self._virtual_time, waiter.start_tag)

    def _remove(self, waiter: _Waiter) -> None:
        """Drop a waiting question; it does not count against its person."""
        self._queue.remove(waiter)
        if waiter.start_tag >= 0 and waiter.person in self._finish_tags:
            self._finish_tags[waiter.person] -= 1

    def _make_room(self, newcomer: _Waiter) -> None:
        """Drop a waiting question if the queue is full. Raises TooBusy if none may be dropped."""
        if len(self._queue) < self._max_waiting * len(newcomer.replicas):
            return
        waiting = Counter(w.person for w in self._queue if w.start_tag >= 0)
        heaviest, most = max(waiting.items(), key=lambda item: item[1], default=("", 0))
        self.refused += 1
        if waiting[newcomer.person] + 1 >= most:
            raise self._too_busy()
        newest = max((w for w in self._queue if w.person == heaviest), key=lambda w: w.arrival)
        self._remove(newest)
        if not newest.slot.done():
            newest.slot.set_exception(self._too_busy())

    def _too_busy(self) -> TooBusy:
        """The error, with the estimated time until the present queue is empty."""
        slots = self._slots * max(1, len(self._by_replica))
        seconds = self._answer_s * (len(self._queue) + 1) / slots
        return TooBusy(max(1, min(MAX_RETRY_S, math.ceil(seconds))))


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
