"""Who or what gave a pair its status: a person, or a reason without a review."""

from typing import get_args

import pytest

from data import domains
from data.domains import Domain
from data.pairs import pairs, review_queue, review_status
from data.pairs.pairs import Draft
from data.pairs.review_status import STORED, Reason, ReviewedBy, decode
from data.store.clock import now_us
from data.store.db import Store, rows
from data.store.errors import Conflict
from tests.data import given

RITA = "slack:T1/URITA"
REASONS: tuple[Reason, ...] = get_args(Reason)


def pending(store: Store, domain: Domain) -> int:
    with store.write() as db:
        (pair_id,) = pairs.add(db, domain, [Draft("How?", "So.")], source="teach").ids
    return pair_id


@pytest.mark.parametrize(
    "by", [ReviewedBy(), ReviewedBy(RITA), *(ReviewedBy(reason=reason) for reason in REASONS)]
)
def test_what_is_stored_is_read_back(by: ReviewedBy) -> None:
    assert decode(by.stored) == by


def test_every_reason_is_stored_as_it_was_in_earlier_versions() -> None:
    assert STORED == {
        "replaced": "superseded by its author",
        "taken back": "withdrawn by its author",
        "opted out": "withdrawn, as its author opted out of learning",
        "import undone": "withdrawn with its import",
    }
    assert tuple(STORED) == REASONS
    assert review_queue.WITHDRAWN.keys() == STORED.keys()


@pytest.mark.parametrize("reason", REASONS)
def test_a_withdrawn_pair_was_reviewed_by_nobody(
    store: Store, domain: Domain, reason: Reason
) -> None:
    pair_id = pending(store, domain)
    with store.write() as db:
        review_status.withdraw(db, pair_id, reason)
        assert review_status.review_of(pairs.get(db, pair_id)) == ReviewedBy(reason=reason)
        assert review_queue.decided_since(db, 0) == {"approved": 0, "rejected": 0}
        with pytest.raises(Conflict, match=f"was withdrawn: {review_queue.WITHDRAWN[reason]}"):
            review_queue.decide(db, pair_id, "approved", RITA)
        waiting = review_status.reopen_if_withdrawn(db, domain.id, Draft("How?", "So."))
        assert waiting is not None
        assert (waiting.id, waiting.status) == (pair_id, "pending")
        assert review_status.review_of(waiting) == ReviewedBy()


def test_a_pair_that_a_person_rejected_stays_rejected(store: Store, domain: Domain) -> None:
    pair_id = pending(store, domain)
    with store.write() as db:
        review_status.set_status(db, pair_id, "rejected", RITA, "Wrong.")
        assert review_status.review_of(pairs.get(db, pair_id)) == ReviewedBy(RITA)
        assert review_queue.decided_since(db, 0) == {"approved": 0, "rejected": 1}
        known = review_status.reopen_if_withdrawn(db, domain.id, Draft("How?", "So."))
        assert known is not None
        assert known.status == "rejected"
        assert review_status.reopen_if_withdrawn(db, domain.id, Draft("How?", "Otherwise.")) is None


NOBODY = "forgotten:1"


def test_the_reasons_of_an_erased_reviewer_go_and_others_stay(store: Store, domain: Domain) -> None:
    pair_id = pending(store, domain)
    with store.write() as db:
        review_status.set_status(db, pair_id, "rejected", RITA, "Wrong.")
        assert review_status.forget_reviewer(db, "slack:T1/UADA", NOBODY, 9) == 0
        assert pairs.get(db, pair_id).review_reason == "Wrong."
        assert review_status.forget_reviewer(db, RITA, NOBODY, 9) == 1
        assert pairs.get(db, pair_id).review_reason == ""


def test_an_erasure_keeps_the_review_itself(store: Store, domain: Domain) -> None:
    first, second = pending(store, domain), 0
    with store.write() as db:
        (second,) = pairs.add(db, domain, [Draft("Why?", "So.")], source="teach").ids
        review_status.set_status(db, first, "rejected", RITA, "Wrong.")
        review_status.set_status(db, second, "rejected", "slack:T1/UADA", "Wrong too.")
        review_status.forget_reviewer(db, RITA, NOBODY, 9)
        kept = [pairs.get(db, pair_id) for pair_id in (first, second)]
    assert [(p.status, p.reviewed_by, p.review_reason) for p in kept] == [
        ("rejected", NOBODY, ""),
        ("rejected", "slack:T1/UADA", "Wrong too."),
    ]


def test_all_waiting_pairs_with_words_of_a_person_are_withdrawn_and_no_others(
    store: Store, domain: Domain
) -> None:
    ada, bob = "slack:T1/UADA", "slack:T1/UBOB"
    before = now_us()
    with store.write() as db:
        asked = given.reply(db, domain, ada)
        others = given.reply(db, domain, bob)

        def add(prompt: str, **more: str) -> int:
            return pairs.add(db, domain, [Draft(prompt, "So.")], source="teach", **more).ids[0]

        written, answered, held = add("1", author=ada), add("2", source_ref=asked), add("3")
        unrelated = [add("4", author=bob), add("5", source_ref=others), add("6")]
        for pair_id, person in ((held, ada), (unrelated[2], bob)):
            db.execute("INSERT INTO pair_words (person, pair_id) VALUES (?, ?)", [person, pair_id])
        approved = add("7", author=ada)
        review_status.set_status(db, approved, "approved", RITA)
        assert review_status.withdraw_pending(db, ada, "opted out") == 3
        assert review_status.withdraw_pending(db, ada, "opted out") == 0
        for pair_id in (written, answered, held):
            pair = pairs.get(db, pair_id)
            assert pair.status == "rejected"
            assert review_status.review_of(pair) == ReviewedBy(reason="opted out")
        assert {pairs.get(db, pair_id).status for pair_id in unrelated} == {"pending"}
        assert pairs.get(db, approved).reviewed_by == RITA
        at = rows(db, "SELECT reviewed_at FROM pairs WHERE id = ?", [written])[0]["reviewed_at"]
    assert before <= at <= now_us()


def test_a_pair_of_another_domain_is_not_reopened(store: Store, domain: Domain) -> None:
    pair_id = pending(store, domain)
    with store.write() as db:
        review_status.withdraw(db, pair_id, "replaced")
        other = domains.create(db, "other")
        assert review_status.reopen_if_withdrawn(db, other.id, Draft("How?", "So.")) is None
        assert pairs.get(db, pair_id).status == "rejected"
