"""A person's data: the summary, export, opt-out, and the status of contributions."""

import orjson
import pytest

from data import domains
from data.adapters import registry
from data.conversations import conversations
from data.domains import Domain
from data.experiments import assignments, experiments
from data.feedback import feedback
from data.pairs import datasets, pairs, review_status
from data.pairs.pairs import Draft
from data.people import consent
from data.privacy import contributions, opt_out, personal_data
from data.slack import question_queue
from data.store.db import Store
from data.store.errors import Invalid
from tests.data import given

ANN, BOB = "slack:T1/UANN", "slack:T1/UBOB"


@pytest.fixture
def reply(store: Store, domain: Domain) -> str:
    with store.write() as db:
        return given.reply(db, domain, ANN, "How do I log in?", "With a key.")


def correct(store: Store, reply: str, text: str, person: str = ANN, learn: bool = True) -> int:
    """The pair that a correction became, 0 for none."""
    with store.write() as db:
        return feedback.correction(db, reply, person, text, learn).pair_id or 0


def contribution(store: Store, person: str = ANN) -> contributions.Contribution:
    (found,) = contributions.contributions_of(store.db, person)
    return found


# What became of it


def test_from_a_correction_to_the_adapter_that_has_it(
    store: Store, domain: Domain, reply: str
) -> None:
    pair_id = correct(store, reply, "With a badge.")
    found = contribution(store)
    assert (found.question, found.answer) == ("How do I log in?", "With a badge.")
    assert (found.stage, found.sentence) == ("pending", "is waiting for review")

    with store.write() as db:
        review_status.set_status(db, pair_id, "approved", "cli:root")
    assert contribution(store).sentence == "is approved; the next retrain will learn it"

    with store.write() as db:
        dataset = datasets.freeze(db, domain)
        made = given.adapter(db, domain, dataset_id=dataset.id)
    assert contribution(store).sentence == "was learned by helpdesk@1, which is a candidate"

    with store.write() as db:
        registry.promote(db, made, "cli:root")
    assert contribution(store).sentence == "was learned by helpdesk@1, which is live now"

    with store.write() as db:
        given.adapter(db, domain, "rejected", dataset_id=dataset.id)
        registry.promote(db, given.adapter(db, domain), "cli:root")
    assert contribution(store).sentence == "was learned by helpdesk@1, which is retired"


@pytest.mark.parametrize(
    ("status", "reason", "sentence"),
    [
        ("rejected", "out of date", "was rejected: out of date"),
        ("rejected", "", "was rejected by a reviewer"),
        ("quarantined", "", "was quarantined for a closer look"),
    ],
)
def test_the_status_shows_the_reviewers_decision(
    store: Store, reply: str, status: pairs.Status, reason: str, sentence: str
) -> None:
    pair_id = correct(store, reply, "With a badge.")
    with store.write() as db:
        review_status.set_status(db, pair_id, status, "cli:root")
        db.execute("UPDATE pairs SET review_reason = ?", [reason])
    assert contribution(store).sentence == sentence


def test_the_status_shows_the_authors_changes(store: Store, reply: str) -> None:
    correct(store, reply, "With a badge.")
    correct(store, reply, "With a PIN.")
    newest, older = contributions.contributions_of(store.db, ANN)
    assert (newest.stage, older.sentence) == ("pending", "was replaced by your newer one")
    with store.write() as db:
        feedback.withdraw(db, reply, ANN, "correction")
    assert contributions.contributions_of(store.db, ANN)[0].sentence == "was withdrawn by you"


def test_a_golden_question_is_measured_and_not_learned(store: Store, domain: Domain) -> None:
    with store.write() as db:
        draft = Draft("Who?", "Me.", split="golden")
        pairs.add(db, domain, [draft], source="teach", author=ANN, status="approved")
        given.approved(db, domain, Draft("What?", "That."))
        given.adapter(db, domain, dataset_id=datasets.freeze(db, domain).id)
    assert contribution(store).sentence == "is used to evaluate helpdesk@1"


def test_a_second_author_of_the_same_pair_sees_its_status(store: Store, reply: str) -> None:
    pair_id = correct(store, reply, "With a badge.")
    assert correct(store, reply, " With a badge. ", BOB) == pair_id
    assert contribution(store, BOB).pair_id == contribution(store, ANN).pair_id == pair_id


def test_the_newest_come_first_and_no_more_than_asked_for(store: Store, domain: Domain) -> None:
    with store.write() as db:
        for number in range(5):
            draft = Draft(f"Number {number}?", f"It is {number}.")
            pairs.add(db, domain, [draft], source="teach", author=ANN)
    assert [f.question for f in contributions.contributions_of(store.db, ANN, 2)] == [
        "Number 4?",
        "Number 3?",
    ]
    assert len(contributions.contributions_of(store.db, ANN, -1)) == 5


# Learning


def test_without_consent_a_correction_makes_no_pair(
    store: Store, domain: Domain, reply: str
) -> None:
    assert correct(store, reply, "With a badge.", learn=False) == 0
    assert pairs.list_pairs(store.db, domain) == []
    expected = "is kept as feedback only; the bot does not learn from it"
    assert contribution(store).sentence == expected


