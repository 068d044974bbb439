"""An encoder behind an address."""

from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import SecretStr

from data.config.settings import SearchSettings
from data.domains import Domain
from data.pairs.pairs import Draft
from data.search.embeddings_api import TOGETHER, EmbeddingsApi
from data.search.encoder import EncoderFailed, open_encoder
from data.search.search import PairSearch
from data.store.db import Store
from tests.data import given
from tests.data.search import fake_embeddings
from tests.data.search.fake_embeddings import FakeEmbeddings

pytestmark = pytest.mark.integration


@pytest.fixture
def service() -> Iterator[FakeEmbeddings]:
    with fake_embeddings.running() as service:
        yield service


def test_vectors_come_in_order_and_have_length_one(service: FakeEmbeddings) -> None:
    settings = SearchSettings(encoder=service.url, api_key=SecretStr("sesame"))
    encoder = open_encoder(settings)
    assert encoder is not None
    texts = [letter * 3 for letter in fake_embeddings.LETTERS] * 4

    found = encoder.encode(texts)

    assert (encoder.name, encoder.dimensions, found.shape) == ("letters-26", 26, (104, 26))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert found.argmax(1).tolist() == [*range(26)] * 4
    assert set(service.keys) == {"Bearer sesame"}
    assert max(service.batches) == TOGETHER


def test_the_digest_tells_models_apart(service: FakeEmbeddings) -> None:
    one = EmbeddingsApi(f"{service.url}/embeddings")

    assert EmbeddingsApi(service.url).digest == one.digest
    assert EmbeddingsApi(service.url, "other").digest != one.digest
    assert EmbeddingsApi(service.url).encode([]).shape == (0, 26)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": "no"}, "does not answer like"),
        ({"data": [{"index": 0, "embedding": [1.0, 2.0]}]}, "length of its vectors"),
        ({"data": [{"index": 0, "embedding": [0.0] * 26}]}, "cannot be used"),
        ({"data": [{"index": 0, "embedding": ["x"] * 26}]}, "does not answer like"),
    ],
)
def test_answers_that_cannot_be_used(service: FakeEmbeddings, answer: object, said: str) -> None:
    encoder = EmbeddingsApi(service.url)
    service.answer = answer

    with pytest.raises(EncoderFailed, match=said):
        encoder.encode(["text"])


def test_a_service_that_is_down_or_refuses_is_named(service: FakeEmbeddings) -> None:
    service.status = 401
    with pytest.raises(EncoderFailed, match="answered 401"):
        EmbeddingsApi(service.url)
    with pytest.raises(EncoderFailed, match="cannot be reached"):
        EmbeddingsApi("http://127.0.0.1:9/v1")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_neither_a_question_nor_the_key_goes_to_an_address_that_a_redirect_names(
    service: FakeEmbeddings, status: int
) -> None:
    encoder = EmbeddingsApi(service.url, key="sesame")
    with fake_embeddings.running() as elsewhere:
        service.status, service.location = status, elsewhere.url
        for ask in (lambda: encoder.encode(["Where?"]), lambda: EmbeddingsApi(service.url)):
            with pytest.raises(EncoderFailed, match=f"answered {status}"):
                ask()
        assert elsewhere.keys == []


def test_words_answer_while_the_service_is_down(
    store: Store, domain: Domain, service: FakeEmbeddings
) -> None:
    with store.write() as db:
        given.approved(db, domain, Draft("When do you open?", "At nine."))
    search = PairSearch(store, SearchSettings(encoder=service.url))

    assert search.find(domain, "When do you open?").method == "encoder"
    service.status = 500
    found = search.find(domain, "When do you open tomorrow?")

    assert found.method == "words"
    assert found.references[0].response == "At nine."
