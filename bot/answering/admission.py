"""Who may ask an engine now, and who waits: bounded and fair between people.

Each replica writes at most `running` answers at once; for each replica at most `waiting` questions
wait. A waiting question names the replicas that would do and gets the first place that comes free
at one of them.

People take turns, each with their own questions in order: start-time fair queueing (Goyal, Vin and
Cheng, SIGCOMM 1996) in which an answer is the unit. A question's turn is one after the person's
last, but never before the turn that is called now, so nobody saves turns up. The last quarter of a
replica's places is kept for people who have none, so that nobody waits for another's hundredth
question. When no more may wait, the newest question of the person with the most gives way to
somebody who has fewer (a "longest queue drop", McKenney, "Stochastic Fairness Queueing", INFOCOM
1990); else the newcomer is told when to try again.

For one event loop: nothing here blocks, and nothing is shared between threads.
"""

import asyncio
import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data.store.errors import Unavailable

KEPT_SHARE = 0.25  # of a replica's places, for people who have none
FIRST_GUESS_S = 4.0  # how long an answer takes, until one was seen
MEMORY = 0.1  # weight of the newest answer in the mean
LONGEST_RETRY_S = 60


class TooBusy(Unavailable):
    """More questions wait than may."""

    def __init__(self, retry_after: int) -> None:
        """`retry_after` is in seconds."""
        self.retry_after = retry_after
        when = "a second" if retry_after == 1 else f"about {retry_after} seconds"
        super().__init__(f"Many questions are waiting. Try again in {when}.")


@dataclass(eq=False)
class _Waiter:
    person: str
    replicas: tuple[str, ...]
    turn: int  # negative: goes on with an answer, before all others
    number: int  # in the order of arrival
    place: asyncio.Future[str]


class Admission:
    """The places of all replicas and the queue before them; one per process."""

    def __init__(self, running: int, waiting: int) -> None:
        """Both are numbers for each replica."""
        self._places = running
        self._kept = math.ceil(KEPT_SHARE * running) if running > 1 else 0
        self._most_waiting = waiting
        self._at: Counter[str] = Counter()  # replica -> answers it is writing
        self._of: Counter[str] = Counter()  # person -> answers being written
        self._queue: list[_Waiter] = []
        self._arrivals = itertools.count()
        self._turn = 0  # that is called now
        self._next: dict[str, int] = {}  # person -> the turn of the next question
        self._seconds = FIRST_GUESS_S
        self.refused = 0
        self.hoping = 0  # questions that wait for an engine that is being started again

    @property
    def running(self) -> int:
        """Answers being written."""
        return self._at.total()

    @property
    def waiting(self) -> int:
        """Questions that wait."""
        return len(self._queue)

    def load(self, replica: str) -> int:
        """Answers that this replica is writing."""
        return self._at[replica]

    async def enter(self, person: str, replicas: Sequence[str], *, goes_on: bool = False) -> str:
        """Wait for a place at one of `replicas`; returns which. Give it back with `leave`.

        `goes_on`: an answer that was begun elsewhere; it waits before all others, and never in
        vain. Raises TooBusy when too many wait, or when this question gives way to another's."""
        here = _Waiter(
            person,
            tuple(replicas),
            -1 if goes_on else max(self._turn, self._next.get(person, 0)),
            next(self._arrivals),
            asyncio.get_running_loop().create_future(),
        )
        free = self._free_for(here)
        if free is None and not goes_on:
            self._make_room(here)
        if not goes_on:
            self._next[person] = here.turn + 1
        if free is not None:  # whoever waits could not take this place
            self._take(here, free)
            return free
        self._queue.append(here)
        try:
            return await here.place
        except asyncio.CancelledError:
            if here in self._queue:
                self._remove(here)
            elif here.place.done() and not here.place.cancelled() and not here.place.exception():
                self.leave(person, here.place.result())  # it was called just then
            raise

    @contextlib.contextmanager
    def hope(self) -> Iterator[None]:
        """Inside it, a question waits outside of the queue, for there is no engine to queue at."""
        self.hoping += 1
        try:
            yield
        finally:
            self.hoping -= 1

    def leave(self, person: str, replica: str, seconds: float | None = None) -> None:
        """Give a place back; `seconds` is how long a whole answer took there."""
        _decrease(self._at, replica)
        _decrease(self._of, person)
        if seconds is not None:
            self._seconds += MEMORY * (seconds - self._seconds)
        self._call()
        if not self._queue:  # turns matter while somebody waits
            self._next = {p: turn for p, turn in self._next.items() if p in self._of}

    def _call(self) -> None:
        """Give places that are free to those who are next."""
        while self._queue:
            able = [(w, r) for w in self._queue if (r := self._free_for(w)) is not None]
            if not able:
                return
            waiter, replica = min(able, key=lambda one: (one[0].turn, one[0].number))
            if waiter.place.done():  # cancelled, and about to notice
                self._remove(waiter)
                continue
            self._queue.remove(waiter)
            self._take(waiter, replica)
            waiter.place.set_result(replica)

    def _free_for(self, waiter: _Waiter) -> str | None:
        """The least loaded replica with a place that this person may take."""
        has_none = self._of[waiter.person] == 0 or waiter.turn < 0
        places = self._places if has_none else self._places - self._kept
        free = [r for r in waiter.replicas if self._at[r] < places]
        return min(free, key=self._at.__getitem__, default=None)

    def _take(self, waiter: _Waiter, replica: str) -> None:
        self._at[replica] += 1
        self._of[waiter.person] += 1
        self._turn = max(self._turn, waiter.turn)

    def _remove(self, waiter: _Waiter) -> None:
        """Take a question out that was not asked, and does not count as a turn."""
        self._queue.remove(waiter)
        if waiter.turn >= 0 and waiter.person in self._next:
            self._next[waiter.person] -= 1

    def _make_room(self, newcomer: _Waiter) -> None:
        """See to it that one more may wait. Raises TooBusy."""
        if len(self._queue) < self._most_waiting * len(newcomer.replicas):
            return
        waits = Counter(w.person for w in self._queue if w.turn >= 0)
        greediest, most = max(waits.items(), key=lambda item: item[1], default=("", 0))
        self.refused += 1
        if waits[newcomer.person] + 1 >= most:
            raise self._too_busy()
        newest = max((w for w in self._queue if w.person == greediest), key=lambda w: w.number)
        self._remove(newest)
        if not newest.place.done():
            newest.place.set_exception(self._too_busy())

    def _too_busy(self) -> TooBusy:
        """With the time in which the queue of today empties."""
        places = self._places * max(1, len(self._at))
        seconds = self._seconds * (len(self._queue) + 1) / places
        return TooBusy(max(1, min(LONGEST_RETRY_S, math.ceil(seconds))))


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