def test_consent_can_be_given_and_taken_back_later(store: Store, reply: str) -> None:
    correct(store, reply, "With a badge.", learn=False)
    pair_id = correct(store, reply, "With a badge.")
    assert pairs.get(store.db, pair_id).status == "pending"
    correct(store, reply, "With a badge.", learn=False)
    assert pairs.get(store.db, pair_id).status == "rejected"
    assert correct(store, reply, "With a badge.") == pair_id
    assert pairs.get(store.db, pair_id).status == "pending"


def test_a_person_who_opted_out_creates_no_pair(store: Store, domain: Domain, reply: str) -> None:
    with store.write() as db:
        assert opt_out.opt_out(db, ANN) == 0
    assert not consent.may_learn(store.db, BOB, ANN)
    assert correct(store, reply, "With a badge.") == 0
    assert correct(store, reply, "With a PIN.", BOB) == 0, "the question is Ann's"
    with store.write() as db:
        his = given.reply(db, domain, BOB, "And the cellar?")
    assert correct(store, his, "Below.", BOB) > 0


def test_opting_out_withdraws_pending_pairs_and_keeps_approved_ones(
    store: Store, domain: Domain, reply: str
) -> None:
    with store.write() as db:
        his = given.reply(db, domain, BOB, "And the cellar?")
    approved, waiting = correct(store, his, "Below."), correct(store, reply, "With a badge.")
    others = correct(store, reply, "With a PIN.", BOB)
    with store.write() as db:
        review_status.set_status(db, approved, "approved", "cli:root")
        assert opt_out.opt_out(db, ANN) == 2
        assert opt_out.opt_out(db, ANN) == 0
    status = {n: pairs.get(store.db, n).status for n in (approved, waiting, others)}
    assert status == {approved: "approved", waiting: "rejected", others: "rejected"}
    assert "was withdrawn by you" in {
        f.sentence for f in contributions.contributions_of(store.db, ANN)
    }


def test_after_opting_in_again_the_same_answer_becomes_pending(store: Store, reply: str) -> None:
    pair_id = correct(store, reply, "With a badge.")
    with store.write() as db:
        opt_out.opt_out(db, ANN)
        opt_out.opt_in(db, ANN)
        feedback.withdraw(db, reply, ANN, "correction")
    assert correct(store, reply, "With a badge.") == pair_id
    assert pairs.get(store.db, pair_id).status == "pending"


# See and export


def test_the_summary_of_a_person(store: Store, domain: Domain, reply: str) -> None:
    correct(store, reply, "With a badge.")
    with store.write() as db:
        feedback.thumb(db, reply, ANN, up=False)
        feedback.reason(db, reply, ANN, "old")
        domains.choose(db, domain, ANN)
    seen = personal_data.summarise(store.db, ANN)
    assert (seen.questions, seen.thumbs, seen.reasons, seen.corrections) == (1, 1, 1, 1)
    assert seen.pairs == {"pending": 1, "approved": 0, "rejected": 0, "quarantined": 0}
    assert (seen.learning, seen.domain) == (True, "helpdesk")
    assert seen.since == conversations.reply(store.db, reply).created_at


def test_the_summary_of_an_unknown_person_is_all_zeros(store: Store, domain: Domain) -> None:
    seen = personal_data.summarise(store.db, BOB)
    assert (seen.questions, seen.thumbs, seen.since, seen.domain) == (0, 0, None, None)


def test_an_export_has_all_words_of_the_person_and_of_nobody_else(
    store: Store, domain: Domain, reply: str
) -> None:
    with store.write() as db:
        begun = experiments.start(db, domain, None, given.adapter(db, domain), "cli:root")
        assignments.expose(db, begun.id, ANN, begun.variants[0].id)
        feedback.thumb(db, reply, ANN, up=False)
        feedback.correction(db, reply, ANN, "With a badge.")
        given.reply(db, domain, BOB, "Bob's question", "Bob's answer")
        turn = {"team": "T1", "channel": "C1", "ts": "1.0", "thread_ts": "1.0"}
        question_queue.add(db, **turn, user="UANN", text="still waiting")
    found = personal_data.export(store.db, ANN)
    text = orjson.dumps(found).decode()
    assert "Bob's" not in text
    (conversation,) = found["conversations"]
    assert [(m["role"], m["text"]) for m in conversation["messages"]] == [
        ("user", "How do I log in?"),
        ("assistant", "With a key."),
    ]
    assert [m["adapter"] for m in conversation["messages"]] == ["base", "base"]
    assert [(f["kind"], f["value"], f["text"]) for f in found["feedback"]] == [
        ("thumb", 0.0, ""),
        ("correction", None, "With a badge."),
    ]
    (pair,) = found["pairs"]
    assert (pair["response"], pair["became"]) == ("With a badge.", "is waiting for review")
    assert [q["text"] for q in found["waiting"]] == ["still waiting"]
    assert found["comparisons"][0]["variant"] == "A"
    assert found["learning"] is True


@pytest.mark.parametrize("name", ["", "ann", "slack:", "fax:1", "slack:T1/\nU1", "web:\x00"])
def test_invalid_names_of_people_are_refused(name: str) -> None:
    with pytest.raises(Invalid, match="is not the id of a person"):
        consent.check(name)


def test_people_of_every_front_end_have_names() -> None:
    for name in ("slack:T1/U2", "http:3/ann@example.org", "http:3", "web:0a1b", "cli:root"):
        assert consent.check(name) == name
    assert consent.check(" user:Ann@Example.org\n") == "user:ann@example.org"
