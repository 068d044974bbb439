"""Feedback: a person has one entry per kind, a correction becomes a pair, and history is kept."""

import pytest

from data import domains
from data.conversations import conversations
from data.domains import Domain
from data.experiments import experiments
from data.feedback import feedback
from data.pairs import pairs, review_status
from data.pairs.pairs import Draft
from data.store.db import Store, rows, value
from data.store.errors import Conflict, Forbidden, Invalid, NotFound
from tests.data import given

ANN, BOB = "slack:T1/UANN", "slack:T1/UBOB"


@pytest.fixture
def reply(store: Store, domain: Domain) -> str:
    with store.write() as db:
        return given.reply(db, domain, ANN, "How do I log in?", "With a key.")


def correct(store: Store, reply: str, text: str, person: str = ANN) -> pairs.Pair:
    with store.write() as db:
        rating = feedback.correction(db, reply, person, text)
    assert rating.pair_id is not None
    return pairs.get(store.db, rating.pair_id)


# Thumbs


def test_a_thumb_is_counted(store: Store, domain: Domain, reply: str) -> None:
    with store.write() as db:
        rating = feedback.thumb(db, reply, ANN, up=True)
    assert (rating.value, rating.person, rating.reply_id) == (1.0, ANN, reply)
    assert feedback.counts(store.db, domain.id) == {"up": 1, "down": 0, "corrections": 0}


def test_the_latest_thumb_counts_and_earlier_ones_stay_as_history(
    store: Store, domain: Domain, reply: str
) -> None:
    with store.write() as db:
        feedback.thumb(db, reply, ANN, up=True)
        feedback.thumb(db, reply, ANN, up=False)
    assert feedback.counts(store.db, domain.id) == {"up": 0, "down": 1, "corrections": 0}
    sql = "SELECT live, value, superseded_at IS NULL AS current FROM feedback ORDER BY id"
    assert rows(store.db, sql) == [
        {"live": 0, "value": 1.0, "current": 0},
        {"live": 1, "value": 0.0, "current": 1},
    ]


def test_the_same_thumb_again_changes_nothing(store: Store, reply: str) -> None:
    with store.write() as db:
        first = feedback.thumb(db, reply, ANN, up=True)
        assert feedback.thumb(db, reply, ANN, up=True) == first
    assert value(store.db, "SELECT count(*) FROM feedback") == 1


def test_every_person_has_their_own_rating(store: Store, domain: Domain, reply: str) -> None:
    with store.write() as db:
        feedback.thumb(db, reply, ANN, up=True)
        feedback.thumb(db, reply, BOB, up=False)
        feedback.withdraw(db, reply, BOB, "thumb")
        feedback.withdraw(db, reply, BOB, "thumb")
    assert feedback.counts(store.db, domain.id) == {"up": 1, "down": 0, "corrections": 0}


def test_totals_follow_a_replaced_rating(store: Store, domain: Domain) -> None:
    with store.write() as db:
        begun = experiments.start(db, domain, None, given.adapter(db, domain), "cli:ann")
        reply = given.reply(db, domain, ANN, variant=begun.variants[1])

        def ratings() -> tuple[int, int]:
            counted = given.counts(db, begun)[1]
            return counted.up, counted.down

        feedback.thumb(db, reply, ANN, up=True)
        assert ratings() == (1, 0)
        feedback.thumb(db, reply, ANN, up=False)
        assert ratings() == (0, 1)
        feedback.withdraw(db, reply, ANN, "thumb")
        assert ratings() == (0, 0)


def test_an_incomplete_answer_does_not_count_for_its_variant(store: Store, domain: Domain) -> None:
    with store.write() as db:
        begun = experiments.start(db, domain, None, given.adapter(db, domain), "cli:ann")
        broken = given.reply(db, domain, ANN, variant=begun.variants[1], status="partial")
        feedback.thumb(db, broken, ANN, up=False)
        feedback.thumb(db, broken, ANN, up=True)
        feedback.withdraw(db, broken, ANN, "thumb")
        feedback.thumb(db, broken, ANN, up=False)
        counted = given.counts(db, begun)[1]

    assert (counted.up, counted.down, counted.ratings) == (0, 0, ())
    assert feedback.counts(store.db, domain.id)["down"] == 1


