"""Edits of a pair, and decisions on many pairs at once."""

import pytest

from data import domains
from data.domains import Domain
from data.pairs import bulk_reviews, contamination, golden, pair_edits, pairs, review_queue
from data.pairs.pairs import Draft, Pair
from data.store import audit
from data.store.clock import now_us
from data.store.db import Store
from data.store.errors import Conflict, NotFound

ANN, BOB = "user:ann", "user:bob"


@pytest.fixture
def domain(store: Store) -> Domain:
    with store.write() as db:
        return domains.create(db, "helpdesk")


def add(store: Store, domain: Domain, *drafts: Draft, status: pairs.Status) -> list[int]:
    with store.write() as db:
        return pairs.add(db, domain, list(drafts), source="import", status=status).ids


def edit(store: Store, pair: Pair, editor: str = ANN, **change: str) -> Pair:
    given = {"prompt": pair.prompt, "response": pair.response, "status": pair.status}
    given |= {"fact": pair_edits.named_fact(pair)} | change
    with store.write() as db:
        return pair_edits.edit(db, pair.id, pair_edits.seen(pair), editor, **given)  # type: ignore[arg-type]


def statuses(store: Store, ids: list[int]) -> list[str]:
    return [pairs.get(store.db, number).status for number in ids]


def test_other_words_become_a_new_pair_with_the_same_status(store: Store, domain: Domain) -> None:
    (number,) = add(store, domain, Draft("A?", "1", fact="seats"), status="approved")
    old = pairs.get(store.db, number)

    new = edit(store, old, response="One.")

    assert (new.prompt, new.response, new.fact) == ("A?", "One.", "seats")
    assert new.status == "approved"
    assert pairs.get(store.db, number).status == "rejected"
    assert [e.action for e in audit.of_subject(store.db, f"pair {new.id}")] == ["edit"]
    assert audit.of_subject(store.db, f"pair {number}")[0].detail == {"pair": new.id}


def test_the_fact_and_the_status_change_in_place(store: Store, domain: Domain) -> None:
    (number,) = add(store, domain, Draft("A?", "1"), status="pending")
    pair = pairs.get(store.db, number)

    pair = edit(store, pair, fact="seats", status="approved")
    assert (pair.id, pair.fact, pair.status) == (number, "seats", "approved")
    pair = edit(store, pair, fact="", status="pending")
    assert (pair.id, pair.fact, pair.status) == (number, pairs.fact_of("1"), "pending")
    assert edit(store, pair) == pair
    assert len(audit.of_subject(store.db, f"pair {number}")) == 2


def test_the_second_of_two_editors_is_told_and_loses_nothing(store: Store, domain: Domain) -> None:
    (number,) = add(store, domain, Draft("A?", "1"), status="approved")
    pair = pairs.get(store.db, number)
    edit(store, pair, BOB, response="One.")

    with pytest.raises(Conflict, match="changed since you opened it: it is rejected now, by user"):
        edit(store, pair, ANN, response="Uno.")

    found = {p.response: p.status for p in pairs.list_pairs(store.db, domain)}
    assert found == {"1": "rejected", "One.": "approved"}


def test_an_edit_does_not_overtake_a_review_or_another_pair(store: Store, domain: Domain) -> None:
    first, second = add(store, domain, Draft("A?", "1"), Draft("A?", "2"), status="pending")
    with store.write() as db:
        review_queue.hold(db, first, BOB)
    with pytest.raises(Conflict, match="user:bob is looking"):
        edit(store, pairs.get(store.db, first), status="approved")
    with pytest.raises(Conflict, match=f"Pair {first} has these words already"):
        edit(store, pairs.get(store.db, second), response="1")
    assert statuses(store, [first, second]) == ["pending", "pending"]


def test_an_edit_cannot_teach_a_golden_question(store: Store, domain: Domain) -> None:
    (number,) = add(store, domain, Draft("A?", "1"), status="approved")
    with store.write() as db:
        golden.add(db, domain, "How many seats are there?", "42", ANN)
    with pytest.raises(contamination.Leak):
        edit(store, pairs.get(store.db, number), prompt="How many seats are there?")
    assert statuses(store, [number]) == ["approved"]


def test_many_pairs_are_decided_on_and_undone_together(store: Store, domain: Domain) -> None:
    drafts = [Draft(f"Question {n}?", f"{n}") for n in range(5)]
    ids = add(store, domain, *drafts[:3], status="pending")
    ids += add(store, domain, *drafts[3:4], status="approved")
    ids += add(store, domain, *drafts[4:], status="rejected")
    with store.write() as db:
        done = bulk_reviews.review(db, domain, ids, "rejected", ANN, as_of=now_us())
    assert (done.changed, done.same, done.left) == (4, 1, [])
    assert statuses(store, ids) == ["rejected"] * 5
    assert audit.of_subject(store.db, f"pair {ids[0]}")[0].detail["bulk"] == done.batch

    with store.write() as db:
        pairs_of = bulk_reviews.begin_undo(db, domain, done.batch)
        assert pairs_of == bulk_reviews.undo(db, domain, done.batch, ANN) == 4
        assert bulk_reviews.undo(db, domain, done.batch, ANN) == 0
    assert statuses(store, ids) == ["pending", "pending", "pending", "approved", "rejected"]
    with pytest.raises(Conflict, match="undone before"):
        bulk_reviews.begin_undo(store.db, domain, done.batch)
    with pytest.raises(NotFound):
        bulk_reviews.begin_undo(store.db, domain, 99)


def test_what_others_decide_or_look_at_meanwhile_is_left_alone(
    store: Store, domain: Domain
) -> None:
    drafts = [Draft(f"Question {n}?", f"{n}") for n in range(3)]
    ids = add(store, domain, *drafts, status="pending")
    shown = now_us()
    with store.write() as db:
        review_queue.decide(db, ids[0], "rejected", BOB)
        review_queue.hold(db, ids[1], BOB)
        done = bulk_reviews.review(db, domain, ids, "approved", ANN, as_of=shown)

    assert (done.changed, len(done.left)) == (1, 2)
    assert f"Pair {ids[0]} was rejected meanwhile, by user:bob." in done.left
    assert statuses(store, ids) == ["rejected", "pending", "approved"]
    with store.write() as db:
        review_queue.undo(db, ids[2], ANN)
        bulk_reviews.undo(db, domain, done.batch, ANN)
    assert statuses(store, ids) == ["rejected", "pending", "pending"]


def test_approving_many_leaves_golden_questions_out(store: Store, domain: Domain) -> None:
    with store.write() as db:
        golden.add(db, domain, "How many seats?", "Forty-two.", ANN)
        other = domains.create(db, "travel")
    ids = add(
        store, domain, Draft("How many seats?", "42"), Draft("Who pays?", "You"), status="pending"
    )
    with store.write() as db:
        done = bulk_reviews.review(db, domain, ids, "approved", ANN, as_of=now_us())
        elsewhere = bulk_reviews.review(db, other, ids, "rejected", ANN, as_of=now_us())
    assert statuses(store, ids) == ["pending", "approved"]
    assert done.left[0].startswith(f"Pair {ids[0]} cannot be approved.")
    assert elsewhere.changed == 0
