"""Search finds the approved pairs that bear on a question, as the store holds them at that time."""

import pytest

from data import domains
from data.config.settings import SearchSettings
from data.domains import Domain
from data.pairs import golden, pairs, review_status
from data.pairs.pairs import Draft
from data.privacy import erasure
from data.search.search import PairSearch
from data.store.db import Store, value
from tests.data import given

HOURS = Draft("When is the workshop open?", "From 9 to 18 on weekdays.", fact="hours")
HOURS_TOO = Draft(
    "What are the workshop's opening hours?", "From 9 to 18 on weekdays.", fact="hours"
)
PRICE = Draft("How much is a new bicycle chain?", "A chain costs 25 francs.", fact="price")
PARKING = Draft("Where can I park my car?", "Behind the house.", fact="parking")


@pytest.fixture
def search(store: Store) -> PairSearch:
    return PairSearch(store, SearchSettings(encoder="words"))


def facts(search: PairSearch, domain: Domain, question: str, **more: object) -> list[str]:
    return [r.fact for r in search.find(domain, question, **more).references]  # type: ignore[arg-type]


def test_the_pair_that_shares_the_weightiest_words_comes_first(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    with store.write() as db:
        given.approved(db, domain, HOURS, HOURS_TOO, PRICE, PARKING)

    found = search.find(domain, "how much for a chain?")

    assert found.references[0].response == PRICE.response
    assert found.method == "words"
    assert found.encoder == ""
    assert 0 < found.similarity <= 1


def test_each_fact_is_found_once(store: Store, domain: Domain, search: PairSearch) -> None:
    """So is each response, whatever fact it is filed under."""
    again = Draft("Is the workshop open on Monday?", HOURS.response, fact="monday")
    with store.write() as db:
        given.approved(db, domain, HOURS, HOURS_TOO, again, PARKING)

    found = facts(search, domain, "workshop open hours")

    assert len(found) == 1


@pytest.mark.parametrize(
    "question",
    ["", "?", "no", "zzyzx quux", '"', "NEAR(a b)", "prompt:open", "a* AND", "\x00", "🚲🚲🚲"],
)
def test_a_question_without_known_words_finds_nothing(
    store: Store, domain: Domain, search: PairSearch, question: str
) -> None:
    """Nor is it read as FTS5's query language."""
    with store.write() as db:
        given.approved(db, domain, PARKING)

    found = search.find(domain, question)

    assert found.references == ()
    assert found.similarity == 0.0


def test_accents_and_scripts_without_spaces(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    with store.write() as db:
        given.approved(
            db,
            domain,
            Draft("Où est l'entrée de l'atelier?", "À gauche."),
            Draft("図書館は何時に開きますか", "九時に開きます。"),
        )

    assert search.find(domain, "ENTREE ATELIER").references[0].response == "À gauche."
    assert (
        search.find(domain, "図書館は日曜日に開いていますか")
        .references[0]
        .prompt.startswith("図書館")
    )


def test_pairs_are_left_out_by_id(store: Store, domain: Domain, search: PairSearch) -> None:
    with store.write() as db:
        first, second = given.approved(db, domain, HOURS, HOURS_TOO)

    question = "When is the workshop open?"
    assert search.find(domain, question, without=[first]).references[0].pair_id == second
    assert search.find(domain, question, without=[first, second]).references == ()


def test_other_domains_are_not_searched(store: Store, domain: Domain, search: PairSearch) -> None:
    with store.write() as db:
        other = domains.create(db, "other")
        given.approved(db, other, HOURS)

    assert facts(search, domain, "When is the workshop open?") == []
    assert facts(search, other, "When is the workshop open?") == ["hours"]


def test_golden_questions_and_unreviewed_pairs_are_never_found(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    with store.write() as db:
        gold = golden.add(db, domain, HOURS.prompt, HOURS.response, "cli:ann").pair
        pairs.add(db, domain, [PRICE], source="test", status="pending")

    assert facts(search, domain, HOURS.prompt) == []
    assert facts(search, domain, PRICE.prompt) == []

    with store.write() as db:
        golden.release(db, domain, gold.id, "cli:ann")
    assert len(facts(search, domain, HOURS.prompt)) == 1


def test_every_change_counts_from_the_next_question_on(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    """Approved, rejected, respelt and approved again, by another connection to the same file."""
    with Store(store.path) as elsewhere:

        def give(pair_id: int, status: pairs.Status) -> None:
            with elsewhere.write() as db:
                review_status.set_status(db, pair_id, status, "cli:ann")

        with elsewhere.write() as db:
            (number,) = pairs.add(db, domain, [HOURS], source="test").ids
        assert facts(search, domain, HOURS.prompt) == []
        give(number, "approved")
        assert facts(search, domain, HOURS.prompt) == ["hours"]
        give(number, "rejected")
        assert facts(search, domain, HOURS.prompt) == []
        give(number, "approved")
        with elsewhere.write() as db:
            db.execute("UPDATE pairs SET prompt = upper(prompt) WHERE id = ?", [number])
        (found,) = search.find(domain, HOURS.prompt).references
        assert found.prompt == HOURS.prompt.upper()


async def test_erased_words_are_not_found(store: Store, domain: Domain, search: PairSearch) -> None:
    """Neither of a pair that is deleted nor of one that a dataset still names."""
    with store.write() as db:
        added = pairs.add(
            db, domain, [HOURS, PRICE], source="test", author="slack:T1/U1", status="approved"
        )
        db.execute(
            "INSERT INTO datasets (domain_id, sha256, train, validation, probe, golden, "
            "created_at) VALUES (?, 'x', 1, 0, 0, 0, 1)",
            [domain.id],
        )
        db.execute("INSERT INTO dataset_pairs VALUES (1, ?, 'train')", [added.ids[0]])

    await erasure.erase_person(store, store.path.parent, "slack:T1/U1", "cli:ann")

    assert facts(search, domain, HOURS.prompt) == []
    assert facts(search, domain, PRICE.prompt) == []
    with store.write() as db:  # raises when the index and the pairs differ
        db.execute("INSERT INTO pair_search (pair_search, rank) VALUES ('integrity-check', 1)")
    content = b"".join(f.read_bytes() for f in store.path.parent.glob("understudy.db*"))
    for word in (b"workshop", b"bicycle", b"francs"):
        assert word not in content


async def test_it_answers_off_the_event_loop(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    with store.write() as db:
        given.approved(db, domain, HOURS, PARKING)

    found = await search.afind(domain, "park a car")

    assert [r.fact for r in found.references] == ["parking"]


def test_ids_of_new_pairs_are_still_right(store: Store, domain: Domain) -> None:
    """The triggers insert rows, too."""
    with store.write() as db:
        ids = given.approved(db, domain, HOURS, PRICE, PARKING)
        assert [pairs.get(db, i).fact for i in ids] == ["hours", "price", "parking"]


def test_no_trigram_of_a_deleted_pair_stays_in_the_index(store: Store, domain: Domain) -> None:
    """FTS5 by itself only marks words as deleted until it merges its segments."""
    sql = "SELECT count(*) FROM pair_search_data WHERE instr(block, CAST('zqx' AS BLOB))"
    with store.write() as db:
        (pair_id, _) = given.approved(db, domain, Draft("What is zqx?", "A word."), HOURS)
    assert value(store.db, sql) > 0

    with store.write() as db:
        db.execute("DELETE FROM pairs WHERE id = ?", [pair_id])

    assert value(store.db, sql) == 0