@pytest.mark.parametrize("status", ["done", "partial", "cancelled"])
def test_an_answer_that_has_ended_can_be_rated(
    store: Store, domain: Domain, status: conversations.Status
) -> None:
    with store.write() as db:
        feedback.thumb(db, given.reply(db, domain, ANN, status=status), ANN, up=False)
    assert feedback.counts(store.db, domain.id)["down"] == 1


@pytest.mark.parametrize(
    ("status", "words"), [("failed", "failed on our side"), ("streaming", "still being written")]
)
def test_an_unfinished_or_failed_answer_cannot_be_rated(
    store: Store, domain: Domain, status: conversations.Status, words: str
) -> None:
    with pytest.raises(Conflict, match=words), store.write() as db:
        feedback.thumb(db, given.reply(db, domain, ANN, status=status), ANN, up=False)


def test_an_unknown_reply_is_reported(store: Store) -> None:
    with pytest.raises(NotFound, match="no reply 'nope'"), store.write() as db:
        feedback.thumb(db, "nope", ANN, up=True)


def test_require_asker_refuses_other_people(store: Store, reply: str) -> None:
    feedback.require_asker(store.db, reply, ANN)
    with pytest.raises(Forbidden, match="somebody else"):
        feedback.require_asker(store.db, reply, BOB)


# Reasons


def test_a_reason_is_one_short_text(store: Store, reply: str) -> None:
    with store.write() as db:
        feedback.reason(db, reply, ANN, " too long ")
        feedback.reason(db, reply, ANN, "wrong")
    rating = feedback.live(store.db, reply, ANN, "reason")
    assert rating is not None
    assert rating.text == "wrong"
    for text, words in (("  ", "is empty"), ("x" * 8_001, "8,001 characters")):
        with pytest.raises(Invalid, match=words), store.write() as db:
            feedback.reason(db, reply, ANN, text)


# Corrections


def test_a_correction_becomes_a_pending_pair_of_its_author(
    store: Store, domain: Domain, reply: str
) -> None:
    pair = correct(store, reply, " With your badge. ")
    assert (pair.prompt, pair.response) == ("How do I log in?", "With your badge.")
    assert (pair.status, pair.source, pair.source_ref, pair.author) == (
        "pending",
        "correction",
        reply,
        ANN,
    )
    assert feedback.counts(store.db, domain.id)["corrections"] == 1


def test_a_second_correction_replaces_the_first(store: Store, domain: Domain, reply: str) -> None:
    first, second = correct(store, reply, "With a badge."), correct(store, reply, "With a PIN.")
    assert pairs.get(store.db, first.id).status == "rejected"
    assert second.status == "pending"
    assert feedback.counts(store.db, domain.id)["corrections"] == 1


def test_returning_to_an_earlier_correction_makes_its_pair_pending_again(
    store: Store, reply: str
) -> None:
    first = correct(store, reply, "With a badge.")
    correct(store, reply, "With a PIN.")
    again = correct(store, reply, "With a badge.")
    assert (again.id, again.status) == (first.id, "pending")


def test_an_approved_correction_stays_when_its_author_replaces_it(store: Store, reply: str) -> None:
    first = correct(store, reply, "With a badge.")
    with store.write() as db:
        review_status.set_status(db, first.id, "approved", "cli:rita")
    correct(store, reply, "With a PIN.")
    assert pairs.get(store.db, first.id).status == "approved"


def test_a_reviewers_rejection_stands(store: Store, reply: str) -> None:
    first = correct(store, reply, "With a badge.")
    with store.write() as db:
        review_status.set_status(db, first.id, "rejected", "cli:rita")
    assert correct(store, reply, "With a badge.", BOB).status == "rejected"


