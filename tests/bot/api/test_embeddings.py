"""`/v1/embeddings`: the vectors of the encoder that searches, through the official client."""

import asyncio
import contextlib
from typing import Any

import numpy as np
import openai
import pytest

from bot.answering.admission import TooBusy
from bot.api.embeddings import MAX_OF_KEY, MAX_TEXTS, MAX_WAITING, EmbeddingQueue, _checked
from bot.api.problems import UnknownModel
from data.config.settings import SearchSettings
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
    from bot.api.embeddings import EmbeddingRequest

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
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(queue.turn(0))

        async def wait(key: int) -> None:
            async with queue.turn(key):
                pass

        same = [asyncio.create_task(wait(1)) for _ in range(MAX_OF_KEY + 1)]
        await asyncio.sleep(0)
        others = [asyncio.create_task(wait(n)) for n in range(2, MAX_WAITING + 1)]
        await asyncio.sleep(0)
        assert [t.done() for t in same] == [False] * MAX_OF_KEY + [True]
        assert sum(t.done() for t in others) == len(others) - (MAX_WAITING - MAX_OF_KEY)
        for task in (*same, *others):
            if task.done():
                assert isinstance(task.exception(), TooBusy)
    await asyncio.wait([*same, *others])

    async with asyncio.timeout(1), queue.turn(1):
        pass  # everything was given back
