"""When the circuit breaker opens, and when it closes again."""

import pytest

from bot.answering.circuit_breaker import ADAPTER_LIMIT, EXPIRE_S, REPLICA_LIMIT, Breaker
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
    attempt.started()
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


def test_a_success_resets_the_count_of_failures(breaker: Breaker) -> None:
    for _ in range(10):
        fail(breaker)
        succeed(breaker)

    assert breaker.allows("one", "helpdesk@1")
    assert breaker.open() == []


def test_failures_of_several_adapters_open_the_replicas_circuit(breaker: Breaker) -> None:
    for n in range(REPLICA_LIMIT):
        assert breaker.allows("one", "base")
        fail(breaker, adapter=f"helpdesk@{n}")

    assert not breaker.allows("one", "base")


def test_one_failing_adapter_never_blocks_the_others(breaker: Breaker) -> None:
    at_once = [breaker.attempt("one", "helpdesk@1") for _ in range(100)]
    for attempt in at_once:
        attempt.failed("It answered 500.")

    assert not breaker.allows("one", "helpdesk@1")
    assert breaker.allows("one", "base")


def test_a_replica_that_answers_for_other_adapters_stays_closed(breaker: Breaker) -> None:
    for _ in range(20):
        fail(breaker, adapter="helpdesk@1")
        succeed(breaker, adapter="base")

    assert not breaker.allows("one", "helpdesk@1")
    assert breaker.allows("one", "base")


def test_an_unreachable_replica_opens_its_circuit_at_once(breaker: Breaker) -> None:
    breaker.attempt("one", "helpdesk@1").replica_failed("It cannot be reached.")

    assert not breaker.allows("one", "helpdesk@1")
    assert not breaker.allows("one", "base")
    assert breaker.allows("two", "helpdesk@1")


def test_a_wrong_adapter_opens_that_adapters_circuit_at_once(breaker: Breaker) -> None:
    breaker.attempt("one", "helpdesk@1").adapter_failed("It answered as helpdesk@2.")

    assert not breaker.allows("one", "helpdesk@1")
    assert breaker.allows("one", "base")


def test_after_the_pause_one_probe_is_allowed(breaker: Breaker, clock: Clock) -> None:
    breaker.attempt("one", "helpdesk@1").replica_failed("It cannot be reached.")
    clock.now += 0.9
    assert not breaker.allows("one", "helpdesk@1")
    clock.now += 0.2

    assert breaker.allows("one", "helpdesk@1")
    probe = breaker.attempt("one", "helpdesk@1")

    assert not breaker.allows("one", "helpdesk@1")
    assert not breaker.allows("one", "base")
    probe.started()
    assert breaker.allows("one", "helpdesk@1")


def test_a_probe_without_an_outcome_allows_another_probe(breaker: Breaker, clock: Clock) -> None:
    breaker.attempt("one", "helpdesk@1").replica_failed("It cannot be reached.")
    clock.now += 2
    breaker.attempt("one", "helpdesk@1").release()

    assert breaker.allows("one", "helpdesk@1")


def test_pauses_double_up_to_half_a_minute_and_a_success_resets_them(
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


def test_a_probe_that_is_interrupted_reopens_the_circuit(breaker: Breaker, clock: Clock) -> None:
    for _ in range(ADAPTER_LIMIT):
        fail(breaker)
    clock.now += 2
    probe = breaker.attempt("one", "helpdesk@1")
    probe.started()
    assert breaker.allows("one", "helpdesk@1")
    probe.failed("It was interrupted.")

    assert not breaker.allows("one", "helpdesk@1")


def test_requests_sent_before_the_opening_neither_lengthen_the_pause_nor_close_the_circuit(
    breaker: Breaker, clock: Clock
) -> None:
    earlier = [breaker.attempt("one", "helpdesk@1") for _ in range(20)]
    for attempt in earlier[:10]:
        attempt.failed("It answered 500.")
    for attempt in earlier[10:]:
        attempt.started()
        attempt.succeeded()

    assert not breaker.allows("one", "helpdesk@1")
    assert breaker.wait_s("one", "helpdesk@1") == 1


def test_a_restarted_engine_starts_with_closed_circuits(breaker: Breaker) -> None:
    for replica in ("one", "two"):
        breaker.note_generation(replica, 3)
        breaker.attempt(replica, "base").replica_failed("It cannot be reached.")
    breaker.note_generation("one", 3)
    assert not breaker.allows("one", "base")

    breaker.note_generation("one", 4)

    assert breaker.allows("one", "base")
    assert not breaker.allows("two", "base")


def test_open_circuits_are_listed_by_name(breaker: Breaker, clock: Clock) -> None:
    breaker.attempt("two", "helpdesk@1").adapter_failed("It answered as helpdesk@2.")
    breaker.attempt("one", "base").replica_failed("It cannot be reached.")
    clock.now += 60

    one, two = breaker.open()

    assert (one.replica, one.adapter, one.reason) == ("one", None, "It cannot be reached.")
    assert (two.replica, two.adapter) == ("two", "helpdesk@1")
    assert 59_000_000 <= now_us() - one.since <= 61_000_000


def test_the_circuit_of_a_removed_replica_expires(breaker: Breaker, clock: Clock) -> None:
    breaker.attempt("old", "base").replica_failed("It cannot be reached.")
    clock.now += EXPIRE_S + 2

    assert breaker.open() == []