def test_the_same_correction_by_two_people_is_one_pair_until_both_withdraw(
    store: Store, reply: str
) -> None:
    first = correct(store, reply, "With a badge.", ANN)
    assert correct(store, reply, "With a badge.", BOB).id == first.id
    correct(store, reply, "With a PIN.", ANN)
    assert pairs.get(store.db, first.id).status == "pending"
    with store.write() as db:
        feedback.withdraw(db, reply, BOB, "correction")
    assert pairs.get(store.db, first.id).status == "rejected"


def test_a_correction_that_exists_as_a_pair_refers_to_that_pair(
    store: Store, domain: Domain, reply: str
) -> None:
    with store.write() as db:
        (known,) = given.approved(db, domain, Draft("How do I log in?", "With a badge."))
    assert correct(store, reply, "With a badge.").id == known
    with store.write() as db:
        feedback.withdraw(db, reply, ANN, "correction")
    assert pairs.get(store.db, known).status == "approved"


def test_a_withdrawn_correction_is_not_reviewed(store: Store, domain: Domain, reply: str) -> None:
    pair = correct(store, reply, "With a badge.")
    with store.write() as db:
        feedback.withdraw(db, reply, ANN, "correction")
    assert pairs.get(store.db, pair.id).status == "rejected"
    assert feedback.counts(store.db, domain.id)["corrections"] == 0
    assert feedback.live(store.db, reply, ANN, "correction") is None


def test_a_correction_is_always_for_training(store: Store, domain: Domain, reply: str) -> None:
    with store.write() as db:
        pair_id = feedback.correction(db, reply, "web:me", "The better answer.").pair_id

    assert pair_id is not None
    assert pairs.get(store.db, pair_id).split == "train"


def test_a_correction_shares_the_fact_of_its_question(
    store: Store, domain: Domain, reply: str
) -> None:
    question, _ = conversations.exchange(store.db, reply)
    known = pairs.Draft(prompt=question.upper(), response="The old answer.", fact="opening-hours")
    with store.write() as db:
        pairs.add(db, domain, [known], source="import", status="approved")
        pair_id = feedback.correction(db, reply, "web:me", "The better answer.").pair_id

    assert pair_id is not None
    assert pairs.get(store.db, pair_id).fact == "opening-hours"


def test_the_corrections_of_a_pair_are_found_by_index(
    store: Store,
) -> None:
    for sql in (
        "SELECT count(*) FROM feedback WHERE pair_id = ? AND live = 1 AND id <> 1",
        "UPDATE feedback SET text = '' WHERE pair_id = ?",
    ):
        [how] = rows(store.db, f"EXPLAIN QUERY PLAN {sql}", [1])
        assert "feedback_by_pair (pair_id=?)" in how["detail"]


# Learning from corrections


def stored(store: Store, reply: str, person: str = ANN) -> feedback.Rating:
    rating = feedback.live(store.db, reply, person, "correction")
    assert rating is not None
    return rating


def test_a_correction_that_is_not_to_be_learned_is_kept_without_a_pair(
    store: Store, domain: Domain, reply: str
) -> None:
    with store.write() as db:
        first = feedback.correction(db, reply, ANN, "With a badge.", learn=False)
        assert feedback.correction(db, reply, ANN, "With a badge.", learn=False) == first
    assert (first.kind, first.text, first.person, first.pair_id) == (
        "correction",
        "With a badge.",
        ANN,
        None,
    )
    assert stored(store, reply) == first
    assert value(store.db, "SELECT count(*) FROM pairs") == 0


