"""The client recognises incomplete answers and says what went wrong."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time

import pytest

from data.store.errors import Invalid
from serving.client import (
    AdapterMissing,
    Chunk,
    EngineClient,
    EngineDown,
    EngineGone,
    PromptTooLong,
    Sampling,
    StreamCut,
    WrongAdapter,
)
from tests.conftest import free_port, wait_until
from tests.serving.fake_vllm import CUT, DONE, HANG, FakeVllm, refusal, running, words

NAME = "helpdesk@1-0a1b2c3d4e5f"
MESSAGES = [{"role": "user", "content": "Where is the key?"}]


async def ask(client: EngineClient, url: str, sampling: Sampling | None = None) -> list[Chunk]:
    stream = client.stream(url, NAME, MESSAGES, sampling or Sampling(16), "r-1")
    return [chunk async for chunk in stream]


async def test_text_comes_in_pieces_and_the_last_chunk_has_the_counts(fake, client):
    expected = [Chunk("Hello"), Chunk(" there"), Chunk("", "stop", 5, 2)]
    assert expected == await ask(client, fake.url)


async def test_text_arrives_before_the_answer_is_complete(fake, client):
    fake.say = lambda body: [*words(NAME, "Hello")[:2], HANG]
    stream = client.stream(fake.url, NAME, MESSAGES, Sampling(16), "r-1")
    async with asyncio.timeout(2), contextlib.aclosing(stream):
        assert Chunk("Hello") == await anext(stream)


async def test_every_sampling_parameter_is_sent(fake, client):
    sampling = Sampling(16, 0.5, 0.9, ("END",), 7, 0.1, 0.2)
    await ask(client, fake.url, sampling)
    (asked,) = fake.asked
    expected = {
        "model": NAME,
        "messages": MESSAGES,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "max_tokens": 16,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "stop": ["END"],
        "seed": 7,
    }
    assert expected == asked
    assert fake.request_ids == ["r-1"]


async def test_an_empty_answer_is_an_answer(fake, client):
    fake.say = lambda body: words(NAME)
    assert await ask(client, fake.url) == [Chunk("", "stop", 5, 2)]


async def test_events_that_arrive_in_pieces_are_joined(client):
    """Bytes as the network may cut them: one at a time."""
    events = (
        f'data: {{"model":"{NAME}","choices":[{{"delta":{{"content":"é"}}}}]}}\n\n: comment\n\n'
        f'data: {{"model":"{NAME}","choices":[{{"delta":{{}},"finish_reason":"stop"}}]}}\n\n'
        "data: [DONE]\n\n"
    ).encode()

    async def shreds(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(events))
        for byte in events:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(shreds, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        got = await ask(client, f"http://127.0.0.1:{port}")
    assert got == [Chunk("é"), Chunk("", "stop")]


@pytest.mark.parametrize("finish", ["abort", "error", None])
async def test_an_end_without_a_finish_reason_is_an_interruption(fake, client, finish):
    fake.say = lambda body: words(NAME, "Hel", finish=finish)
    with pytest.raises(StreamCut):
        await ask(client, fake.url)


@pytest.mark.parametrize("end", [[CUT], []], ids=["broken", "ended"])
async def test_an_answer_without_an_end_is_an_interruption(fake, client, end):
    fake.say = lambda body: [*words(NAME, "Hel")[:2], *end]
    with pytest.raises(StreamCut):
        await ask(client, fake.url)


@pytest.mark.parametrize("end", [[CUT], []], ids=["broken", "ended"])
async def test_an_interruption_before_any_text_means_that_the_engine_is_down(fake, client, end):
    fake.say = lambda body: [*words(NAME)[:1], *end]
    with pytest.raises(EngineDown):
        await ask(client, fake.url)


async def test_an_error_in_mid_stream_is_an_interruption(fake, client):
    failure = {"error": {"message": "EngineCore died", "code": 500}}
    fake.say = lambda body: [*words(NAME, "Hel")[:2], failure, DONE]
    with pytest.raises(StreamCut) as caught:
        await ask(client, fake.url)
    assert "EngineCore" not in str(caught.value)


async def test_an_error_before_any_text_means_that_the_engine_is_down(fake, client):
    fake.say = lambda body: [{"error": {"message": "EngineCore died", "code": 500}}, DONE]
    with pytest.raises(EngineDown):
        await ask(client, fake.url)


async def test_an_event_that_is_not_json_is_an_error(fake, client):
    fake.say = lambda body: [*words(NAME, "Hel")[:2], "<html>", DONE]
    with pytest.raises(StreamCut):
        await ask(client, fake.url)


@pytest.mark.parametrize("at", [0, 2])
async def test_another_model_in_any_chunk_is_refused(fake, client, at):
    events = words(NAME, "Hello", " there")
    events[at] = {**events[at], "model": "helpdesk@2-ffffffffffff"}
    fake.say = lambda body: events
    with pytest.raises(WrongAdapter, match="helpdesk@2-ffffffffffff"):
        await ask(client, fake.url)


async def test_an_adapter_that_is_not_there_is_missing(fake, client):
    fake.say = lambda body: refusal(404, "The model does not exist.")
    with pytest.raises(AdapterMissing, match=NAME):
        await ask(client, fake.url)


async def test_a_prompt_that_is_too_long_says_how_long_and_the_limit(fake, client):
    fake.say = lambda body: refusal(
        400,
        "This model's maximum context length is 1024 tokens. However, your prompt contains at "
        "least 1025 input tokens, which exceeds this limit even without any output tokens.",
    )
    with pytest.raises(PromptTooLong, match="at least 1025 tokens; at most 1024") as caught:
        await ask(client, fake.url)
    assert (caught.value.tokens, caught.value.limit) == (1025, 1024)


async def test_another_refusal_repeats_the_message_of_the_engine(fake, client):
    fake.say = lambda body: refusal(400, "temperature must be non-negative")
    with pytest.raises(Invalid, match="temperature must be non-negative"):
        await ask(client, fake.url)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_failing_engine_is_down(fake, client, status):
    fake.say = lambda body: refusal(status, "no")
    with pytest.raises(EngineDown, match=str(status)):
        await ask(client, fake.url)


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("quoted", ["input_value='Where is the k...'", "Where is the key?"])
async def test_errors_do_not_quote_the_question(fake, client, status, quoted):
    fake.say = lambda body: refusal(status, f"1 validation error: {quoted}")
    with pytest.raises((EngineDown, Invalid), match="omitted") as caught:
        await ask(client, fake.url)
    assert "Where" not in str(caught.value)


async def test_words_of_the_question_are_not_logged_when_the_engine_repeats_them(
    fake, client, caplog
):
    fake.say = lambda body: [*words(NAME, "Half")[:2], {"error": {"message": "Where is the key?"}}]
    with pytest.raises(StreamCut):
        await ask(client, fake.url)
    assert "The engine failed while it answered" in caplog.text
    assert "Where" not in caplog.text


async def test_an_engine_that_is_not_there_is_gone(client):
    with pytest.raises(EngineGone, match="cannot be reached"):
        await ask(client, f"http://127.0.0.1:{free_port()}")


async def test_an_engine_that_closes_the_connection_is_not_gone(fake, client):
    fake.say = lambda body: [CUT]
    with pytest.raises(EngineDown) as caught:
        await ask(client, fake.url)
    assert not isinstance(caught.value, EngineGone)


async def go_on(client: EngineClient, url: str, begun: str) -> str:
    stream = client.stream(url, NAME, MESSAGES, Sampling(16), "r-1", begun)
    return "".join([chunk.text async for chunk in stream])


async def test_an_answer_is_continued_from_its_last_word(fake, client):
    fake.say = lambda body: words(NAME, " the", " door")
    assert await go_on(client, fake.url, "Behind ") == "the door"
    (asked,) = fake.asked
    assert asked["messages"] == [*MESSAGES, {"role": "assistant", "content": "Behind"}]
    assert (asked["continue_final_message"], asked["add_generation_prompt"]) == (True, False)


async def test_white_space_alone_is_not_continued(fake, client):
    fake.say = lambda body: words(NAME, "\n", "\nHello")
    assert await go_on(client, fake.url, "\n") == "\nHello"
    assert fake.asked[0]["messages"] == MESSAGES
    assert "continue_final_message" not in fake.asked[0]


@pytest.mark.parametrize(
    ("begun", "comes", "rest"),
    [
        ("Hello", [" there"], " there"),
        ("Hello ", [" ", "there"], "there"),
        ("Hello \n", [" \n there"], " there"),
        ("Hello ", ["\nthere"], "\nthere"),
        ("Hello  ", [" there"], "there"),
        ("Hello ", ["there"], "there"),
        ("Hello.\n", [], ""),
    ],
)
async def test_white_space_that_was_shown_is_not_shown_again(fake, client, begun, comes, rest):
    fake.say = lambda body: words(NAME, *comes)
    assert await go_on(client, fake.url, begun) == rest


async def test_tokens_are_counted_as_they_come_where_the_engine_says_so(fake, client):
    events = words(NAME, "Hello", " there")
    for tokens, event in enumerate(events[:3]):
        event["usage"] = {"prompt_tokens": 5, "completion_tokens": tokens}
    fake.say = lambda body: events
    chunks = await ask(client, fake.url)
    assert [chunk.completion_tokens for chunk in chunks] == [1, 2, 2]


async def test_a_connection_is_reused(fake, client):
    for _ in range(5):
        await ask(client, fake.url)
    assert len(fake.connections) == 1


async def test_a_kept_connection_that_the_engine_closed_is_replaced(client):
    """An engine whose patience with idle connections is shorter than ours."""
    with running(FakeVllm(keep_alive_s=0.1)) as fake:
        await ask(client, fake.url)
        for _ in range(3):
            await asyncio.sleep(0.3)
            await ask(client, fake.url)


async def test_a_question_on_a_closed_kept_connection_is_sent_once_more(client):
    """The engine closes the kept connection just as the next question comes: it is repeated. On a
    new connection it is not."""
    asked = 0
    events = [json.dumps(e) if isinstance(e, dict) else e for e in words(NAME, "Hi")]
    body = "".join(f"data: {event}\n\n" for event in events).encode()

    async def moody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        for turn in (1, 2):
            await reader.readuntil(b"\r\n\r\n")
            asked += 1
            if turn == 1 and asked < 4:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await reader.read(10_000)
            else:
                break
        writer.close()

    server = await asyncio.start_server(moody, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert (await ask(client, url))[0] == Chunk("Hi")
        assert (await ask(client, url))[0] == Chunk("Hi")
        asked = 10
        with pytest.raises(EngineDown):
            await ask(client, url)


async def test_closing_the_generator_closes_the_connection(fake, client):
    fake.say = lambda body: [*words(NAME, "Hello")[:2], HANG]
    stream = client.stream(fake.url, NAME, MESSAGES, Sampling(16), "r-1")
    await anext(stream)
    await stream.aclose()
    await asyncio.to_thread(wait_until, lambda: fake.broken_off == 1, "the closing", 2)


@pytest.mark.parametrize("events", [[HANG], [*words(NAME, "Hello")[:2], HANG]])
async def test_cancelling_the_reader_closes_the_connection(fake, client, events):
    fake.say = lambda body: events
    task = asyncio.create_task(ask(client, fake.url))
    await asyncio.to_thread(wait_until, lambda: bool(fake.asked), "the question", 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(wait_until, lambda: fake.broken_off == 1, "the closing", 2)


async def test_a_thousand_tokens_cost_little(fake, client):
    fake.say = lambda body: words(NAME, *["word "] * 1000)
    began = time.process_time()
    chunks = await ask(client, fake.url, Sampling(1000))
    assert len(chunks) == 1001
    assert time.process_time() - began < 1  # the fake's part included


@pytest.mark.integration
def test_the_client_needs_neither_torch_nor_vllm_nor_numpy():
    code = (
        "import serving.client, sys; "
        "print([m for m in ('torch', 'vllm', 'numpy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
