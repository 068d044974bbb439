"""The unanswered questions: how they are grouped, answered, dismissed and erased."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bot.answering import unanswered_groups
from data import domains
from data.config.settings import SearchSettings
from data.conversations import conversations
from data.domains import Domain
from data.feedback import unanswered
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.privacy import erasure, opt_out
from data.search import question_groups
from data.search.search import PairSearch
from data.store.db import Store, value
from data.store.errors import Conflict, Forbidden, NotFound
from tests.data import given


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "understudy.db") as store:
        with store.write() as db:
            domain = domains.create(db, "helpdesk", "the help desk")
            drafts = [Draft("When do you open?", "At nine.", fact="hours")]
            pairs.add(db, domain, drafts, source="import", status="approved")
        yield store


@pytest.fixture
def domain(store: Store) -> Domain:
    return domains.get(store.db, "helpdesk")


@pytest.fixture
def search(store: Store) -> PairSearch:
    return PairSearch(store, SearchSettings(encoder="words"))


def declined(store: Store, domain: Domain, question: str, person: str = "slack:T1/U1") -> str:
    with store.write() as db:
        reply_id = given.reply(db, domain, person, question)
        conversations.set_outcome(db, reply_id, "declined")
        unanswered.add(db, reply_id, domain)
    return reply_id


def test_questions_of_one_meaning_are_one_line_and_people_count(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    declined(store, domain, "Is there a cantina?")
    for person in ("slack:T1/U1", "slack:T1/U2", "slack:T1/U2"):
        declined(store, domain, "When do you close on Fridays?", person)
    declined(store, domain, "when do you close on fridays", "web:1")

    first, second = unanswered_groups.list_groups(store, search, domain)

    assert (first.question, first.people, len(first.questions)) == (
        "When do you close on Fridays?",
        3,
        4,
    )
    assert first.draft is not None
    assert first.draft.response == "At nine."
    assert (second.question, second.people) == ("Is there a cantina?", 1)

    without, _ = unanswered_groups.list_groups(store, search, domain, drafts=0)
    assert without.draft is None
    assert unanswered_groups.with_draft(store, search, domain, without) == first


def test_vectors_group_by_meaning() -> None:
    near = np.array([[1, 0], [0.9, 0.436], [0, 1], [0.1, 0.995]], dtype=np.float32)

    assert question_groups.by_meaning(near) == [[0, 1], [2, 3]]
    assert question_groups.by_meaning(near[:0]) == []


def test_one_answer_closes_the_whole_group_and_is_found_at_once(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    first = declined(store, domain, "Where is the car park?")
    declined(store, domain, "where is the car park", "slack:T1/U2")

    pair = unanswered_groups.answer(
        store, search, domain, first[-8:], "Behind the house.", "cli:ann"
    )

    assert (pair.status, pair.source, pair.reviewed_by) == ("approved", "unanswered", "cli:ann")
    assert unanswered_groups.list_groups(store, search, domain) == []
    best = search.find(domain, "Where is the car park?").references[0]
    assert best.response == "Behind the house."
    assert unanswered.get(store.db, first).pair_id == pair.id
    with pytest.raises(NotFound):
        unanswered_groups.answer(store, search, domain, first[-8:], "Elsewhere.", "cli:ann")


def test_an_answer_that_is_known_belongs_to_its_fact(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    asked = declined(store, domain, "From what time on can I come in?")

    pair = unanswered_groups.answer(store, search, domain, asked, "At nine.", "cli:ann")

    assert pair.fact == "hours"


def test_words_of_people_who_opted_out_become_no_pair(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    asked = declined(store, domain, "Where is the car park?")
    with store.write() as db:
        opt_out.opt_out(db, "slack:T1/U1")

    with pytest.raises(Conflict, match="your own words"):
        unanswered_groups.answer(store, search, domain, asked, "Behind the house.", "cli:ann")
    pair = unanswered_groups.answer(
        store, search, domain, asked, "Behind the house.", "cli:ann", "Where can I park?"
    )

    assert pair.prompt == "Where can I park?"


async def test_a_pair_goes_with_the_person_whose_question_it_is(
    store: Store, domain: Domain, search: PairSearch, tmp_path: Path
) -> None:
    asked = declined(store, domain, "Where is the car park?")
    with store.write() as db:
        unanswered.answer(db, domain, [asked], "Behind the house.", "cli:ann")

    await erasure.erase_person(store, tmp_path, "slack:T1/U1", "cli:test")

    assert value(store.db, "SELECT count(*) FROM pairs") == 1
    assert value(store.db, "SELECT count(*) FROM unanswered") == 0


def test_a_dismissed_question_is_off_the_list(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    asked = declined(store, domain, "What is love?")

    assert unanswered_groups.dismiss(store, search, domain, asked, "cli:ann") == 1
    assert unanswered_groups.list_groups(store, search, domain) == []
    assert unanswered.get(store.db, asked).state == "dismissed"


def test_only_the_asker_may_want_a_person(store: Store, domain: Domain) -> None:
    asked = declined(store, domain, "What is love?")

    with store.write() as db, pytest.raises(Forbidden):
        unanswered.want_person(db, asked, "slack:T1/U2")
    with store.write() as db:
        first = unanswered.want_person(db, asked, "slack:T1/U1")
        again = unanswered.want_person(db, asked, "slack:T1/U1")

    assert first.person_asked_at is not None
    assert again.person_asked_at == first.person_asked_at
