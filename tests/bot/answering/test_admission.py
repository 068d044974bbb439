"""Admission control: slots are never overbooked or lost, and one person cannot starve another."""

import asyncio
import contextlib
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.answering.admission import Admission, TooBusy


async def run_tasks() -> None:
    """Let every task run as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


def ask(admission: Admission, person: str, *replicas: str, **how: bool) -> "asyncio.Task[str]":
    return asyncio.ensure_future(admission.enter(person, replicas or ("a",), **how))


async def test_an_idle_engine_admits_at_once() -> None:
    admission = Admission(2, 0)
    assert await admission.enter("ann", ["a"]) == "a"
    assert (admission.running, admission.waiting) == (1, 0)
    admission.leave("ann", "a", 1.0)
    assert admission.running == 0


async def test_the_least_loaded_replica_is_chosen() -> None:
    admission = Admission(4, 4)
    entered = [await admission.enter(f"p{i}", ["a", "b"]) for i in range(6)]
    assert Counter(entered) == {"a": 3, "b": 3}


async def test_people_take_turns() -> None:
    admission = Admission(1, 20)
    await admission.enter("zoe", ["a"])
    order: list[str] = []

    async def one(person: str) -> None:
        await admission.enter(person, ["a"])
        order.append(person)
        admission.leave(person, "a")

    people = ["ann", "ann", "ann", "ann", "bob", "bob", "cid"]
    tasks = [asyncio.ensure_future(one(person)) for person in people]
    await run_tasks()
    admission.leave("zoe", "a")
    await asyncio.gather(*tasks)
    assert order == ["ann", "bob", "cid", "ann", "bob", "ann", "ann"]


async def test_nobody_accumulates_credit_while_idle() -> None:
    """A person who was idle while others asked goes next, and then takes turns with them."""
    admission = Admission(1, 50)
    for _ in range(30):
        await admission.enter("ann", ["a"])
        admission.leave("ann", "a")
    await admission.enter("ann", ["a"])
    order: list[str] = []

    async def one(person: str) -> None:
        await admission.enter(person, ["a"])
        order.append(person)
        admission.leave(person, "a")

    tasks = [asyncio.ensure_future(one(person)) for person in ("ann", "ann", "bob", "bob", "bob")]
    await run_tasks()
    admission.leave("ann", "a")
    await asyncio.gather(*tasks)
    assert order == ["bob", "ann", "bob", "ann", "bob"]


async def test_a_persons_questions_stay_in_order() -> None:
    admission = Admission(1, 8)
    await admission.enter("ann", ["a"])
    order: list[int] = []

    async def one(number: int) -> None:
        await admission.enter("ann", ["a"])
        order.append(number)
        admission.leave("ann", "a")

    tasks = [asyncio.ensure_future(one(i)) for i in range(5)]
    await run_tasks()
    admission.leave("ann", "a")
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def order_of(admission: Admission, *people: str, holder: str = "zoe") -> list[str]:
    """The order in which these people get an answer after `holder` frees the only slot."""
    order: list[str] = []

    async def one(person: str) -> None:
        await admission.enter(person, ["a"])
        order.append(person)
        admission.leave(person, "a")

    tasks = [asyncio.ensure_future(one(person)) for person in people]
    await run_tasks()
    admission.leave(holder, "a")
    await asyncio.gather(*tasks)
    return order


async def test_cancelled_questions_do_not_count_against_their_person() -> None:
    admission = Admission(1, 20)
    await admission.enter("zoe", ["a"])
    cancelled = [ask(admission, "ann") for _ in range(3)]
    await run_tasks()
    for task in cancelled:
        task.cancel()
    await run_tasks()
    assert await order_of(admission, "ann", "bob", "bob") == ["ann", "bob", "bob"]


async def test_a_dropped_question_does_not_count_against_its_person() -> None:
    admission = Admission(1, 5)
    await admission.enter("zoe", ["a"])
    many = [ask(admission, "ann") for _ in range(5)]
    await run_tasks()
    newcomer = ask(admission, "bob")
    await run_tasks()
    assert isinstance(many[4].exception(), TooBusy)
    for task in (*many, newcomer):
        task.cancel()
    await run_tasks()
    assert await order_of(admission, "ann", "dan", "dan") == ["ann", "dan", "dan"]


async def test_only_the_cancelled_question_itself_is_free_of_charge() -> None:
    admission = Admission(1, 20)
    await admission.enter("ann", ["a"])
    cancelled = ask(admission, "ann")
    await run_tasks()
    cancelled.cancel()
    await run_tasks()
    order = await order_of(admission, "ann", "bob", "bob", holder="ann")
    assert order == ["bob", "ann", "bob"]


async def test_a_cancelled_resumed_answer_gives_nothing_back() -> None:
    admission = Admission(1, 20)
    await admission.enter("ann", ["a"])
    cancelled = ask(admission, "ann", resuming=True)
    await run_tasks()
    cancelled.cancel()
    await run_tasks()
    order = await order_of(admission, "ann", "bob", "bob", holder="ann")
    assert order == ["bob", "ann", "bob"]


async def test_a_cancelled_question_at_the_head_does_not_block_the_queue() -> None:
    admission = Admission(1, 3)
    await admission.enter("ann", ["a"])
    cancelled, other = ask(admission, "bob"), ask(admission, "cid")
    await run_tasks()
    cancelled.cancel()  # its task has not run yet
    admission.leave("ann", "a")
    assert await other == "a"
    assert (admission.running, admission.waiting) == (1, 0)


async def test_a_question_that_is_dropped_and_cancelled_at_once_is_cancelled() -> None:
    admission = Admission(1, 2)
    await admission.enter("zoe", ["a"])
    many = [ask(admission, "ann") for _ in range(2)]
    await run_tasks()
    newcomer = ask(admission, "bob")
    await asyncio.sleep(0)  # the newcomer's task runs, that of the dropped question does not
    many[1].cancel()
    await run_tasks()
    assert many[1].cancelled()
    assert admission.waiting == 2
    for task in (many[0], newcomer):
        task.cancel()


async def test_a_person_with_two_answers_in_flight_has_one_when_one_ends() -> None:
    admission = Admission(4, 20)
    for person in ("ann", "ann", "bob"):
        await admission.enter(person, ["a"])
    admission.leave("ann", "a")
    await admission.enter("cid", ["a"])
    waiting = ask(admission, "ann")
    await run_tasks()
    assert not waiting.done()  # the fourth slot is for people with no answer in flight
    assert await admission.enter("dan", ["a"]) == "a"
    waiting.cancel()


async def test_a_person_with_a_resumed_answer_has_an_answer_in_flight() -> None:
    admission = Admission(2, 20)
    await admission.enter("ann", ["a"], resuming=True)
    waiting = ask(admission, "ann")
    await run_tasks()
    assert not waiting.done()
    waiting.cancel()


async def test_a_quarter_of_the_slots_is_reserved_for_people_with_no_answer_in_flight() -> None:
    admission = Admission(8, 100)
    many = [ask(admission, "ann") for _ in range(100)]
    await run_tasks()
    assert admission.running == 6
    assert await admission.enter("bob", ["a"]) == "a"
    assert await admission.enter("cid", ["a"]) == "a"
    for task in many:
        task.cancel()


@pytest.mark.parametrize(
    ("slots", "usable"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3), (8, 6), (9, 6)]
)
async def test_a_quarter_of_the_slots_is_reserved_rounded_up(slots: int, usable: int) -> None:
    """A single slot is not reserved."""
    admission = Admission(slots, 20)
    greedy = [ask(admission, "ann") for _ in range(20)]
    await run_tasks()
    assert admission.load("a") == usable
    for task in greedy:
        task.cancel()


async def test_a_resumed_answer_may_take_a_reserved_slot() -> None:
    admission = Admission(2, 20)
    await admission.enter("ann", ["a"])
    waiting = ask(admission, "ann")
    resumed = ask(admission, "ann", resuming=True)
    await run_tasks()
    assert resumed.done()
    assert not waiting.done()
    assert admission.load("a") == 2
    waiting.cancel()


async def test_a_resumed_answer_does_not_count_against_its_person() -> None:
    admission = Admission(1, 20)
    await admission.enter("zoe", ["a"])
    resumed = ask(admission, "ann", "b", resuming=True)
    await run_tasks()
    assert await resumed == "b"
    assert await order_of(admission, "ann", "bob", "bob") == ["ann", "bob", "bob"]


async def test_of_two_resumed_answers_the_first_to_wait_goes_first() -> None:
    admission = Admission(1, 0)
    await admission.enter("ann", ["b"])
    first, second = (ask(admission, person, "b", resuming=True) for person in ("cid", "bob"))
    await run_tasks()
    admission.leave("ann", "b")
    await run_tasks()
    assert (first.done(), second.done()) == (True, False)
    second.cancel()


async def test_a_load_is_that_of_one_replica() -> None:
    admission = Admission(4, 0)
    for person, replica in (("ann", "a"), ("bob", "b"), ("cid", "a")):
        await admission.enter(person, [replica])
    assert [admission.load(replica) for replica in "abc"] == [2, 1, 0]
    admission.leave("ann", "a")
    assert [admission.load(replica) for replica in "abc"] == [1, 1, 0]
    assert (admission.running, admission.waiting) == (2, 0)


async def test_questions_that_wait_for_an_engine_are_counted_while_they_wait() -> None:
    admission = Admission(1, 0)
    assert admission.waiting_for_engine == 0
    with admission.wait_for_engine():
        with contextlib.suppress(KeyError), admission.wait_for_engine():
            assert admission.waiting_for_engine == 2
            raise KeyError
        assert admission.waiting_for_engine == 1
    assert admission.waiting_for_engine == 0


async def test_the_queue_is_longer_for_questions_that_several_replicas_can_answer() -> None:
    admission = Admission(1, 2)
    for replica in "ab":
        await admission.enter(f"zoe-{replica}", [replica])
    waiting = [ask(admission, f"p{i}", "a", "b") for i in range(4)]
    await run_tasks()
    assert admission.waiting == 4
    with pytest.raises(TooBusy):
        await admission.enter("late", ["a", "b"])
    assert admission.refused == 1
    for task in waiting:
        task.cancel()


async def test_a_newcomer_with_fewer_questions_displaces_the_newest_of_the_heaviest() -> None:
    admission = Admission(1, 3)
    await admission.enter("zoe", ["a"])
    waiting = [ask(admission, person) for person in ("ann", "ann", "bob")]
    await run_tasks()
    with pytest.raises(TooBusy):  # bob would have two, as many as ann
        await admission.enter("bob", ["a"])
    newcomer = ask(admission, "cid")  # cid has none, ann two
    await run_tasks()
    assert isinstance(waiting[1].exception(), TooBusy)
    assert not newcomer.done()
    assert admission.refused == 2
    for task in (waiting[0], waiting[2], newcomer):
        task.cancel()


async def test_a_full_queue_refuses_with_the_time_to_retry() -> None:
    admission = Admission(1, 2)
    await admission.enter("ann", ["a"])
    waiting = [ask(admission, "bob"), ask(admission, "cid")]
    await run_tasks()
    with pytest.raises(TooBusy, match="Try again in about 12 seconds") as refused:
        await admission.enter("dan", ["a"])
    assert refused.value.retry_after == 12  # three questions ahead of it, four seconds each
    assert admission.refused == 1
    for task in waiting:
        task.cancel()


async def test_the_retry_estimate_follows_the_measured_answer_time() -> None:
    admission = Admission(1, 0)
    for _ in range(100):
        await admission.enter("ann", ["a"])
        admission.leave("ann", "a", 0.1)
    await admission.enter("ann", ["a"])
    with pytest.raises(TooBusy, match="Try again in a second"):
        await admission.enter("bob", ["a"])


@pytest.mark.parametrize(
    ("took", "retry_after"),
    [(14.0, 5), (4.0, 4), (3.0, 4), (0.0, 4), (10_000.0, 60)],
)
async def test_the_newest_answer_is_a_tenth_of_the_estimate(took: float, retry_after: int) -> None:
    """The estimate starts at four seconds; nobody is told to wait longer than a minute."""
    admission = Admission(1, 0)
    await admission.enter("ann", ["a"])
    admission.leave("ann", "a", took)
    await admission.enter("ann", ["a"])
    with pytest.raises(TooBusy) as refused:
        await admission.enter("bob", ["a"])
    assert refused.value.retry_after == retry_after


async def test_an_incomplete_answer_does_not_change_the_estimate() -> None:
    admission = Admission(1, 0)
    await admission.enter("ann", ["a"])
    admission.leave("ann", "a")
    await admission.enter("ann", ["a"])
    with pytest.raises(TooBusy) as refused:
        await admission.enter("bob", ["a"])
    assert refused.value.retry_after == 4


async def test_the_queue_empties_as_fast_as_all_busy_replicas_answer() -> None:
    """Two slots each at two replicas; six questions wait, and the new one is the seventh."""
    admission = Admission(2, 3)
    for i in range(4):
        await admission.enter(f"p{i}", ["a", "b"])
    waiting = [ask(admission, f"w{i}", "a", "b") for i in range(6)]
    await run_tasks()
    with pytest.raises(TooBusy) as refused:
        await admission.enter("late", ["a", "b"])
    assert refused.value.retry_after == 7  # seven answers of four seconds, four at a time
    for task in waiting:
        task.cancel()


async def test_the_person_with_the_most_waiting_questions_loses_one_to_a_newcomer() -> None:
    admission = Admission(1, 3)
    await admission.enter("ann", ["a"])
    many = [ask(admission, "ann") for _ in range(3)]
    await run_tasks()
    newcomer = ask(admission, "bob")
    await run_tasks()
    with pytest.raises(TooBusy):
        await many[2]
    assert not newcomer.done()
    with pytest.raises(TooBusy):  # ann cannot displace bob
        await admission.enter("ann", ["a"])
    for _ in range(3):  # ann's two older questions, then bob's
        admission.leave("ann", "a")
        await run_tasks()
    assert await newcomer == "a"


async def test_a_cancelled_wait_leaves_the_queue() -> None:
    admission = Admission(1, 3)
    await admission.enter("ann", ["a"])
    waiter, other = ask(admission, "bob"), ask(admission, "cid")
    await run_tasks()
    waiter.cancel()
    await run_tasks()
    assert admission.waiting == 1
    admission.leave("ann", "a")
    assert await other == "a"


async def test_a_slot_granted_to_a_cancelled_question_is_passed_on() -> None:
    admission = Admission(1, 3)
    await admission.enter("ann", ["a"])
    leaver, other = ask(admission, "bob"), ask(admission, "cid")
    await run_tasks()
    admission.leave("ann", "a")  # bob has the slot, but his task has not run yet
    leaver.cancel()
    assert await other == "a"
    assert (admission.running, admission.waiting) == (1, 0)


async def test_a_resumed_answer_waits_ahead_of_everyone_else() -> None:
    admission = Admission(1, 0)
    await admission.enter("ann", ["b"])
    resumed = ask(admission, "bob", "b", resuming=True)
    await run_tasks()
    admission.leave("ann", "b")
    assert await resumed == "b"


async def test_a_slot_at_any_of_the_named_replicas_is_taken() -> None:
    admission = Admission(1, 5)
    await admission.enter("ann", ["a"])
    await admission.enter("bob", ["b"])
    either, only_a = ask(admission, "cid", "a", "b"), ask(admission, "dan", "a")
    await run_tasks()
    admission.leave("bob", "b")
    assert await either == "b"
    assert not only_a.done()
    admission.leave("ann", "a")
    assert await only_a == "a"


async def test_a_person_with_many_questions_delays_another_by_one_answer_at_most() -> None:
    admission = Admission(2, 1000)
    many = [ask(admission, "ann") for _ in range(1000)]
    await run_tasks()
    await admission.enter("bob", ["a"])  # the reserved slot
    other = ask(admission, "cid")
    await run_tasks()
    admission.leave("ann", "a")
    await run_tasks()
    assert other.done()
    for task in many:
        task.cancel()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    running=st.integers(1, 5),
    waiting=st.integers(0, 6),
    replicas=st.integers(1, 3),
)
def test_no_slot_is_overbooked_or_lost(
    seed: int, running: int, waiting: int, replicas: int
) -> None:
    """Random people enter, get answers and cancel; afterwards the queue and all slots are free."""
    rng = random.Random(seed)
    names = [f"r{i}" for i in range(replicas)]

    async def scenario() -> None:
        admission = Admission(running, waiting)
        at: Counter[str] = Counter()
        outcomes: Counter[str] = Counter()

        async def one(person: str) -> None:
            wanted = rng.sample(names, rng.randint(1, replicas))
            try:
                slot = await admission.enter(person, wanted, resuming=rng.random() < 0.05)
            except TooBusy:
                outcomes["refused"] += 1
                return
            assert slot in wanted
            at[slot] += 1
            assert at[slot] <= running
            try:
                for _ in range(rng.randint(0, 4)):
                    await asyncio.sleep(0)
            finally:
                at[slot] -= 1
                admission.leave(person, slot, 0.1)
            outcomes["answered"] += 1

        tasks = []
        for _ in range(60):
            tasks.append(asyncio.ensure_future(one(rng.choice("abcd"))))
            if rng.random() < 0.3:
                await asyncio.sleep(0)
            if rng.random() < 0.2:
                rng.choice(tasks).cancel()
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        cancelled = sum(isinstance(e, asyncio.CancelledError) for e in ended)
        assert outcomes["answered"] + outcomes["refused"] + cancelled == len(tasks)
        assert not [e for e in ended if isinstance(e, AssertionError)]
        assert (admission.running, admission.waiting) == (0, 0)
        assert not admission._finish_tags  # nothing is kept about people who left

    asyncio.run(scenario())
