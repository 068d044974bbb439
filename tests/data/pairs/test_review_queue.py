"""The queue of pending pairs: leases, idempotent decisions, edits."""

import pytest
from sqlite_utils import Database

from data import domains
from data.domains import Domain
from data.feedback import feedback
from data.pairs import contamination, pairs, review_queue, review_status
from data.pairs.pairs import Draft, Turn
from data.store import audit
from data.store.clock import now_us
from data.store.db import Store, rows, value
from data.store.errors import Conflict, Invalid, NotFound
from tests.data import given


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


def test_a_pair_that_another_reviewer_holds_cannot_be_decided(db: Database) -> None:
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


def test_editing_an_answer_that_is_its_own_fact_changes_the_fact(db: Database) -> None:
    new = review_queue.edit(db, 1, "Question 1?", "Better.", "a")
    assert new.fact == pairs.fact_of("Better.")


def test_an_edit_of_case_and_spacing_is_an_edit(db: Database) -> None:
    new = review_queue.edit(db, 1, "question 1?", "ANSWER  1.", "a")
    assert (new.prompt, new.response, new.status) == ("question 1?", "ANSWER  1.", "approved")
    assert pairs.get(db, 1).status == "rejected"


def test_an_edit_of_the_white_space_around_the_words_keeps_the_pair(db: Database) -> None:
    new = review_queue.edit(db, 1, " Question 1?", "Answer 1.\n", "a")
    assert (new.id, new.status) == (1, "approved")


def test_words_that_are_stored_in_another_form_are_no_edit(db: Database, domain: Domain) -> None:
    """The pair was replaced by itself, and so rejected."""
    pairs.add(db, domain, [Draft("Who?", "A\nB \x1b[1m")], source="correction", author="ada")
    same = review_queue.edit(db, 4, "Who?", "A\r\nB \x1b[1m", "a")
    assert (same.id, same.status) == (4, "approved")


def test_an_edit_into_an_existing_pair_approves_that_pair(db: Database) -> None:
    new = review_queue.edit(db, 1, "Question 2?", "Answer 2.", "a")
    assert (new.id, new.status) == (2, "approved")
    assert pairs.get(db, 1).status == "rejected"


def test_an_edit_without_words_is_refused(db: Database) -> None:
    with pytest.raises(Invalid, match="the response is empty"):
        review_queue.edit(db, 1, "Question 1?", " ", "a")
    assert pairs.get(db, 1).status == "pending"


def test_pending_and_decided_pairs_are_counted(db: Database) -> None:
    review_queue.decide(db, 1, "approved", "a")
    review_queue.decide(db, 2, "rejected", "a")
    (waiting,) = review_queue.waiting(db)
    assert (waiting.domain, waiting.pending) == ("helpdesk", 1)
    assert review_queue.decided_since(db, 0) == {"approved": 1, "rejected": 1}
    assert review_queue.pending(db) == 1


# The order, and the leases


def taken(db: Database, who: str, domain: Domain | None = None, after: int = 0) -> int | None:
    pair = review_queue.take_next(db, who, domain, after)
    return pair.id if pair else None


def test_the_next_pair_comes_after_the_last_and_then_from_the_start(db: Database) -> None:
    assert [taken(db, "a", after=after) for after in (0, 1, 2, 3)] == [1, 2, 3, 1]


def test_a_reviewer_may_ask_for_the_pairs_of_one_domain(db: Database, domain: Domain) -> None:
    other = domains.create(db, "other")
    pairs.add(db, other, [Draft("Other?", "Other.")], source="correction")
    assert taken(db, "a", other) == 4
    assert taken(db, "b", other) is None
    assert taken(db, "c", domain) == 1
    assert [review_queue.pending(db, d) for d in (domain, other, None)] == [3, 1, 4]


def test_only_pending_pairs_wait(db: Database) -> None:
    review_queue.decide(db, 1, "approved", "a")
    review_queue.decide(db, 2, "rejected", "a")
    assert taken(db, "b") == 3


def test_a_lease_ends_after_ten_minutes(db: Database) -> None:
    before = now_us()
    assert taken(db, "a") == 1
    until = value(db, "SELECT until FROM review_leases")
    assert 0 <= until - before - 600 * 1_000_000 < 60 * 1_000_000
    db.execute("UPDATE review_leases SET until = ?", [now_us() - 1])
    assert taken(db, "b") == 1
    assert value(db, "SELECT reviewer FROM review_leases WHERE pair_id = 1") == "b"


def test_an_expired_lease_does_not_block_a_decision(db: Database) -> None:
    review_queue.take_next(db, "a")
    db.execute("UPDATE review_leases SET until = ?", [now_us() - 1])
    assert review_queue.decide(db, 1, "approved", "b").reviewed_by == "b"


def test_holding_a_pair_renews_its_lease(db: Database) -> None:
    review_queue.take_next(db, "a")
    db.execute("UPDATE review_leases SET until = ?", [now_us() + 1_000_000])
    assert review_queue.hold(db, 1, "a") == pairs.get(db, 1)
    assert value(db, "SELECT until FROM review_leases") > now_us() + 500 * 1_000_000


