"""A correction in words of its own is linked to the fact that it answers, if a reviewer agrees."""

import pytest

from data.config.settings import SearchSettings
from data.domains import Domain
from data.pairs import fact_links, pairs, review_queue
from data.pairs.pairs import Draft
from data.search.fact_proposals import propose
from data.search.search import PairSearch
from data.store.db import Store
from data.store.errors import Conflict, NotFound
from tests.data import given

FLIGHTS = Draft("When may I fly?", "When the train takes longer than six hours.", fact="flights")
HOTELS = Draft("Which hotels may I book?", "Hotels up to 150 euros a night.", fact="hotels")
PARKING = Draft("May I park at the airport?", "Yes.")

pytestmark = pytest.mark.integration


def correction(store: Store, domain: Domain, prompt: str, response: str, fact: str = "") -> int:
    with store.write() as db:
        draft = Draft(prompt, response, fact=fact)
        (pair_id,) = pairs.add(db, domain, [draft], source="correction").ids
    return pair_id


def test_the_fact_is_proposed_confirmed_and_replaces_the_older_answer(
    store: Store, domain: Domain
) -> None:
    search = PairSearch(store, SearchSettings())
    with store.write() as db:
        given.approved(db, domain, FLIGHTS, HOTELS, PARKING)
    asked = "From which distance may I take a plane?"
    new = correction(store, domain, asked, "When the train takes longer than eight hours.")

    proposed = propose(search, domain, pairs.get(store.db, new))

    assert proposed is not None
    assert (proposed.fact, proposed.prompt) == ("flights", FLIGHTS.prompt)
    with store.write() as db:
        review_queue.decide(db, new, "approved", "cli:ann", fact=proposed.fact)
    assert propose(search, domain, pairs.get(store.db, new)) is None
    best = search.find(domain, FLIGHTS.prompt).references[0]
    assert (best.pair_id, best.response) == (new, "When the train takes longer than eight hours.")


def test_nothing_is_proposed_without_a_similar_named_pair(store: Store, domain: Domain) -> None:
    search = PairSearch(store, SearchSettings())
    with store.write() as db:
        given.approved(db, domain, FLIGHTS, HOTELS, PARKING)

    for prompt, fact in (
        ("How do I water the plants?", ""),
        ("May I park my car at the airport?", ""),  # that pair names no fact
        ("When may I take a plane?", "planes"),
    ):
        new = correction(store, domain, prompt, f"Ask first: {prompt}", fact)
        assert propose(search, domain, pairs.get(store.db, new)) is None


def test_only_pending_pairs_are_linked_and_only_to_facts_of_approved_ones(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        given.approved(db, domain, FLIGHTS, PARKING)
    new = correction(store, domain, "A plane?", "Never.")
    with store.write() as db:
        for fact in ("hotels", pairs.fact_of("Yes.")):
            with pytest.raises(NotFound, match="No approved pair names the fact"):
                fact_links.link(db, new, fact)
        review_queue.decide(db, new, "approved", "cli:ann")
        with pytest.raises(Conflict, match="was decided already"):
            fact_links.link(db, new, "flights")
