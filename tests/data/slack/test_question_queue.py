"""The question queue: claims, order within a thread, and recovery after a crash."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data import domains
from data.conversations import conversations
from data.slack import question_queue
from data.slack.question_queue import QueuedQuestion
from data.store.db import Store, row

LEASE = 60_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "understudy.db") as opened:
        yield opened


def add(store: Store, ts: str = "1.0", thread: str = "1.0", text: str = "Why?") -> bool:
    with store.write() as db:
        return question_queue.add(
            db, team="T1", channel="C1", ts=ts, thread_ts=thread, user="U1", text=text
        )


def claim(
    store: Store, worker: str = "a", most: int = 9, lease_us: int = LEASE
) -> list[QueuedQuestion]:
    with store.write() as db:
        return question_queue.claim(db, worker, most, lease_us)


def do(store: Store, fn: Any, *args: Any) -> Any:
    with store.write() as db:
        return fn(db, *args)


def open_reply(store: Store, reply_id: str) -> None:
    with store.write() as db:
        domain = next(iter(domains.list_domains(db)), None) or domains.create(db, "helpdesk")
        thread = conversations.open_thread(db, f"slack:{reply_id}", domain.id, "slack:T1/U1")
        conversations.ask(
            db,
            reply_id=reply_id,
            conversation=thread,
            person="slack:T1/U1",
            text="Why?",
            adapter_id=None,
            variant_id=None,
        )


def status(store: Store, reply_id: str) -> str:
    return conversations.reply(store.db, reply_id).status


def test_a_message_is_queued_once(store: Store) -> None:
    assert add(store)
    assert not add(store)


def test_a_question_is_claimed_by_one_worker(store: Store) -> None:
    add(store)
    (mine,) = claim(store, "a")
    assert (mine.text, mine.worker, mine.generation, mine.attempts) == ("Why?", "a", 1, 0)
    assert claim(store, "b") == []


def test_a_threads_questions_are_claimed_one_after_another(store: Store) -> None:
    for ts, thread in (("1.0", "1.0"), ("2.0", "1.0"), ("3.0", "3.0")):
        add(store, ts, thread)
    first = claim(store)
    assert [q.ts for q in first] == ["1.0", "3.0"]
    assert do(store, question_queue.finish, first[0])
    assert [q.ts for q in claim(store)] == ["2.0"]


def test_claims_are_limited_to_the_free_capacity(store: Store) -> None:
    for n in range(5):
        add(store, f"{n}.0", f"{n}.0")
    assert [q.ts for q in claim(store, most=2)] == ["0.0", "1.0"]
    assert claim(store, most=0) == []


def test_an_expired_lease_is_taken_over_and_fences_its_holder(store: Store) -> None:
    add(store)
    (lost,) = claim(store, "a", lease_us=-1)
    (mine,) = claim(store, "b")
    assert (mine.worker, mine.generation, mine.attempts) == ("b", 2, 1)
    assert not do(store, question_queue.begin_showing, lost)
    assert not do(store, question_queue.shown, lost, "9.9")
    assert not do(store, question_queue.finish, lost)
    assert not do(store, question_queue.give_back, lost)
    assert do(store, question_queue.renew, "a", LEASE) == set()
    assert do(store, question_queue.renew, "b", LEASE) == {(mine.id, 2)}


def test_the_questions_of_a_lost_worker_can_be_released_at_once(store: Store) -> None:
    add(store)
    claim(store, "a")
    assert question_queue.workers(store.db) == ["a"]
    assert do(store, question_queue.release, "a") == 1
    assert len(claim(store, "b")) == 1


def test_a_returned_question_waits_and_keeps_its_order_in_the_thread(store: Store) -> None:
    add(store, "1.0")
    add(store, "2.0", "1.0")
    (first,) = claim(store)
    do(store, question_queue.give_back, first, LEASE)
    assert not question_queue.claimable(store.db)
    do(store, lambda db: db.execute("UPDATE questions SET not_before = 0"))
    (again,) = claim(store)
    assert (again.ts, again.attempts) == ("1.0", 0)


def test_the_text_of_a_finished_question_is_deleted(store: Store) -> None:
    add(store, text="my secret")
    (mine,) = claim(store)
    do(store, question_queue.finish, mine)
    found = row(store.db, "SELECT text, state FROM questions")
    assert found == {"text": "", "state": "done"}
    assert do(store, question_queue.forget, mine.created_at + LEASE) == 1


def test_the_next_attempt_closes_the_reply_of_a_crash(store: Store) -> None:
    add(store)
    (lost,) = claim(store, lease_us=-1)
    do(store, question_queue.begin, lost, "r1")
    open_reply(store, "r1")
    do(store, question_queue.begin_showing, lost)
    do(store, question_queue.shown, lost, "5.0")
    (mine,) = claim(store, "b")
    assert (mine.reply_id, mine.begun, mine.shown_ts) == ("r1", True, "5.0")
    assert do(store, question_queue.begin, mine, "r2") is None
    assert status(store, "r1") == "failed"


def test_an_answer_that_was_written_but_not_shown_is_not_generated_again(store: Store) -> None:
    add(store)
    (lost,) = claim(store, lease_us=-1)
    do(store, question_queue.begin, lost, "r1")
    open_reply(store, "r1")
    with store.write() as db:
        conversations.finish_reply(db, "r1", "Because.", status="done", finish_reason="stop")
    (mine,) = claim(store, "b")
    earlier = do(store, question_queue.begin, mine, "r2")
    assert earlier == question_queue.EarlierAttempt(
        "r1", "Because.", "stop", "", "generated", 0, "base", None
    )
    assert status(store, "r1") == "done"


@pytest.mark.parametrize("claimed", [False, True])
def test_an_edit_restarts_an_open_question(store: Store, claimed: bool) -> None:
    add(store)
    if claimed:
        (before,) = claim(store)
        do(store, question_queue.begin, before, "r1")
        open_reply(store, "r1")
    assert do(store, question_queue.edit, "T1", "C1", "1.0", "Why not?")
    (mine,) = claim(store)
    assert (mine.text, mine.reply_id, mine.withdrawn) == ("Why not?", "", False)
    if claimed:
        assert status(store, "r1") == "failed"
        assert not do(store, question_queue.finish, before)


def test_a_late_edit_or_one_without_changes_does_nothing(store: Store) -> None:
    add(store)
    (mine,) = claim(store)
    assert not do(store, question_queue.edit, "T1", "C1", "1.0", "Why?")
    assert not do(store, question_queue.edit, "T1", "C1", "9.9", "Why not?")
    do(store, question_queue.finish, mine)
    assert not do(store, question_queue.edit, "T1", "C1", "1.0", "Why not?")
    assert claim(store) == []


def test_a_deleted_question_is_claimed_only_for_cleanup(store: Store) -> None:
    add(store)
    (before,) = claim(store)
    assert do(store, question_queue.withdraw, "T1", "C1", "1.0")
    assert not do(store, question_queue.withdraw, "T1", "C1", "1.0")
    assert not do(store, question_queue.finish, before)
    (mine,) = claim(store)
    assert (mine.withdrawn, mine.text) == (True, "")
