"""Search by meaning, with the shipped encoder."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from data import domains
from data.config.settings import SearchSettings
from data.conversations.conversations import Message
from data.domains import Domain
from data.pair_files import importer
from data.pairs import golden, pairs, review_status
from data.pairs.pairs import Draft, Turn
from data.privacy import erasure
from data.search import vectors
from data.search.encoder import SHIPPED, EncoderFailed, open_encoder
from data.search.index import DIRECTIONS, DomainIndex
from data.search.onnx_encoder import OnnxEncoder
from data.search.search import PairSearch
from data.search.vector_builder import build
from data.store.db import Store, rows, value
from data.store.errors import Unavailable
from tests.conftest import wait_until
from tests.data import given

HOURS = Draft("When is the workshop open?", "From 9 to 18 on weekdays.", fact="hours")
PRICE = Draft("How much is a new bicycle chain?", "A chain costs 25 francs.", fact="price")
PARKING = Draft("Where can I park my car?", "Behind the house.", fact="parking")
LATE = "Until what time can I bring in my bike?"  # no word in common with HOURS
EXAMPLES = Path("data/examples/helpdesk").resolve()

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def minilm() -> OnnxEncoder:
    return OnnxEncoder(SHIPPED)


@pytest.fixture
def search(store: Store) -> PairSearch:
    return PairSearch(store, SearchSettings())


def fact(search: PairSearch, domain: Domain, question: str) -> str:
    found = search.find(domain, question)
    assert found.method == "encoder"
    return found.references[0].fact if found.references else ""


def encoded(store: Store) -> list[int]:
    return [r["pair_id"] for r in rows(store.db, "SELECT pair_id FROM pair_vectors ORDER BY 1")]


def test_vectors_have_length_one_and_do_not_depend_on_what_is_encoded_with_them(
    minilm: OnnxEncoder,
) -> None:
    texts = [HOURS.prompt, "short", PARKING.response * 20, "", "図書館", HOURS.prompt]

    together = minilm.encode(texts)
    alone = np.concatenate([minilm.encode([text]) for text in texts])

    assert together.shape == (6, 384)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_question_in_other_words_finds_its_pair(
    store: Store, domain: Domain, search: PairSearch, minilm: OnnxEncoder
) -> None:
    with store.write() as db:
        given.approved(db, domain, HOURS, PRICE, PARKING)

    found = search.find(domain, LATE, limit=2)

    assert found.references[0].fact == "hours"
    assert len(found.references) == 2
    assert found.encoder == minilm.digest
    question, prompt, response, both = minilm.encode(
        [LATE, HOURS.prompt, HOURS.response, f"{HOURS.prompt}\n{HOURS.response}"]
    )
    assert found.similarity == pytest.approx(question @ prompt, abs=2e-3)
    assert found.references[0].score == pytest.approx(
        max(question @ prompt, question @ response) + 0.5 * (question @ both), abs=2e-3
    )


def test_a_question_in_the_words_of_an_answer_finds_its_pair(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    """Each prompt is nearer to the question than the right one."""
    with store.write() as db:
        given.approved(
            db,
            domain,
            Draft("Who is Priya?", "She trues wheels and mends punctures.", fact="priya"),
            Draft("Can you true a wheel?", "Not before Monday.", fact="wheel"),
            Draft("Do you mend shoes?", "No.", fact="shoes"),
        )

    assert fact(search, domain, "Who trues wheels and mends punctures?") == "priya"


def test_vectors_of_an_earlier_version_are_used_and_completed(
    store: Store, domain: Domain, minilm: OnnxEncoder
) -> None:
    """They lack that of the response."""
    with store.write() as db:
        given.approved(db, domain, HOURS, PARKING, PRICE)
        some = vectors.without_vectors(db, domain, minilm, 0, 10)
        made = vectors.encode(minilm, some)
        assert len(vectors.save(db, minilm.digest, some, made[:, :2])) == 3
    assert len(vectors.without_vectors(store.db, domain, minilm, 0, 10)) == 3
    index = DomainIndex(domain, minilm.digest, minilm.dimensions)
    index.refresh(store.db)
    (found,) = index.best(minilm.encode([PRICE.prompt], questions=True), 1)
    assert (len(index), index.pending) == (3, set())
    assert [c.pair_id for c in found] == [some[2].pair_id]

    search = PairSearch(store, SearchSettings())
    assert fact(search, domain, LATE) == "hours"
    wait_until(
        lambda: not vectors.without_vectors(store.db, domain, minilm, 0, 10), "all three vectors"
    )
    blob = value(store.db, "SELECT vectors FROM pair_vectors WHERE pair_id = ?", [some[0].pair_id])
    assert vectors.loaded(bytes(blob), minilm.dimensions).tolist() == made[0].tolist()


def test_many_pairs_are_found_with_fewer_directions(
    store: Store, domain: Domain, minilm: OnnxEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order and the scores are those of the whole vectors."""
    drafts = [
        Draft(f"Where is the {thing} number {n}?", f"Number {n} is behind the {thing}.")
        for thing in ("pump", "saddle", "helmet", "ladder")
        for n in range(50)
    ]
    question = "Where did you put the helmet with the number 17?"
    whole = PairSearch(store, SearchSettings())
    with store.write() as db:
        given.approved(db, domain, HOURS, PARKING, PRICE, *drafts)
    whole.complete(domain)
    expected = whole.find(domain, question).references
    monkeypatch.setattr("data.search.index.WHOLE", 150)
    monkeypatch.setattr("data.search.index.SAMPLE", 100)

    index = DomainIndex(domain, minilm.digest, minilm.dimensions)
    index.refresh(store.db)
    search = PairSearch(store, SearchSettings())

    assert index.width == DIRECTIONS
    assert [r.pair_id for r in search.find(domain, question).references] == [
        r.pair_id for r in expected
    ]
    assert [r.score for r in search.find(domain, question).references] == pytest.approx(
        [r.score for r in expected], abs=1e-5
    )
    with store.write() as db:
        given.approved(db, domain, Draft(LATE, "Until noon.", fact="late"))
    assert fact(search, domain, LATE) == "late"


