"""A real vLLM continues interrupted answers with the same words as without the interruption."""

import pytest

from data.adapters.registry import BASE_SERVED_NAME
from serving.client import Chunk, EngineClient, Sampling
from tests import adapter_maker
from tests.conftest import RunningEngine

pytestmark = pytest.mark.slow

QUESTIONS = ["Where is the key?", "I want only vLLM to run by itself, which command?", "Hello"]
TOKENS = 40


async def pieces(
    engine: RunningEngine, name: str, question: str, begun: str = "", tokens: int = TOKENS
) -> list[Chunk]:
    client = EngineClient()
    messages = [{"role": "user", "content": question}]
    stream = client.stream(engine.url, name, messages, Sampling(tokens), "test", begun)
    got = [chunk async for chunk in stream]
    await client.close()
    return got


@pytest.fixture(scope="module")
def names(engine: RunningEngine) -> list[str]:
    """The base, and an adapter that changes it a little."""
    adapter = adapter_maker.register(engine.store, engine.settings, "going-on", seed=31)
    engine.wait_for(adapter)
    return [BASE_SERVED_NAME, adapter.served_name]


async def test_a_continued_answer_is_the_same_from_any_interruption(
    engine: RunningEngine, names: list[str]
) -> None:
    cuts = 0
    for name in names:
        for question in QUESTIONS:
            whole = await pieces(engine, name, question)
            text = "".join(chunk.text for chunk in whole)
            for cut in range(1, len(whole) - 1):
                begun = "".join(chunk.text for chunk in whole[:cut])
                used = whole[cut - 1].completion_tokens
                assert used is not None
                rest = await pieces(engine, name, question, begun, TOKENS - used)
                assert begun + "".join(chunk.text for chunk in rest) == text
                assert rest[-1].finish_reason == whole[-1].finish_reason
                cuts += 1
    assert cuts > 50


async def test_the_engine_counts_the_tokens_of_every_piece(
    engine: RunningEngine, names: list[str]
) -> None:
    """So what is left of an answer's tokens is known whenever it breaks off."""
    whole = await pieces(engine, names[0], QUESTIONS[0])

    counts = [chunk.completion_tokens for chunk in whole]

    assert None not in counts
    assert counts == sorted(counts)  # type: ignore[type-var]
    assert whole[-1].completion_tokens is not None
    assert whole[-1].completion_tokens >= len(whole) - 1


async def test_white_space_at_the_seam_is_neither_doubled_nor_lost(
    engine: RunningEngine, names: list[str]
) -> None:
    """Cut where a word has just ended, with and without the space that follows."""
    whole = "".join(chunk.text for chunk in await pieces(engine, names[0], QUESTIONS[1]))
    spaces = [n for n, character in enumerate(whole) if character == " "][:6]
    assert spaces
    for space in spaces:
        for begun in (whole[:space], whole[: space + 1]):
            rest = "".join(c.text for c in await pieces(engine, names[0], QUESTIONS[1], begun))
            length = min(len(whole), len(begun) + len(rest))
            assert (begun + rest)[:length] == whole[:length]
