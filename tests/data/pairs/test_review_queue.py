"""The queue of pending pairs: leases, idempotent decisions, edits."""

import pytest
from sqlite_utils import Database

from data.domains import Domain
from data.pairs import pairs, review_queue
from data.pairs.pairs import Draft
from data.store.db import Store
from data.store.errors import Conflict, Invalid


@pytest.fixture
def db(store: Store, domain: Domain) -> Database:
    drafts = [Draft(f"Question {n}?", f"Answer {n}.") for n in range(1, 4)]
    with store.write() as db:
        pairs.add(db, domain, drafts, source="correction", author="ada")
    return store.db


def test_many_reviewers_at_once_are_given_different_pairs(db: Database) -> None:
    given = [review_queue.take_next(db, who) for who in ("a", "b", "c", "d")]
    assert [pair.id if pair else None for pair in given] == [1, 2, 3, None]


def test_a_reviewer_holds_one_pair_at_a_time(db: Database) -> None:
    review_queue.take_next(db, "a")
    second = review_queue.take_next(db, "a", after=1)
    assert second is not None
    assert second.id == 2
    freed = review_queue.take_next(db, "b")
    assert freed is not None
    assert freed.id == 1


def test_a_decision_is_the_same_when_repeated_and_refused_when_contradicted(db: Database) -> None:
    first = review_queue.decide(db, 1, "rejected", "a", "Wrong.")
    assert review_queue.decide(db, 1, "rejected", "a", "Another reason") == first
    with pytest.raises(Conflict, match="rejected, by a"):
        review_queue.decide(db, 1, "approved", "b")
    with pytest.raises(Conflict, match="rejected, by a"):
        review_queue.edit(db, 1, "Question 1?", "Another.", "b")


def test_nobody_decides_on_what_another_is_looking_at(db: Database) -> None:
    review_queue.take_next(db, "a")
    with pytest.raises(Conflict, match="a is looking at pair 1"):
        review_queue.decide(db, 1, "approved", "b")
    with pytest.raises(Conflict, match="a is looking at pair 1"):
        review_queue.hold(db, 1, "b")


def test_an_edit_keeps_the_fact_and_the_correction_that_it_came_from(
    db: Database, domain: Domain
) -> None:
    pairs.add(db, domain, [Draft("How?", "So.", fact="how")], source="correction", author="ada")
    new = review_queue.edit(db, 4, "How then?", "Like this.", "a")
    assert (new.fact, new.status, new.author) == ("how", "approved", "ada")
    assert pairs.get(db, 4).review_reason == review_queue.REWORDED
    again = review_queue.edit(db, 4, "How then?", "Like this.", "a")
    assert again == new


def test_an_edit_that_changed_nothing_can_be_sent_again(db: Database) -> None:
    approved = review_queue.edit(db, 1, "Question 1?", "Answer 1.", "a")
    assert review_queue.edit(db, 1, "Question 1?", "Answer 1.", "a") == approved
    with pytest.raises(Conflict, match="approved, by a"):
        review_queue.edit(db, 1, "Question 1?", "Better.", "a")


def test_an_edit_of_an_answer_that_is_its_own_fact_makes_another_fact(db: Database) -> None:
    new = review_queue.edit(db, 1, "Question 1?", "Better.", "a")
    assert new.fact == pairs.fact_of("Better.")


def test_an_edit_of_case_and_spacing_alone_keeps_the_pair(db: Database) -> None:
    new = review_queue.edit(db, 1, "question 1?", "ANSWER 1.", "a")
    assert (new.id, new.prompt, new.response, new.status) == (
        1,
        "question 1?",
        "ANSWER 1.",
        "approved",
    )


def test_an_edit_into_words_that_are_there_already_approves_those(db: Database) -> None:
    new = review_queue.edit(db, 1, "Question 2?", "Answer 2.", "a")
    assert (new.id, new.status) == (2, "approved")
    assert pairs.get(db, 1).status == "rejected"


def test_an_edit_without_words_is_refused(db: Database) -> None:
    with pytest.raises(Invalid, match="the response is empty"):
        review_queue.edit(db, 1, "Question 1?", " ", "a")
    assert pairs.get(db, 1).status == "pending"


def test_what_waits_and_what_was_decided_is_counted(db: Database) -> None:
    review_queue.decide(db, 1, "approved", "a")
    review_queue.decide(db, 2, "rejected", "a")
    (waiting,) = review_queue.waiting(db)
    assert (waiting.domain, waiting.pending) == ("helpdesk", 1)
    assert review_queue.decided_since(db, 0) == {"approved": 1, "rejected": 1}
    assert review_queue.pending(db) == 1