def test_a_reviewer_who_holds_one_pair_may_hold_another(db: Database) -> None:
    review_queue.hold(db, 1, "a")
    review_queue.hold(db, 2, "a")
    review_queue.hold(db, 3, "b")
    found = {r["pair_id"]: r["reviewer"] for r in rows(db, "SELECT * FROM review_leases")}
    assert found == {1: "a", 2: "a", 3: "b"}


def test_taking_the_next_pair_releases_only_the_reviewers_own_pairs(db: Database) -> None:
    review_queue.hold(db, 1, "a")
    review_queue.hold(db, 2, "b")
    assert taken(db, "a", after=1) == 3
    found = {r["pair_id"]: r["reviewer"] for r in rows(db, "SELECT * FROM review_leases")}
    assert found == {2: "b", 3: "a"}


def test_a_decided_pair_is_not_held(db: Database) -> None:
    review_queue.decide(db, 1, "approved", "a")
    with pytest.raises(Conflict, match="approved, by a"):
        review_queue.hold(db, 1, "b")


def test_a_conflict_about_an_unnamed_reviewer_says_somebody(db: Database, domain: Domain) -> None:
    [made] = given.approved(db, domain, Draft("Imported?", "Yes."))
    with pytest.raises(Conflict, match="approved, by somebody"):
        review_queue.hold(db, made, "b")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("replaced", "its author replaced it"),
        ("taken back", "its author took it back"),
        ("opted out", "its author opted out of learning"),
    ],
)
def test_a_pair_that_was_withdrawn_says_why(
    db: Database, reason: review_status.Reason, words: str
) -> None:
    review_status.withdraw(db, 1, reason)
    with pytest.raises(Conflict, match=f"[ :]{words}"):
        review_queue.decide(db, 1, "approved", "a")


def test_a_decision_ends_only_the_lease_of_its_pair(db: Database) -> None:
    review_queue.hold(db, 1, "a")
    review_queue.hold(db, 2, "b")
    review_queue.decide(db, 1, "approved", "a")
    assert [r["pair_id"] for r in rows(db, "SELECT pair_id FROM review_leases")] == [2]


# What is written down


def test_a_decision_is_recorded_with_its_reason(db: Database) -> None:
    review_queue.decide(db, 1, "rejected", "a", "  Wrong.  ")
    review_queue.decide(db, 2, "approved", "b", " ")
    assert pairs.get(db, 1).review_reason == "Wrong."
    found = [(e.actor, e.action, e.subject, e.detail) for e in audit.recent(db, 2)]
    assert found == [
        ("b", "review", "pair 2", {"status": "approved"}),
        ("a", "review", "pair 1", {"status": "rejected", "reason": "Wrong."}),
    ]


def test_a_reason_has_at_most_a_thousand_characters(db: Database) -> None:
    decided = review_queue.decide(db, 1, "rejected", "a", " " + "x" * 1_500)
    assert decided.review_reason == "x" * 1_000
    assert audit.recent(db, 1)[0].detail["reason"] == "x" * 1_000


def test_the_same_decision_of_another_reviewer_is_refused(db: Database) -> None:
    review_queue.decide(db, 1, "rejected", "a")
    with pytest.raises(Conflict, match="rejected, by a"):
        review_queue.decide(db, 1, "rejected", "b")


def test_an_edit_is_recorded_with_the_new_pair(db: Database) -> None:
    new = review_queue.edit(db, 1, "Question 1?", "Better.", "a")
    entry = audit.recent(db, 1)[0]
    assert (entry.actor, entry.action, entry.subject) == ("a", "review", "pair 1")
    assert entry.detail == {"status": "edited", "pair": new.id}
    old = pairs.get(db, 1)
    assert (old.status, old.reviewed_by, new.reviewed_by) == ("rejected", "a", "a")


def test_an_edit_keeps_all_but_the_words(db: Database, domain: Domain) -> None:
    draft = Draft(
        "And then?",
        "So.",
        system="Be brief.",
        turns=(Turn("user", "How?"), Turn("assistant", "So.")),
        fact="how",
        split="validation",
    )
    [made] = pairs.add(
        db, domain, [draft], source="correction", source_ref="reply-1", author="ada"
    ).ids
    new = review_queue.edit(db, made, "And after?", "Like this.", "a")
    assert (new.id, new.prompt, new.response) == (made + 1, "And after?", "Like this.")
    kept = ("system", "turns", "fact", "split", "source", "source_ref", "author", "domain_id")
    old = pairs.get(db, made)
    assert [getattr(new, name) for name in kept] == [getattr(old, name) for name in kept]


