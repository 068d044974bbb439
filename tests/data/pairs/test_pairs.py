"""Pairs: equal words are one pair, and only approved pairs are learned."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import domains
from data.domains import Domain
from data.pairs import datasets, pairs, review_status
from data.pairs.pairs import Draft, Turn
from data.store.db import Store
from data.store.errors import Invalid, NotFound
from tests.data import given as made


def test_a_pair_is_kept_as_it_was_given(store: Store, domain: Domain) -> None:
    draft = Draft("  How?\n", " Like  this. ", "Be kind. ", (Turn("user", "Hi"),), "f", "golden")
    with store.write() as db:
        (pair_id,) = pairs.add(
            db, domain, [draft], source="teach", source_ref="C1/1", author="slack:T1/U1"
        ).ids
    pair = pairs.get(store.db, pair_id)
    assert (pair.prompt, pair.response, pair.system) == ("How?", "Like  this.", "Be kind.")
    assert (pair.turns, pair.fact, pair.split) == ((Turn("user", "Hi"),), "f", "golden")
    assert (pair.source, pair.source_ref, pair.author) == ("teach", "C1/1", "slack:T1/U1")
    assert pair.status == "pending"


@pytest.mark.parametrize(
    "other",
    [
        Draft("What is it? ", "\n  A thing.\n"),
        Draft("What is it?", "A thing.", fact="another", split="golden"),
    ],
)
def test_white_space_around_the_words_does_not_make_a_second_pair(
    store: Store, domain: Domain, other: Draft
) -> None:
    with store.write() as db:
        first = pairs.add(db, domain, [Draft("What is it?", "A thing.")], source="import")
        second = pairs.add(db, domain, [other, other], source="import")
    assert len(first.ids) == 1
    assert (second.ids, second.duplicates) == ([], 2)


@pytest.mark.parametrize(
    "other",
    [
        Draft("What is it?", "Another thing."),
        Draft("What is IT?", "A thing."),
        Draft("What is it?", "a thing."),
        Draft("What is it?", "A  thing."),
        Draft("What is it?", "A thing\u00b2."),
        Draft("What is that?", "A thing."),
        Draft("What is it?", "A thing.", system="Be brief."),
        Draft("What is it?", "A thing.", turns=(Turn("user", "Hi"),)),
    ],
)
def test_other_words_are_another_pair(store: Store, domain: Domain, other: Draft) -> None:
    with store.write() as db:
        pairs.add(db, domain, [Draft("What is it?", "A thing.")], source="import")
        assert len(pairs.add(db, domain, [other], source="import").ids) == 1


def test_another_domain_may_have_the_same_pair(store: Store, domain: Domain) -> None:
    with store.write() as db:
        other = domains.create(db, "hr")
        for subject in (domain, other):
            assert len(made.approved(db, subject, Draft("a", "b"))) == 1


@given(st.text(max_size=60))
def test_unicode_forms_are_compared_as_one(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert pairs.normalise(unicodedata.normalize(form, text)) == pairs.normalise(text) or any(
            unicodedata.normalize("NFKC", char.casefold()) != char.casefold() for char in text
        )  # case folding may undo a normal form; then nothing is promised


@given(st.lists(st.text(max_size=5), min_size=4, max_size=4), st.lists(st.text(max_size=5)))
def test_moving_words_between_parts_changes_the_fingerprint(
    parts: list[str], shifted: list[str]
) -> None:
    one = Draft(parts[0], parts[1], parts[2], (Turn("user", parts[3]),))
    flat = [parts[2], f"user:{parts[3]}", parts[0], parts[1]]
    other = Draft(flat[1], flat[2] + flat[3], flat[0])
    assert pairs.fingerprint(one) != pairs.fingerprint(other)


@pytest.mark.parametrize(
    ("draft", "words"),
    [
        (Draft("", "b"), "the prompt is empty"),
        (Draft("a", " \n"), "the response is empty"),
        (Draft("a" * 32_001, "b"), "32,001 characters"),
        (Draft("a", "b\x00"), "not valid Unicode"),
        (Draft("a", "b", turns=(Turn("user", "\ud800"),)), "not valid Unicode"),
        (Draft("a", "b", split="test"), "split is 'test'"),  # type: ignore[arg-type]
    ],
)
def test_an_invalid_pair_is_refused(store: Store, domain: Domain, draft: Draft, words: str) -> None:
    with pytest.raises(Invalid, match=words), store.write() as db:
        pairs.add(db, domain, [Draft("good", "pair"), draft], source="import")
    assert pairs.list_pairs(store.db, domain) == []


def test_pairs_without_a_fact_are_grouped_by_their_answer(store: Store, domain: Domain) -> None:
    with store.write() as db:
        ids = made.approved(db, domain, Draft("a", "Yes."), Draft("b", "yes. "), Draft("c", "No."))
    facts = [pairs.get(store.db, pair_id).fact for pair_id in ids]
    assert facts[0] == facts[1] != facts[2]


def test_counts_name_every_status(store: Store, domain: Domain) -> None:
    with store.write() as db:
        pairs.add(db, domain, [Draft("a", "b"), Draft("c", "d")], source="import")
        made.approved(db, domain, Draft("e", "f"))
    assert pairs.counts(store.db, domain) == {
        "pending": 2,
        "approved": 1,
        "rejected": 0,
        "quarantined": 0,
    }


def test_pairs_are_listed_by_status_source_and_number(store: Store, domain: Domain) -> None:
    with store.write() as db:
        first, second = made.approved(db, domain, Draft("a", "b"), Draft("c", "d"))
        pairs.add(db, domain, [Draft("e", "f")], source="correction")
    listed = [p.id for p in pairs.list_pairs(store.db, domain, "approved", limit=1)]
    assert listed == [first]
    assert [p.prompt for p in pairs.list_pairs(store.db, domain, source="correction")] == ["e"]
    assert [p.id for p in pairs.list_pairs(store.db, domain)][:2] == [first, second]


def test_a_review_decides_and_says_who(store: Store, domain: Domain) -> None:
    with store.write() as db:
        (pair_id,) = pairs.add(db, domain, [Draft("a", "b")], source="import").ids
        assert review_status.set_status(db, pair_id, "approved", "cli:ann").status == "approved"
        assert review_status.set_status(db, pair_id, "rejected", "cli:bob").status == "rejected"
    sql = "SELECT reviewed_by, reviewed_at IS NOT NULL FROM pairs"
    assert store.db.execute(sql).fetchone() == ("cli:bob", 1)
    with pytest.raises(NotFound, match="no pair 99"), store.write() as db:
        review_status.set_status(db, 99, "approved", "cli:ann")


def test_approved_pairs_outside_the_dataset_count_as_new(store: Store, domain: Domain) -> None:
    with store.write() as db:
        made.approved(db, domain, Draft("a", "b"), Draft("c", "d"))
        frozen = datasets.freeze(db, domain)
        assert pairs.new_since(db, domain, None) == 2
        assert pairs.new_since(db, domain, frozen.id) == 0
        pairs.add(db, domain, [Draft("pending", "one")], source="import")
        made.approved(db, domain, Draft("golden", "one", split="golden"), Draft("new", "one"))
        assert pairs.new_since(db, domain, frozen.id) == 1
