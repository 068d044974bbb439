"""How likely the best pair answers, from what the search found."""

import hashlib
import json
from pathlib import Path

import pytest

from data import domains
from data.config.settings import SearchSettings
from data.domains import Domain
from data.pairs.pairs import Draft
from data.search import confidence
from data.search.confidence import Calibration
from data.search.encoder import SHIPPED
from data.search.onnx_encoder import OnnxEncoder
from data.search.search import PairSearch
from data.store.db import Store
from tests.data import given

SOME = Calibration("digest", (2.0, 4.0, 8.0), -3.0, 0.3, 0.5, 0.8)
HOURS = Draft("When is the workshop open?", "From 9 to 18 on weekdays.", fact="hours")
PRICE = Draft("How much is a new bicycle chain?", "A chain costs 25 francs.", fact="price")
PARKING = Draft("Where can I park my car?", "Behind the house.", fact="parking")


def test_a_fact_that_stands_out_is_more_likely() -> None:
    alone = SOME.confidence(0.6, [0.8, 0.3, 0.3, 0.3, 0.3])
    among = SOME.confidence(0.6, [0.8, 0.8, 0.8, 0.8, 0.8])

    assert 0 < among < 0.5 < alone < 1


def test_only_the_best_five_facts_count() -> None:
    some = [0.8, 0.5, 0.4, 0.4, 0.3]

    assert SOME.confidence(0.6, [*some, 0.1]) == SOME.confidence(0.6, some)


def test_a_small_domain_is_treated_as_if_it_had_other_facts() -> None:
    assert SOME.confidence(0.6, [0.8]) == SOME.confidence(0.6, [0.8, 0.3, 0.3, 0.3, 0.3])
    assert confidence.signals(0.1, [0.2], 0.3) == (0.1, 0.0, 0.0)


def test_no_confidence_overflows() -> None:
    assert SOME.confidence(1.0, [1e6, 0, 0, 0, 0]) <= 1
    assert SOME.confidence(-1.0, [-1e6, -1e6]) >= 0


def test_the_shipped_calibration_is_that_of_the_shipped_encoder() -> None:
    found = confidence.shipped(OnnxEncoder(SHIPPED).digest)

    assert found is not None
    assert 0 < found.answer_from <= found.sure_from < 1
    assert confidence.shipped("another") is None


def test_the_shipped_files_are_those_that_were_measured() -> None:
    """Whoever replaces one of them measures again, and writes the new digest here."""
    digests = {
        name: hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest()[:16]
        for name in ("model.onnx", "tokenizer.json", "encoder.json", confidence.FILE)
    }

    assert digests == json.loads((Path(__file__).parent / "shipped_encoder.json").read_text())


@pytest.mark.integration
def test_a_question_with_an_answer_has_more_confidence(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.approved(db, domain, HOURS, PRICE, PARKING)
    search = PairSearch(store, SearchSettings())

    near = search.find(domain, "When does the workshop open?").confidence
    off_topic = search.find(domain, "Who wrote Hamlet?").confidence

    assert near is not None
    assert off_topic is not None
    assert near > 0.8 > 0.2 > off_topic


@pytest.mark.integration
def test_the_confidence_does_not_depend_on_how_many_pairs_are_wanted(
    store: Store, domain: Domain
) -> None:
    drafts = [Draft(f"What is the price of part {n}?", f"It is {n}.") for n in range(12)]
    with store.write() as db:
        given.approved(db, domain, HOURS, *drafts)
    search = PairSearch(store, SearchSettings())

    found = {search.find(domain, "When are you open?", limit=n).confidence for n in (1, 4, 10)}

    assert len(found) == 1


@pytest.mark.integration
def test_words_and_empty_domains_have_no_confidence(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.approved(db, domain, HOURS)
        empty = domains.create(db, "empty")

    assert (
        PairSearch(store, SearchSettings(encoder="words")).find(domain, HOURS.prompt).confidence
        is None
    )
    assert PairSearch(store, SearchSettings()).find(empty, HOURS.prompt).confidence is None