def test_an_edit_moves_feedback_and_people_and_ends_both_leases(
    db: Database, domain: Domain
) -> None:
    reply, other = given.reply(db, domain, "ann"), given.reply(db, domain, "ann")
    judged = feedback.correction(db, reply, "ann", "First words.")
    left = feedback.correction(db, other, "bob", "Other words.")
    assert judged.pair_id is not None
    for person, pair_id in (("ann", judged.pair_id), ("bob", left.pair_id)):
        db.execute("INSERT INTO pair_words (person, pair_id) VALUES (?, ?)", [person, pair_id])
    review_queue.hold(db, judged.pair_id, "a")
    review_queue.hold(db, 1, "b")
    new = review_queue.edit(db, judged.pair_id, "How?", "Better words.", "a")
    found = {r["reply_id"]: r["pair_id"] for r in rows(db, "SELECT * FROM feedback")}
    assert found == {reply: new.id, other: left.pair_id}
    people = "SELECT person FROM pair_words WHERE pair_id = ?"
    assert rows(db, people, [new.id]) == [{"person": "ann"}]
    assert [r["pair_id"] for r in rows(db, "SELECT pair_id FROM review_leases")] == [1]


def test_a_pair_that_another_reviewer_holds_cannot_be_edited(db: Database) -> None:
    review_queue.hold(db, 1, "a")
    with pytest.raises(Conflict, match="a is looking at pair 1"):
        review_queue.edit(db, 1, "Question 1?", "Better.", "b")
    assert pairs.get(db, 1).status == "pending"


def test_a_repeated_edit_into_other_words_is_refused(db: Database) -> None:
    review_queue.edit(db, 1, "Question 1?", "Better.", "a")
    with pytest.raises(Conflict, match="rejected, by a"):
        review_queue.edit(db, 1, "Question 1?", "Better still.", "a")
    with pytest.raises(Conflict, match="rejected, by a"):
        review_queue.edit(db, 1, "Question 1?", "Better.", "b")


def test_an_edit_of_somebody_elses_approved_pair_is_refused(db: Database) -> None:
    review_queue.decide(db, 1, "approved", "a")
    with pytest.raises(Conflict, match="approved, by a"):
        review_queue.edit(db, 1, "Question 1?", "Answer 1.", "b")


# What is counted


def test_the_longest_queue_comes_first(db: Database, domain: Domain) -> None:
    for name, count in (("brief", 1), ("equal", 3), ("long", 4)):
        made = [Draft(f"{name} {n}?", f"{name} {n}.") for n in range(count)]
        pairs.add(db, domains.create(db, name, title=name.upper()), made, source="correction")
    domains.create(db, "empty")
    review_queue.decide(db, 4, "approved", "a")
    found = review_queue.waiting(db)
    assert [(w.domain, w.pending) for w in found] == [("long", 4), ("helpdesk", 3), ("equal", 3)]
    assert found[0].title == "LONG"
    oldest = value(db, "SELECT min(created_at) FROM pairs WHERE domain_id = ?", [domain.id])
    db.execute("UPDATE pairs SET created_at = ? WHERE id = 3", [oldest - 7])
    assert review_queue.waiting(db)[1].oldest_at == oldest - 7


def test_only_decisions_of_people_since_then_are_counted(db: Database, domain: Domain) -> None:
    assert review_queue.decided_since(db, 0) == {"approved": 0, "rejected": 0}
    for pair_id, reason in enumerate(review_status.STORED, 1):
        review_status.withdraw(db, pair_id, reason)
    given.approved(db, domain, Draft("Imported?", "Yes."))
    assert review_queue.decided_since(db, 0) == {"approved": 0, "rejected": 0}
    for pair_id, at in ((1, 10), (2, 20), (3, 30)):
        db.execute(
            "UPDATE pairs SET reviewed_by = 'a', reviewed_at = ? WHERE id = ?", [at, pair_id]
        )
    assert review_queue.decided_since(db, 20) == {"approved": 0, "rejected": 2}


# The status


def test_a_status_is_given_to_one_pair_with_who_when_and_why(db: Database) -> None:
    before = now_us()
    given_status = review_status.set_status(db, 2, "rejected", "a", "Wrong.")
    assert given_status == pairs.get(db, 2)
    assert (given_status.status, given_status.reviewed_by) == ("rejected", "a")
    assert given_status.review_reason == "Wrong."
    assert value(db, "SELECT reviewed_at FROM pairs WHERE id = 2") >= before
    assert [pairs.get(db, n).status for n in (1, 3)] == ["pending", "pending"]
    again = review_status.set_status(db, 2, "quarantined", "b")
    assert (again.status, again.reviewed_by, again.review_reason) == ("quarantined", "b", "")


def test_a_pair_that_asks_a_golden_question_is_never_approved(db: Database, domain: Domain) -> None:
    given.approved(db, domain, Draft("Question 1?", "Golden.", split="golden"))
    with pytest.raises(contamination.Leak):
        review_status.set_status(db, 1, "approved", "a")
    assert pairs.get(db, 1).status == "pending"
    assert review_status.set_status(db, 1, "rejected", "a").status == "rejected"
    with pytest.raises(NotFound):
        review_status.set_status(db, 99, "rejected", "a")
