"""`/v1/embeddings`: the vectors of the encoder that searches, through the official client."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import openai
import pytest
from starlette.requests import Request
from starlette.types import Message

from bot.answering.admission import TooBusy
from bot.api.embeddings import (
    MAX_OF_KEY,
    MAX_TEXTS,
    MAX_WAITING,
    TOGETHER,
    EmbeddingQueue,
    EmbeddingRequest,
    _checked,
    embed,
)
from bot.api.problems import UnknownModel
from bot.api.relay import CallerDisconnected
from data.config.settings import SearchSettings, Settings
from data.search.encoder import open_encoder
from tests.bot.conftest import Bot

NAME = "all-MiniLM-L6-v2-far-wording"
TEXTS = ["Where is the store?", "Which file has the data?", "It rains."]


def vectors(answer: Any) -> Any:
    return np.array([item.embedding for item in answer.data], np.float32)


def test_the_vectors_are_those_of_the_search(bot: Bot) -> None:
    encoder = open_encoder(SearchSettings())
    assert encoder is not None
    client = bot.openai()

    as_floats = client.embeddings.create(model=NAME, input=TEXTS, encoding_format="float")
    as_bytes = client.embeddings.create(model=NAME, input=TEXTS)  # the client asks for base64

    expected = encoder.encode(TEXTS)
    assert np.allclose(vectors(as_floats), expected, atol=1e-6)
    assert np.array_equal(vectors(as_bytes), vectors(as_floats))
    assert [item.index for item in as_floats.data] == [0, 1, 2]
    near, far = expected[0] @ expected[1], expected[0] @ expected[2]
    assert near > far
    assert as_floats.usage.prompt_tokens == encoder.count_tokens(TEXTS) > 10
    assert as_floats.model == NAME
    assert bot.replies() == []  # nothing is stored


def test_one_text_is_a_list_of_one(bot: Bot) -> None:
    answer = bot.openai().embeddings.create(model=NAME, input="Where?", dimensions=384)

    assert len(answer.data) == 1
    assert len(answer.data[0].embedding) == 384


def test_another_name_is_told_the_right_one(bot: Bot) -> None:
    with pytest.raises(openai.NotFoundError, match=NAME) as caught:
        bot.openai().embeddings.create(model="text-embedding-3-small", input="Where?")

    assert caught.value.code == "model_not_found"


def test_without_an_encoder_the_setting_is_named() -> None:
    with pytest.raises(UnknownModel, match=r"\[search\] encoder"):
        _checked(EmbeddingRequest(model=NAME, input=["Where?"]), None)


REFUSED: list[tuple[str, Any, str]] = [
    ("input", [[1, 2, 3]], "check_embedding_ctx_length"),
    ("input", [1, 2, 3], "tokens are not supported"),
    ("input", [], "at least one entry"),
    ("input", "", "at least 1 character"),
    ("input", ["Where?"] * (MAX_TEXTS + 1), str(MAX_TEXTS)),
    ("input", "x" * 8_001, "8,000"),
    ("dimensions", 256, "384"),
    ("encoding_format", "int8", "float"),
    ("truncate", True, "not supported"),
]


def test_what_cannot_be_done_is_refused_by_name(bot: Bot) -> None:
    client = bot.http("member")
    for field, value, said in REFUSED:
        body = {"model": NAME, "input": "Where?", field: value}

        answer = client.post("/v1/embeddings", json=body)

        error = answer.json()["error"]
        assert answer.status_code == 400, field
        assert error["param"].startswith(field)
        assert said in error["message"]


async def test_few_requests_wait_and_fewer_of_one_key() -> None:
    queue = EmbeddingQueue()
    async with contextlib.AsyncExitStack() as waiting:
        for _ in range(MAX_OF_KEY):
            await waiting.enter_async_context(queue.waiting(1))
        with pytest.raises(TooBusy):
            await waiting.enter_async_context(queue.waiting(1))
        for key in range(2, MAX_WAITING - MAX_OF_KEY + 2):
            await waiting.enter_async_context(queue.waiting(key))
        with pytest.raises(TooBusy):
            await waiting.enter_async_context(queue.waiting(99))

    async with queue.waiting(1):
        pass  # everything was given back


class Counting:
    """An encoder that counts its steps."""

    name, digest, dimensions = NAME, "0", 2

    def __init__(self) -> None:
        self.steps: list[str] = []

    def encode(self, texts: Sequence[str], *, questions: bool = False) -> Any:
        self.steps.append(texts[0])
        return np.ones((len(texts), 2), np.float32)

    def count_tokens(self, texts: Sequence[str], *, questions: bool = False) -> int:
        return len(texts)


def asking(encoder: Counting, queue: EmbeddingQueue, *, left: bool) -> Request:
    """A request whose caller has left, or waits."""

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    chat = SimpleNamespace(search=SimpleNamespace(encoder=lambda: encoder))
    service = SimpleNamespace(settings=Settings(), chat=chat)
    state = SimpleNamespace(service=service, embedding_queue=queue)
    return Request({"type": "http", "app": SimpleNamespace(state=state)}, receive)


async def test_a_caller_who_left_costs_nothing_more() -> None:
    encoder = Counting()
    request = asking(encoder, EmbeddingQueue(), left=True)
    key: Any = SimpleNamespace(id=1)

    with pytest.raises(CallerDisconnected):
        await embed(request, EmbeddingRequest(model=NAME, input=["Where?"] * 99), key)

    assert encoder.steps == []


async def test_a_small_request_does_not_wait_for_a_large_one() -> None:
    encoder, queue = Counting(), EmbeddingQueue()
    request = asking(encoder, queue, left=False)
    key: Any = SimpleNamespace(id=1)
    large = EmbeddingRequest(model=NAME, input=["large"] * 10 * TOGETHER)
    small = EmbeddingRequest(model=NAME, input=["small"])

    answers = await asyncio.gather(embed(request, large, key), embed(request, small, key))

    assert [len(json.loads(a.body)["data"]) for a in answers] == [10 * TOGETHER, 1]
    assert len(encoder.steps) == 11
    assert encoder.steps.index("small") < 3
