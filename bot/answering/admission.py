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

People are free: a key can name any number of users, and a browser can get any number of sessions.
So what counts first is the class of the identity (`AdmissionClass`). Each class has reserved slots
and reserved room in the queue that the others cannot take, and freed slots go to the classes in
turn, then within a class to the keys, or for browsers to the addresses, in turn, and only then to
people. Each bot process admits on its own, so the bounds are per process.

Use it from one event loop: nothing here blocks, and nothing is shared between threads.
"""

import asyncio
import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from data.people import identities
from data.store.errors import Unavailable

# Members of Slack, people who signed in, the operator; API keys; browsers that nobody signed in to.
AdmissionClass = Literal["member", "key", "web"]
CLASSES: dict[identities.IdentityKind, AdmissionClass] = {
    "slack": "member",
    "signed_in": "member",
    "operator": "member",
    "key": "key",
    "key_user": "key",
    "web_session": "web",
}
CLASS_SLOTS = 8  # one slot in eight is reserved for each class, and one place in four of the queue
CLASS_PLACES = 4

RESERVED_SHARE = 0.25  # of a replica's slots, for people who have no answer in flight
INITIAL_ANSWER_S = 4.0  # assumed duration of an answer until one has been measured
SMOOTHING = 0.1  # weight of the newest answer in the moving average of durations
MAX_RETRY_S = 60


class TooBusy(Unavailable):
    """The queue is full, or a question waited in it for too long."""

    def __init__(self, retry_after: int, why: str = "Too many questions are waiting") -> None:
        """`retry_after` is in seconds."""
        self.retry_after = retry_after
        when = "a second" if retry_after == 1 else f"about {retry_after} seconds"
        super().__init__(f"{why}. Try again in {when}.")


@dataclass(frozen=True)
class _Group:
    """Who takes turns: all members together, the users of a key, or the sessions of an address."""

    kind: AdmissionClass | None  # None: an identity of no known kind
    source: str = ""


class _Turns:
    """Start-time fair queueing between classes, or between the groups of a class."""

    def __init__(self) -> None:
        self._time = 0
        self._next: dict[object, int] = {}

    def tag(self, one: object) -> int:
        """When it is its turn; nobody accumulates credit while idle."""
        return max(self._next.get(one, 0), self._time)

    def take(self, one: object) -> None:
        self._time = self.tag(one)
        self._next[one] = self._time + 1


@dataclass(eq=False)
class _Waiter:
    person: str
    group: "_Group"
    replicas: tuple[str, ...]
    start_tag: int  # negative: resumes an interrupted answer, ahead of everyone else
    arrival: int  # breaks ties between equal start tags
    slot: asyncio.Future[str]  # the replica that has the slot


class Admission:
    """The slots of all replicas and the queue for them; one per process."""

    def __init__(
        self, running: int, waiting: int, classes: Collection[AdmissionClass] = ()
    ) -> None:
        """Both limits apply to each replica. `classes` have reserved slots and reserved room."""
        self._slots = running
        self._reserved = math.ceil(RESERVED_SHARE * running) if running > 1 else 0
        self._max_waiting = waiting
        self._classes = tuple(classes)
        self._class_slots = running // CLASS_SLOTS or int(running > len(self._classes))
        self._class_places = waiting // CLASS_PLACES
        self._by_class: Counter[tuple[AdmissionClass | None, str]] = Counter()  # class, replica
        self._class_turns = _Turns()
        self._group_turns = _Turns()
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

    async def enter(
        self, person: str, replicas: Sequence[str], *, address: str = "", resuming: bool = False
    ) -> str:
        """Wait for a slot at one of `replicas` and return that replica. Free it with `leave`.
        `address` is that of a browser.

        `resuming`: the question was admitted before and moves to another replica; it waits ahead of
        everyone else and is never refused. Raises TooBusy when the queue is full, or when this
        question is dropped in favour of somebody who has fewer."""
        waiter = _Waiter(
            person,
            _group_of(person, address),
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
        _decrease(self._by_class, (_group_of(person, "").kind, replica))
        if seconds is not None:
            self._answer_s += SMOOTHING * (seconds - self._answer_s)
        self._grant_free_slots()
        if not self._queue:  # tags matter only while somebody waits
            self._class_turns, self._group_turns = _Turns(), _Turns()
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
            waiter, replica = min(eligible, key=lambda one: self._turn(one[0]))
            if waiter.slot.done():  # cancelled, but its task has not run yet
                self._remove(waiter)
                continue
            self._queue.remove(waiter)
            self._take(waiter, replica)
            waiter.slot.set_result(replica)

    def _turn(self, waiter: _Waiter) -> tuple[int, int, int, int]:
        """Sorts waiting questions: by class, then by group, then by person."""
        if waiter.start_tag < 0:
            return -1, -1, waiter.start_tag, waiter.arrival
        group = waiter.group
        turns = self._class_turns.tag(group.kind), self._group_turns.tag(group)
        return *turns, waiter.start_tag, waiter.arrival

    def _free_for(self, waiter: _Waiter) -> str | None:
        """The least loaded replica with a slot that this person may take."""
        may_use_reserved = self._by_person[waiter.person] == 0 or waiter.start_tag < 0
        slots = self._slots if may_use_reserved else self._slots - self._reserved
        free = [
            r
            for r in waiter.replicas
            if self._by_replica[r] < min(slots, self._slots - self._reserved_for_others(waiter, r))
        ]
        return min(free, key=self._by_replica.__getitem__, default=None)

    def _reserved_for_others(self, waiter: _Waiter, replica: str) -> int:
        """Slots of a replica that other classes have reserved and do not use now."""
        if waiter.group.kind is None or waiter.start_tag < 0:
            return 0
        others = (c for c in self._classes if c != waiter.group.kind)
        return sum(max(0, self._class_slots - self._by_class[c, replica]) for c in others)

    def _take(self, waiter: _Waiter, replica: str) -> None:
        self._class_turns.take(waiter.group.kind)
        self._group_turns.take(waiter.group)
        self._by_class[waiter.group.kind, replica] += 1
        self._by_replica[replica] += 1
        self._by_person[waiter.person] += 1
        self._virtual_time = max(self._virtual_time, waiter.start_tag)

    def _remove(self, waiter: _Waiter) -> None:
        """Drop a waiting question; it does not count against its person."""
        self._queue.remove(waiter)
        if waiter.start_tag >= 0 and waiter.person in self._finish_tags:
            self._finish_tags[waiter.person] -= 1

    def _make_room(self, newcomer: _Waiter) -> None:
        """Drop a waiting question of the newcomer's class if there is no room for another one.
        Raises TooBusy if none may be dropped."""
        kind, many = newcomer.group.kind, len(newcomer.replicas)
        waiting = Counter(w.group.kind for w in self._queue)
        others = [c for c in self._classes if c != kind] if kind is not None else []
        reserved = sum(max(0, self._class_places * many - waiting[c]) for c in others)
        if len(self._queue) < self._max_waiting * many - reserved:
            return
        self.refused += 1
        rivals = [w for w in self._queue if w.start_tag >= 0 and w.group.kind == kind]
        by_group = Counter(w.group for w in rivals)
        group, most = max(by_group.items(), key=lambda item: item[1], default=(newcomer.group, 0))
        if by_group[newcomer.group] + 1 >= most:  # then it is between the people of its own group
            group = newcomer.group
        by_person = Counter(w.person for w in rivals if w.group == group)
        heaviest, most = max(by_person.items(), key=lambda item: item[1], default=("", 0))
        if group == newcomer.group and by_person[newcomer.person] + 1 >= most:
            raise self._too_busy()
        newest = max((w for w in rivals if w.person == heaviest), key=lambda w: w.arrival)
        self._remove(newest)
        if not newest.slot.done():
            newest.slot.set_exception(self._too_busy())

    def _too_busy(self) -> TooBusy:
        """The error, with the estimated time until the present queue is empty."""
        slots = self._slots * max(1, len(self._by_replica))
        seconds = self._answer_s * (len(self._queue) + 1) / slots
        return TooBusy(max(1, min(MAX_RETRY_S, math.ceil(seconds))))


def _group_of(person: str, address: str) -> _Group:
    kind = identities.kind_of(person)
    group = CLASSES.get(kind) if kind is not None else None
    if group == "key":
        return _Group(group, f"key:{identities.key_of(person)}")
    if group == "web":
        return _Group(group, identities.address_block(address))
    return _Group(group)


def _decrease(counter: Counter[Any], key: object) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