def test_an_index_that_grows_large_leaves_directions_out(
    store: Store, domain: Domain, minilm: OnnxEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.search.index.WHOLE", 100)
    index = DomainIndex(domain, minilm.digest, minilm.dimensions)
    with store.write() as db:
        given.approved(db, domain, HOURS)
    index.refresh(store.db)
    assert index.width == minilm.dimensions
    with store.write() as db:
        given.approved(db, domain, *(Draft(f"Who is {n}?", f"{n} is nobody.") for n in range(150)))
    build(store, domain, minilm)
    index.refresh(store.db)

    index.refresh(store.db)

    assert (index.width, len(index)) == (DIRECTIONS, 151)
    query = minilm.encode(["Who is 77?"], questions=True)
    assert index.best(query, 3)[0][0].pair_id == 79


def test_every_change_counts_from_the_next_question_on(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    """Made through another connection to the same file, as another process would."""
    with Store(store.path) as elsewhere:

        def give(pair_id: int, status: pairs.Status) -> None:
            with elsewhere.write() as db:
                review_status.set_status(db, pair_id, status, "cli:ann")

        with elsewhere.write() as db:
            (first,) = pairs.add(db, domain, [HOURS], source="test").ids
            given.approved(db, domain, PARKING)
        assert fact(search, domain, LATE) == "parking"
        give(first, "approved")
        assert fact(search, domain, LATE) == "hours"
        give(first, "rejected")
        assert fact(search, domain, LATE) == "parking"
        give(first, "approved")
        assert fact(search, domain, LATE) == "hours"
        with elsewhere.write() as db:
            db.execute("DELETE FROM pairs WHERE id = ?", [first])
            given.approved(db, domain, PRICE)  # gets the number of the deleted pair
        assert fact(search, domain, LATE) != "hours"
        assert fact(search, domain, "the price of a chain") == "price"


def test_a_golden_question_never_finds_its_own_pair(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    with store.write() as db:
        golden.add(db, domain, HOURS.prompt, HOURS.response, "cli:ann", fact="hours")
        given.approved(db, domain, PARKING)
    search.complete(domain)

    assert fact(search, domain, HOURS.prompt) == "parking"
    assert len(encoded(store)) == 1


def test_vectors_are_made_once_and_kept(store: Store, domain: Domain, search: PairSearch) -> None:
    with store.write() as db:
        ids = given.approved(db, domain, HOURS, PRICE, PARKING)
    done: list[int] = []

    search.complete(domain, done.append)
    search.complete(domain, done.append)

    assert done == [3]
    assert encoded(store) == ids
    assert fact(search, domain, LATE) == "hours"


def test_the_background_encodes_what_questions_found_missing(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    """Many new pairs do not hold up a question, and count in it if they share words with it."""
    with store.write() as db:
        many = [Draft(f"Where is shelf {n}?", f"In row {n}.") for n in range(40)]
        ids = given.approved(db, domain, *many, HOURS)

    assert fact(search, domain, HOURS.prompt) == "hours"
    wait_until(lambda: encoded(store) == ids, "the background")
    assert fact(search, domain, LATE) == "hours"


@pytest.mark.parametrize("change", ["respelt", "rejected", "golden", "deleted", "forgotten"])
def test_vectors_go_with_the_words_that_they_were_made_of(
    store: Store, domain: Domain, search: PairSearch, change: str
) -> None:
    with store.write() as db:
        first, second = given.approved(db, domain, HOURS, PARKING)
    search.complete(domain)

    with store.write() as db:
        match change:
            case "respelt":
                db.execute("UPDATE pairs SET prompt = upper(prompt) WHERE id = ?", [first])
            case "rejected":
                review_status.set_status(db, first, "rejected", "cli:ann")
            case "golden":
                db.execute("UPDATE pairs SET split = 'golden' WHERE id = ?", [first])
            case "deleted":
                db.execute("DELETE FROM pairs WHERE id = ?", [first])
            case "forgotten":
                db.execute("UPDATE pairs SET forgotten_at = 1 WHERE id = ?", [first])

    assert encoded(store) == [second]


def test_vectors_of_words_that_changed_meanwhile_are_not_stored(
    store: Store, domain: Domain, minilm: OnnxEncoder
) -> None:
    """They were being made while the pair was erased or edited."""
    with store.write() as db:
        first, second, third = given.approved(db, domain, HOURS, PARKING, PRICE)
    some = vectors.without_vectors(store.db, domain, minilm, 0, 10)
    made = vectors.encode(minilm, some)

    with store.write() as db:
        db.execute("DELETE FROM pairs WHERE id = ?", [first])
        db.execute("UPDATE pairs SET prompt = upper(prompt) WHERE id = ?", [second])
        assert vectors.save(db, minilm.digest, some, made) == [third]


async def test_erasure_removes_vectors(store: Store, domain: Domain, search: PairSearch) -> None:
    person = "slack:T1/U1"
    with store.write() as db:
        pairs.add(db, domain, [HOURS], source="test", author=person, status="approved")
        given.approved(db, domain, PARKING)
    search.complete(domain)
    sql = "SELECT vectors FROM pair_vectors ORDER BY pair_id"
    blob = bytes(value(store.db, sql))[:64]

    await erasure.erase_person(store, store.path.parent, person, "cli:ann")

    assert len(encoded(store)) == 1
    assert not any(blob in f.read_bytes() for f in store.path.parent.glob("understudy.db*"))


def test_each_domain_has_an_index_of_its_own(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    with store.write() as db:
        other = domains.create(db, "other")
        given.approved(db, domain, PARKING)
        given.approved(db, other, HOURS)

    assert fact(search, domain, LATE) == "parking"
    assert fact(search, other, LATE) == "hours"


def test_questions_of_many_threads_get_their_own_answers(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    with store.write() as db:
        given.approved(db, domain, HOURS, PRICE, PARKING)
    wanted = {LATE: "hours", "what does a chain cost?": "price", "a place for my car": "parking"}
    questions = list(wanted) * 20

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda q: fact(search, domain, q), questions))

    assert found == [wanted[q] for q in questions]


def test_pairs_are_left_out_by_id(store: Store, domain: Domain, search: PairSearch) -> None:
    with store.write() as db:
        hours, parking = given.approved(db, domain, HOURS, PARKING)

    assert search.find(domain, LATE, without=[hours]).references[0].pair_id == parking
    assert search.find(domain, LATE, without=[hours, parking]).references == ()


def test_pairs_that_were_encoded_before_the_first_question_stand_in_the_index_once(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    """A second row would still be found when the pair is left out or rejected."""
    with store.write() as db:
        hours, parking, price = given.approved(db, domain, HOURS, PARKING, PRICE)
    search.complete(domain)

    left = search.find(domain, LATE, without=[hours]).references
    assert {reference.pair_id for reference in left} == {parking, price}
    with store.write() as db:
        review_status.set_status(db, hours, "rejected", "ann")
    assert hours not in {r.pair_id for r in search.find(domain, LATE).references}


def test_a_pair_of_a_conversation_is_found_by_what_the_conversation_is_about(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    turns = (Turn("user", "When is the workshop open?"), Turn("assistant", "On weekdays."))
    with store.write() as db:
        given.approved(
            db, domain, Draft("And on Sundays?", "Never.", turns=turns, fact="sundays"), PARKING
        )

    assert fact(search, domain, "Is the workshop open on Sundays?") == "sundays"


def test_what_only_the_conversation_makes_sure_counts_for_less(
    store: Store, domain: Domain, search: PairSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as db:
        given.approved(db, domain, HOURS, PRICE, PARKING)
    earlier = [Message("user", "Do you sell bicycle chains?"), Message("assistant", "Yes.")]

    def confidence() -> float:
        return search.find(domain, "What do you want for it?", earlier).confidence or 0.0

    lessened = confidence()
    monkeypatch.setattr("data.search.follow_ups.MIXED_COUNTS_LESS", 0.0)

    assert confidence() == pytest.approx(lessened + 0.05, abs=1e-3)


def test_a_follow_up_is_searched_with_the_question_before_it(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    with store.write() as db:
        given.approved(
            db,
            domain,
            Draft("When is the workshop open on Sundays?", "Never.", fact="workshop"),
            Draft("When is the shop open on Sundays?", "At ten.", fact="shop"),
        )

    def after(question: str) -> str:
        earlier = [Message("user", question), Message("assistant", "From 9 to 18.")]
        return search.find(domain, "And on Sundays?", earlier).references[0].fact

    assert after("When can I come to the workshop?") == "workshop"
    assert after("When can I come to the shop?") == "shop"


TRIP = Draft(
    "When does the boat trip start?",
    "The boat leaves the pier at 10 am and is back at noon. It has room for twelve guests.",
    fact="trip",
)
BOATS = (
    TRIP,
    Draft("What does a rowing boat cost?", "A rowing boat is 9 euros an hour.", fact="rowing"),
    Draft("What can I eat in the hut?", "The hut serves soup and bread.", fact="hut"),
    Draft("Where can I swim?", "You can swim at the east beach.", fact="swim"),
)
ASKED_TRIP = [Message("user", TRIP.prompt), Message("assistant", TRIP.response)]


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("And how many guests are on it?", "trip"),  # the second sentence says it
        ("And where is a place to swim?", "swim"),
        ("Is the captain married?", None),
    ],
)
def test_an_answer_counts_again_for_what_one_of_its_sentences_says(
    store: Store, domain: Domain, search: PairSearch, question: str, first: str | None
) -> None:
    with store.write() as db:
        given.approved(db, domain, *BOATS)

    found = search.find(domain, question, ASKED_TRIP)

    if first is None:
        assert found.references[0].fact != "trip"
    else:
        assert found.references[0].fact == first


def test_a_closed_search_says_so(store: Store, domain: Domain, search: PairSearch) -> None:
    search.find(domain, "anything")
    search.close()

    with pytest.raises(Unavailable, match="closed"):
        search.find(domain, "anything")


def test_closing_the_store_stops_the_threads(tmp_path: Path) -> None:
    before = threading.active_count()
    with Store(tmp_path / "other.db") as store:
        with store.write() as db:
            domain = domains.create(db, "helpdesk")
            given.approved(db, domain, *(Draft(f"Where is {n}?", f"In {n}.") for n in range(100)))
        PairSearch(store, SearchSettings()).find(domain, "Where?")
        assert threading.active_count() > before

    assert threading.active_count() == before


def test_words_answer_while_the_encoder_cannot_be_used(
    store: Store, domain: Domain, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with store.write() as db:
        given.approved(db, domain, HOURS)
    search = PairSearch(store, SearchSettings(encoder=str(tmp_path / "nothing")))

    found = search.find(domain, HOURS.prompt)

    assert found.method == "words"
    assert found.references[0].fact == "hours"
    assert "tools.export_encoder" in caplog.text


def test_a_broken_encoder_folder_is_named(tmp_path: Path) -> None:
    for name in ("encoder.json", "tokenizer.json", "model.onnx"):
        (tmp_path / name).write_text("{}", encoding="utf-8")

    with pytest.raises(EncoderFailed, match="cannot be loaded"):
        open_encoder(SearchSettings(encoder=str(tmp_path)))


@pytest.fixture(scope="module")
def helpdesk(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[PairSearch, Domain, list[pairs.Pair]]]:
    with Store(tmp_path_factory.mktemp("helpdesk") / "understudy.db") as store:
        with store.write() as db:
            domain = domains.create(db, "helpdesk")
        importer.import_file(store, domain, EXAMPLES / "pairs.jsonl")
        search = PairSearch(store, SearchSettings())
        search.complete(domain)
        yield search, domain, golden.list_golden(store.db, domain)


@pytest.mark.slow  # it encodes the whole domain
def test_the_demo_domains_golden_questions_find_their_facts(
    helpdesk: tuple[PairSearch, Domain, list[pairs.Pair]],
) -> None:
    search, domain, questions = helpdesk

    found = {q.id: [r.fact for r in search.find(domain, q.prompt).references] for q in questions}

    first = sum(found[q.id][0] == q.fact for q in questions) / len(questions)
    among = sum(q.fact in found[q.id][:3] for q in questions) / len(questions)
    assert first >= 0.95
    assert among >= 0.99


@pytest.mark.parametrize("encoder", ["minilm", "words"])
def test_a_newer_answer_is_found_for_every_phrasing_of_its_fact(
    store: Store, domain: Domain, encoder: str
) -> None:
    search = PairSearch(store, SearchSettings(encoder=encoder))
    with store.write() as db:
        given.approved(db, domain, HOURS, PARKING, Draft(LATE, HOURS.response, fact="hours"))
        correction = Draft(HOURS.prompt, "From 8 to 17 on weekdays.", fact="hours")
        (new,) = pairs.add(db, domain, [correction], source="correction").ids
    assert search.find(domain, LATE).references[0].response == HOURS.response
    with store.write() as db:
        review_status.set_status(db, new, "approved", "cli:ann")

    for question in (LATE, HOURS.prompt):
        best = search.find(domain, question).references[0]
        assert (best.pair_id, best.response) == (new, correction.response)
        assert best.similarity > 0.9
    left_out = search.find(domain, LATE, without={new}).references[0]
    assert (left_out.prompt, left_out.response) == (LATE, correction.response)
    with store.write() as db:
        review_status.set_status(db, new, "rejected", "cli:ann")
    assert search.find(domain, LATE).references[0].response == HOURS.response
