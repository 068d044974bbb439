"""Pairs in a language that the encoder does not know are searched by words."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.config.settings import SearchSettings
from data.domains import Domain
from data.pairs.pairs import Draft
from data.search import language_check
from data.search.encoder import SHIPPED
from data.search.language_check import LanguageCheck
from data.search.onnx_encoder import OnnxEncoder
from data.search.search import PairSearch
from data.store.db import Store, value
from tests.conftest import wait_until
from tests.data import given

READING = Path(language_check.__file__).parents[1] / "examples" / "reading"

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def minilm() -> OnnxEncoder:
    return OnnxEncoder(SHIPPED)


def drafts(name: str) -> list[Draft]:
    lines = (READING / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Draft(prompt, pair["response"], fact=pair["fact"])
        for pair in map(json.loads, lines)
        for prompt in pair.get("prompts", ())
    ]


@pytest.mark.parametrize(
    ("name", "suits"),
    [("climbing_gym", True), ("airline_lounge", True), ("clinica_veterinaria", False)],
)
def test_english_pairs_suit_and_spanish_ones_do_not(
    store: Store, domain: Domain, minilm: OnnxEncoder, name: str, suits: bool
) -> None:
    with store.write() as db:
        given.approved(db, domain, *drafts(name))

    found = language_check.check(store.db, domain, minilm)

    assert found is not None
    assert found.suits is suits
    assert ("searched by words" in found.sentence(domain)) is not suits
    assert found.encoder == "all-MiniLM-L6-v2-far-wording"


def test_facts_with_one_phrasing_are_checked_by_their_responses(
    store: Store, domain: Domain, minilm: OnnxEncoder
) -> None:
    with store.write() as db:
        given.approved(db, domain, *{d.fact: d for d in drafts("climbing_gym")}.values())

    found = language_check.check(store.db, domain, minilm)

    assert found is not None
    assert found.questions == 20
    assert found.suits


def test_a_few_facts_tell_nothing(store: Store, domain: Domain, minilm: OnnxEncoder) -> None:
    with store.write() as db:
        given.approved(db, domain, *drafts("clinica_veterinaria")[:20])

    assert language_check.check(store.db, domain, minilm) is None


@pytest.mark.parametrize(
    ("by_encoder", "by_words", "suits"),
    [(0.5, 0.4, True), (0.5, 0.5, False), (0.95, 1.0, True), (0.3, 0.4, False)],
)
def test_an_encoder_has_to_find_more_than_words(
    by_encoder: float, by_words: float, suits: bool
) -> None:
    assert LanguageCheck("e", 100, by_encoder, by_words).suits is suits


def test_the_background_checks_and_the_search_turns_to_words(
    store: Store, domain: Domain, caplog: pytest.LogCaptureFixture
) -> None:
    """Without encoding the pairs: nothing would use the vectors."""
    pairs = drafts("clinica_veterinaria")
    with store.write() as db:
        given.approved(db, domain, *pairs)
    search = PairSearch(store, SearchSettings())

    def method() -> str:
        return search.find(domain, pairs[0].prompt).method

    wait_until(lambda: method() == "words", "the check")
    assert search.find(domain, pairs[0].prompt).references[0].fact == pairs[0].fact
    assert "searched by words" in caplog.text
    assert value(store.db, "SELECT count(*) FROM pair_vectors") == 0


def test_what_is_asked_at_import_counts_at_once(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.approved(db, domain, *drafts("clinica_veterinaria"))
    search = PairSearch(store, SearchSettings())

    found = search.check_language(domain)

    assert found is not None
    assert search.find(domain, "hola").method == "words"
    words = PairSearch(store, SearchSettings(encoder="words"))
    assert words.check_language(domain) is None


def test_the_sample_is_the_same_each_time(
    store: Store, domain: Domain, minilm: OnnxEncoder
) -> None:
    with store.write() as db:
        many = [
            Draft(f"Where is item {n}? {way}", f"In row {n}.", fact=f"item-{n}")
            for n in np.random.default_rng(0).permutation(200).tolist()
            for way in ("please", "tell me")
        ]
        given.approved(db, domain, *many)

    first = language_check.check(store.db, domain, minilm)

    assert first is not None
    assert first.questions == 3 * language_check.FACTS
    assert language_check.check(store.db, domain, minilm) == first
