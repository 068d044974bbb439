"""Places at the engines: never more than there are, none lost, and nobody waits for the greedy."""

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.answering.admission import Admission, TooBusy


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


def ask(admission: Admission, person: str, *replicas: str, **how: bool) -> "asyncio.Task[str]":
    return asyncio.ensure_future(admission.enter(person, replicas or ("a",), **how))


async def test_an_idle_engine_is_entered_at_once() -> None:
    admission = Admission(2, 0)
    assert await admission.enter("ann", ["a"]) == "a"
    assert (admission.running, admission.waiting) == (1, 0)
    admission.leave("ann", "a", 1.0)
    assert admission.running == 0


async def test_the_least_loaded_replica_is_entered() -> None:
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
    await settle()
    admission.leave("zoe", "a")
    await asyncio.gather(*tasks)
    assert order == ["ann", "bob", "cid", "ann", "bob", "ann", "ann"]


async def test_nobody_saves_turns_up() -> None:
    """Who was away while others asked is next, and then one among them."""
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
    await settle()
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
    await settle()
    admission.leave("ann", "a")
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def order_of(admission: Admission, *people: str) -> list[str]:
    """Who is answered in which order, when these ask while zoe has the only place."""
    order: list[str] = []

    async def one(person: str) -> None:
        await admission.enter(person, ["a"])
        order.append(person)
        admission.leave(person, "a")

    tasks = [asyncio.ensure_future(one(person)) for person in people]
    await settle()
    admission.leave("zoe", "a")
    await asyncio.gather(*tasks)
    return order


async def test_questions_that_were_given_up_cost_no_turn() -> None:
    admission = Admission(1, 20)
    await admission.enter("zoe", ["a"])
    given_up = [ask(admission, "ann") for _ in range(3)]
    await settle()
    for task in given_up:
        task.cancel()
    await settle()
    assert await order_of(admission, "ann", "bob", "bob") == ["ann", "bob", "bob"]


async def test_a_question_that_gave_way_costs_no_turn() -> None:
    admission = Admission(1, 5)
    await admission.enter("zoe", ["a"])
    greedy = [ask(admission, "ann") for _ in range(5)]
    await settle()
    newcomer = ask(admission, "bob")
    await settle()
    assert isinstance(greedy[4].exception(), TooBusy)
    for task in (*greedy, newcomer):
        task.cancel()
    await settle()
    assert await order_of(admission, "ann", "dan", "dan") == ["ann", "dan", "dan"]


async def test_the_last_quarter_is_kept_for_who_has_nothing() -> None:
    admission = Admission(8, 100)
    greedy = [ask(admission, "ann") for _ in range(100)]
    await settle()
    assert admission.running == 6
    assert await admission.enter("bob", ["a"]) == "a"
    assert await admission.enter("cid", ["a"]) == "a"
    for task in greedy:
        task.cancel()


async def test_beyond_the_queue_people_are_told_when_to_come_again() -> None:
    admission = Admission(1, 2)
    await admission.enter("ann", ["a"])
    waiting = [ask(admission, "bob"), ask(admission, "cid")]
    await settle()
    with pytest.raises(TooBusy, match="Try again in about 12 seconds") as refused:
        await admission.enter("dan", ["a"])
    assert refused.value.retry_after == 12  # three before it, four seconds each
    assert admission.refused == 1
    for task in waiting:
        task.cancel()


async def test_the_estimate_follows_how_long_answers_take() -> None:
    admission = Admission(1, 0)
    for _ in range(100):
        await admission.enter("ann", ["a"])
        admission.leave("ann", "a", 0.1)
    await admission.enter("ann", ["a"])
    with pytest.raises(TooBusy, match="Try again in a second"):
        await admission.enter("bob", ["a"])