def test_an_author_may_change_their_mind_about_learning(store: Store, reply: str) -> None:
    with store.write() as db:
        first = feedback.correction(db, reply, ANN, "With a badge.")
        assert first.pair_id is not None
        feedback.correction(db, reply, ANN, "With a badge.", learn=False)
        pair = pairs.get(db, first.pair_id)
        assert (pair.status, review_status.review_of(pair).reason) == ("rejected", "taken back")
        assert stored(store, reply).pair_id is None
        again = feedback.correction(db, reply, ANN, "With a badge.")
        assert again.pair_id == first.pair_id
        assert pairs.get(db, first.pair_id).status == "pending"
        feedback.correction(db, reply, ANN, "With a card.")
        pair = pairs.get(db, first.pair_id)
        assert (pair.status, review_status.review_of(pair).reason) == ("rejected", "replaced")
    assert value(store.db, "SELECT count(*) FROM feedback WHERE live = 1") == 1


@pytest.mark.parametrize("who", [ANN, BOB], ids=["who asked", "the author"])
def test_who_opted_out_is_not_learned_from(store: Store, reply: str, who: str) -> None:
    with store.write() as db:
        db.execute("INSERT INTO opt_outs (person, at) VALUES (?, 0)", [who])
        assert feedback.correction(db, reply, BOB, "With a badge.").pair_id is None


def test_a_withdrawn_correction_is_taken_back(store: Store, reply: str) -> None:
    pair = correct(store, reply, "With a badge.")
    with store.write() as db:
        feedback.withdraw(db, reply, ANN, "correction")
        assert review_status.review_of(pairs.get(db, pair.id)).reason == "taken back"


# What belongs to whom


def test_feedback_is_that_of_one_reply_and_kind(store: Store, domain: Domain, reply: str) -> None:
    with store.write() as db:
        other = given.reply(db, domain, ANN)
        up, down = feedback.thumb(db, reply, ANN, up=True), feedback.thumb(db, other, ANN, up=False)
        helped = feedback.follow_up(db, reply, ANN, helped=False)
        assert feedback.live(db, reply, ANN, "thumb") == up
        assert feedback.live(db, other, ANN, "thumb") == down
        assert feedback.live(db, reply, ANN, "follow_up") == helped
        assert feedback.live(db, other, ANN, "follow_up") is None
    assert (up.value, down.value, helped.value) == (1.0, 0.0, 0.0)
    assert (up.text, up.pair_id, up.over_cap) == ("", None, False)


def test_a_domain_counts_the_feedback_on_its_own_answers(
    store: Store, domain: Domain, reply: str
) -> None:
    with store.write() as db:
        other = domains.create(db, "other")
        elsewhere = given.reply(db, other, ANN)
        feedback.thumb(db, reply, ANN, up=True)
        feedback.thumb(db, reply, BOB, up=False)
        feedback.thumb(db, elsewhere, ANN, up=False)
        feedback.correction(db, elsewhere, ANN, "Otherwise.")
    assert feedback.counts(store.db, domain.id) == {"up": 1, "down": 1, "corrections": 0}
    assert feedback.counts(store.db, other.id) == {"up": 0, "down": 1, "corrections": 1}


def test_the_thumbs_of_a_rater_are_tallied(store: Store, domain: Domain, reply: str) -> None:
    with store.write() as db:
        feedback.thumb(db, reply, BOB, up=True)
        feedback.thumb(db, given.reply(db, domain, ANN), BOB, up=False)
        feedback.thumb(db, given.reply(db, domain, ANN), BOB, up=False)
        feedback.follow_up(db, reply, BOB, helped=True)
        feedback.reason(db, reply, BOB, "Good.")
    assert rows(store.db, "SELECT person, up, down FROM tallies") == [
        {"person": BOB, "up": 1, "down": 2}
    ]


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
def test_text_that_cannot_be_stored_is_refused(store: Store, reply: str, text: str) -> None:
    with pytest.raises(Invalid, match="not valid Unicode"), store.write() as db:
        feedback.reason(db, reply, ANN, text)


def test_eight_thousand_characters_fit(store: Store, reply: str) -> None:
    with store.write() as db:
        assert feedback.reason(db, reply, ANN, " " + "x" * 8_000).text == "x" * 8_000
