"""Contact data and secrets in pairs that wait for review."""

import asyncio

import pytest

from data import domains
from data.domains import Domain
from data.feedback import feedback, suggestions
from data.feedback.suggestions import SuggestedPair
from data.pairs import masked_words, pairs, review_queue
from data.pairs.pairs import Draft, Pair, Turn
from data.privacy import erasure
from data.quality import private_words
from data.store import audit
from data.store.db import Store, rows
from data.store.errors import Conflict
from tests.data import given

TEXT = "Call me on 0171 2345678 or write to ann@example.com; the password is hunter22."
MASKED = "Call me on [phone number] or write to [e-mail address]; the password is [secret]."


def correct(store: Store, domain: Domain, text: str, person: str = "slack:T1/U1") -> Pair:
    with store.write() as db:
        reply_id = given.reply(db, domain, person, question="Whom do I ask?")
        rating = feedback.correction(db, reply_id, person, text)
        assert rating.pair_id is not None
        return pairs.get(db, rating.pair_id)


def test_a_correction_is_masked_and_says_what_and_where(store: Store, domain: Domain) -> None:
    pair = correct(store, domain, TEXT)
    assert pair.response == MASKED
    found = masked_words.of_pair(store.db, pair.id)
    assert private_words.sentence(found) == (
        "Masked: phone number in the answer, e-mail address in the answer, secret in the answer."
    )


def test_a_taught_pair_is_masked_in_every_part(store: Store, domain: Domain) -> None:
    turns = (Turn("user", "I am ann@example.com."), Turn("assistant", "Hello."))
    suggestion = SuggestedPair("Is 0171 2345678 mine? Call 0171 2345678!", "Yes.", turns)
    with store.write() as db:
        pair = suggestions.teach(db, domain, "slack:T1/U1", suggestion).pair
    assert pair.turns[0].content == "I am [e-mail address]."
    assert "0171" not in pair.prompt.partition("Call")[2]


def test_a_reviewer_gets_the_words_on_request(store: Store, domain: Domain) -> None:
    pair = correct(store, domain, TEXT)
    with store.write() as db:
        shown = private_words.reveal(db, pair.id, "slack:T1/U9")
    assert shown.response == TEXT
    assert masked_words.of_pair(store.db, pair.id) == []
    (entry,) = audit.recent(store.db, 1)
    assert (entry.actor, entry.action) == ("slack:T1/U9", "pairs show-masked")
    assert "hunter22" not in str(entry.detail)
    with store.write() as db, pytest.raises(Conflict, match="no masked words"):
        private_words.reveal(db, pair.id, "slack:T1/U9")


@pytest.mark.parametrize("status", ["approved", "rejected"])
def test_a_decision_deletes_the_words(store: Store, domain: Domain, status: pairs.Status) -> None:
    pair = correct(store, domain, TEXT)
    with store.write() as db:
        review_queue.decide(db, pair.id, status, "slack:T1/U9")
    assert rows(store.db, "SELECT * FROM masked_words") == []
    with store.write() as db, pytest.raises(Conflict):
        private_words.reveal(db, pair.id, "slack:T1/U9")


def test_what_approved_pairs_say_is_not_masked(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.approved(db, domain, Draft("Whom do I call?", "Call 0171-234 5678 and wait."))
    assert correct(store, domain, "Just call 0171 2345678.").response == "Just call 0171 2345678."


def test_what_the_system_prompt_says_is_not_masked(store: Store, domain: Domain) -> None:
    with store.write() as db:
        domains.set_system_prompt(db, domain, "You answer for the desk, help@example.com.")
    subject = domains.by_id(store.db, domain.id)
    assert correct(store, subject, "Ask Help@example.com.").response == "Ask Help@example.com."
    assert correct(store, subject, "Ask ann@example.com.").response == "Ask [e-mail address]."


def test_what_the_allow_list_says_is_not_masked(store: Store, domain: Domain) -> None:
    with store.write() as db:
        private_words.allow(db, domain, "0171 2345678", "cli:ann")
    assert private_words.allow_list(store.db, domain) == ["0171 2345678"]
    assert correct(store, domain, "Just call 0171/234-5678.").response == "Just call 0171/234-5678."


def test_two_numbers_that_are_masked_alike_stay_two_pairs(store: Store, domain: Domain) -> None:
    one = correct(store, domain, "Just call 0171 2345678.")
    other = correct(store, domain, "Just call 0171 8765432.", "slack:T1/U2")
    assert one.response == "Just call [phone number]."
    assert other.response == "Just call [phone number 2]."
    with store.write() as db:
        assert private_words.reveal(db, other.id, "x").response == "Just call 0171 8765432."
        assert private_words.reveal(db, one.id, "x").response == "Just call 0171 2345678."


def test_a_repeated_correction_is_one_pair(store: Store, domain: Domain) -> None:
    one = correct(store, domain, TEXT)
    assert correct(store, domain, TEXT, "slack:T1/U2").id == one.id


def test_the_words_are_erased_with_the_person(store: Store, domain: Domain) -> None:
    pair = correct(store, domain, TEXT)
    with store.write() as db:
        db.execute("INSERT INTO datasets (domain_id, sha256, train, validation, probe, golden, "
                   "created_at) VALUES (?, 'x', 1, 0, 0, 0, 0)", [domain.id])  # fmt: skip
        db.execute("INSERT INTO dataset_pairs VALUES (1, ?, 'train')", [pair.id])
    asyncio.run(erasure.erase_person(store, store.path.parent, "slack:T1/U1", "cli:ann"))
    assert rows(store.db, "SELECT * FROM masked_words") == []