async def test_the_greediest_gives_way_to_a_newcomer() -> None:
    admission = Admission(1, 3)
    await admission.enter("ann", ["a"])
    greedy = [ask(admission, "ann") for _ in range(3)]
    await settle()
    newcomer = ask(admission, "bob")
    await settle()
    with pytest.raises(TooBusy):
        await greedy[2]
    assert not newcomer.done()
    with pytest.raises(TooBusy):  # nor may she displace him
        await admission.enter("ann", ["a"])
    for _ in range(3):  # hers that waited longer, and his
        admission.leave("ann", "a")
        await settle()
    assert await newcomer == "a"


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    admission = Admission(1, 3)
    await admission.enter("ann", ["a"])
    waiter, other = ask(admission, "bob"), ask(admission, "cid")
    await settle()
    waiter.cancel()
    await settle()
    assert admission.waiting == 1
    admission.leave("ann", "a")
    assert await other == "a"


async def test_a_place_given_to_one_who_just_left_is_passed_on() -> None:
    admission = Admission(1, 3)
    await admission.enter("ann", ["a"])
    leaver, other = ask(admission, "bob"), ask(admission, "cid")
    await settle()
    admission.leave("ann", "a")  # the place is bob's, who has not heard of it
    leaver.cancel()
    assert await other == "a"
    assert (admission.running, admission.waiting) == (1, 0)


async def test_an_answer_that_goes_on_elsewhere_waits_before_all_others() -> None:
    admission = Admission(1, 0)
    await admission.enter("ann", ["b"])
    goes_on = ask(admission, "bob", "b", goes_on=True)
    await settle()
    admission.leave("ann", "b")
    assert await goes_on == "b"


async def test_a_place_at_any_of_the_named_replicas_will_do() -> None:
    admission = Admission(1, 5)
    await admission.enter("ann", ["a"])
    await admission.enter("bob", ["b"])
    either, only_a = ask(admission, "cid", "a", "b"), ask(admission, "dan", "a")
    await settle()
    admission.leave("bob", "b")
    assert await either == "b"
    assert not only_a.done()
    admission.leave("ann", "a")
    assert await only_a == "a"


async def test_a_greedy_person_delays_another_by_one_answer_at_most() -> None:
    admission = Admission(2, 1000)
    greedy = [ask(admission, "ann") for _ in range(1000)]
    await settle()
    await admission.enter("bob", ["a"])  # the kept place
    other = ask(admission, "cid")
    await settle()
    admission.leave("ann", "a")
    await settle()
    assert other.done()
    for task in greedy:
        task.cancel()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    running=st.integers(1, 5),
    waiting=st.integers(0, 6),
    replicas=st.integers(1, 3),
)
def test_no_place_is_taken_twice_or_lost(
    seed: int, running: int, waiting: int, replicas: int
) -> None:
    """Random people come, answer, leave and give up; in the end all is as it was."""
    rng = random.Random(seed)
    names = [f"r{i}" for i in range(replicas)]

    async def scenario() -> None:
        admission = Admission(running, waiting)
        at: Counter[str] = Counter()
        outcomes: Counter[str] = Counter()

        async def one(person: str) -> None:
            choice = rng.sample(names, rng.randint(1, replicas))
            try:
                place = await admission.enter(person, choice, goes_on=rng.random() < 0.05)
            except TooBusy:
                outcomes["refused"] += 1
                return
            assert place in choice
            at[place] += 1
            assert at[place] <= running
            try:
                for _ in range(rng.randint(0, 4)):
                    await asyncio.sleep(0)
            finally:
                at[place] -= 1
                admission.leave(person, place, 0.1)
            outcomes["answered"] += 1

        tasks = []
        for _ in range(60):
            tasks.append(asyncio.ensure_future(one(rng.choice("abcd"))))
            if rng.random() < 0.3:
                await asyncio.sleep(0)
            if rng.random() < 0.2:
                rng.choice(tasks).cancel()
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        gone = sum(isinstance(e, asyncio.CancelledError) for e in ended)
        assert outcomes["answered"] + outcomes["refused"] + gone == len(tasks)
        assert not [e for e in ended if isinstance(e, AssertionError)]
        assert (admission.running, admission.waiting) == (0, 0)
        assert not admission._next  # no memory of people who are gone

    asyncio.run(scenario())
