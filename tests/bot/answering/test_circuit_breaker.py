"""When the circuit breaker leaves something alone, and when it tries it again."""

import pytest

from bot.answering.circuit_breaker import ADAPTER_LIMIT, FORGET_S, REPLICA_LIMIT, Breaker
from data.store.clock import now_us


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def fail(breaker: Breaker, replica: str = "one", adapter: str = "helpdesk@1") -> None:
    attempt = breaker.attempt(replica, adapter)
    attempt.failed("It answered 500.")
    attempt.release()


def succeed(breaker: Breaker, replica: str = "one", adapter: str = "helpdesk@1") -> None:
    attempt = breaker.attempt(replica, adapter)
    attempt.answers()
    attempt.succeeded()
    attempt.release()


def test_a_few_failures_in_a_row_open_the_adapters_circuit(breaker: Breaker) -> None:
    for _ in range(ADAPTER_LIMIT - 1):
        fail(breaker)
    assert breaker.allows("one", "helpdesk@1")
    fail(breaker)

    assert not breaker.allows("one", "helpdesk@1")
    assert breaker.allows("one", "helpdesk@2")
    assert breaker.allows("two", "helpdesk@1")


def test_a_success_in_between_begins_the_count_anew(breaker: Breaker) -> None:
    for _ in range(10):
        fail(breaker)
        succeed(breaker)

    assert breaker.allows("one", "helpdesk@1")
    assert breaker.open() == []


def test_failures_of_several_adapters_are_the_replicas(breaker: Breaker) -> None:
    for n in range(REPLICA_LIMIT):
        assert breaker.allows("one", "base")
        fail(breaker, adapter=f"helpdesk@{n}")

    assert not breaker.allows("one", "base")


def test_one_adapter_that_fails_a_crowd_shuts_out_no_other(breaker: Breaker) -> None:
    at_once = [breaker.attempt("one", "helpdesk@1") for _ in range(100)]
    for attempt in at_once:
        attempt.failed("It answered 500.")

    assert not breaker.allows("one", "helpdesk@1")
    assert breaker.allows("one", "base")


def test_a_replica_that_answers_others_is_not_to_blame(breaker: Breaker) -> None:
    for _ in range(20):
        fail(breaker, adapter="helpdesk@1")
        succeed(breaker, adapter="base")

    assert not breaker.allows("one", "helpdesk@1")
    assert breaker.allows("one", "base")


def test_nobody_listening_shuts_the_whole_replica_at_once(breaker: Breaker) -> None:
    breaker.attempt("one", "helpdesk@1").replica_failed("It cannot be reached.")

    assert not breaker.allows("one", "helpdesk@1")
    assert not breaker.allows("one", "base")
    assert breaker.allows("two", "helpdesk@1")


def test_a_wrong_adapter_shuts_that_adapter_there_at_once(breaker: Breaker) -> None:
    breaker.attempt("one", "helpdesk@1").adapter_failed("It answered as helpdesk@2.")

    assert not breaker.allows("one", "helpdesk@1")
    assert breaker.allows("one", "base")


def test_after_the_pause_one_probe_goes_through(breaker: Breaker, clock: Clock) -> None:
    breaker.attempt("one", "helpdesk@1").replica_failed("It cannot be reached.")
    clock.now += 0.9
    assert not breaker.allows("one", "helpdesk@1")
    clock.now += 0.2

    assert breaker.allows("one", "helpdesk@1")
    probe = breaker.attempt("one", "helpdesk@1")

    assert not breaker.allows("one", "helpdesk@1")
    assert not breaker.allows("one", "base")
    probe.answers()
    assert breaker.allows("one", "helpdesk@1")


def test_a_probe_that_says_nothing_makes_room_for_the_next(breaker: Breaker, clock: Clock) -> None:
    breaker.attempt("one", "helpdesk@1").replica_failed("It cannot be reached.")
    clock.now += 2
    breaker.attempt("one", "helpdesk@1").release()

    assert breaker.allows("one", "helpdesk@1")


def test_pauses_grow_up_to_half_a_minute_and_are_short_again_after_a_success(
    breaker: Breaker, clock: Clock
) -> None:
    pauses = []
    for _ in range(8):
        attempt = breaker.attempt("one", "helpdesk@1")
        attempt.replica_failed("It cannot be reached.")
        attempt.release()
        pauses.append(breaker.wait_s("one", "helpdesk@1"))
        clock.now += pauses[-1]
    succeed(breaker)
    breaker.attempt("one", "helpdesk@1").replica_failed("It cannot be reached.")

    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert breaker.wait_s("one", "helpdesk@1") == 1


def test_what_breaks_off_right_after_its_probe_is_left_alone_again(
    breaker: Breaker, clock: Clock
) -> None:
    for _ in range(ADAPTER_LIMIT):
        fail(breaker)
    clock.now += 2
    probe = breaker.attempt("one", "helpdesk@1")
    probe.answers()
    assert breaker.allows("one", "helpdesk@1")
    probe.failed("It broke off.")

    assert not breaker.allows("one", "helpdesk@1")


def test_requests_sent_before_it_opened_neither_lengthen_the_pause_nor_close_it(
    breaker: Breaker, clock: Clock
) -> None:
    earlier = [breaker.attempt("one", "helpdesk@1") for _ in range(20)]
    for attempt in earlier[:10]:
        attempt.failed("It answered 500.")
    for attempt in earlier[10:]:
        attempt.answers()
        attempt.succeeded()

    assert not breaker.allows("one", "helpdesk@1")
    assert breaker.wait_s("one", "helpdesk@1") == 1


def test_an_engine_that_was_started_anew_begins_anew(breaker: Breaker) -> None:
    for replica in ("one", "two"):
        breaker.met(replica, 3)
        breaker.attempt(replica, "base").replica_failed("It cannot be reached.")
    breaker.met("one", 3)
    assert not breaker.allows("one", "base")

    breaker.met("one", 4)

    assert breaker.allows("one", "base")
    assert not breaker.allows("two", "base")


def test_what_is_open_can_be_shown(breaker: Breaker, clock: Clock) -> None:
    breaker.attempt("two", "helpdesk@1").adapter_failed("It answered as helpdesk@2.")
    breaker.attempt("one", "base").replica_failed("It cannot be reached.")
    clock.now += 60

    one, two = breaker.open()

    assert (one.replica, one.adapter, one.reason) == ("one", None, "It cannot be reached.")
    assert (two.replica, two.adapter) == ("two", "helpdesk@1")
    assert 59_000_000 <= now_us() - one.since <= 61_000_000


def test_a_replica_that_is_no_more_is_forgotten(breaker: Breaker, clock: Clock) -> None:
    breaker.attempt("old", "base").replica_failed("It cannot be reached.")
    clock.now += FORGET_S + 2

    assert breaker.open() == []
