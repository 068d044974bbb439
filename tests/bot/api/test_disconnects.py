"""The engine or the caller disconnects in the middle of an answer."""

import json
import socket
import threading
import time
from typing import Any

import httpx
import openai
import pytest

from tests.bot.conftest import Bot, add_replica
from tests.conftest import wait_until
from tests.serving.fake_vllm import CUT, HANG, refusal, words

BODY = {"model": "helpdesk", "messages": [{"role": "user", "content": "What is a run?"}]}


def begins(body: dict[str, Any], end: str) -> list[Any]:
    """An answer that writes two words and then stops or hangs."""
    return [*words(body["model"], "One", " tuning")[:3], end]


def test_an_interrupted_stream_ends_with_an_error_and_without_done(bot: Bot) -> None:
    bot.vllm.say = lambda body: begins(body, CUT)

    answer = bot.http("member").post("/v1/chat/completions", json=BODY | {"stream": True})

    assert answer.status_code == 200
    events = [e for e in answer.text.split("\n\n") if e]
    assert "[DONE]" not in answer.text
    assert json.loads(events[-1][6:])["error"]["code"] == "stream_cut"
    (reply,) = bot.wait_closed()
    assert reply.status == "partial"


def test_the_official_client_notices_the_interruption(bot: Bot) -> None:
    bot.vllm.say = lambda body: begins(body, CUT)

    stream = bot.openai().chat.completions.create(**BODY, stream=True)

    with pytest.raises(openai.APIError, match="middle of the answer"):
        list(stream)


def test_the_text_before_the_interruption_is_kept(bot: Bot) -> None:
    bot.vllm.say = lambda body: begins(body, CUT)

    bot.http("member").post("/v1/chat/completions", json=BODY | {"stream": True})

    bot.wait_closed()
    texts = [r["text"] for r in bot.store.db.query("SELECT text FROM messages ORDER BY id")]
    assert texts == ["What is a run?", "One tuning"]


def test_an_interrupted_answer_without_streaming_is_an_error(bot: Bot) -> None:
    bot.vllm.say = lambda body: begins(body, CUT)

    answer = bot.http("member").post("/v1/chat/completions", json=BODY)

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "stream_cut"


@pytest.mark.parametrize("stream", [True, False])
def test_an_engine_failure_before_the_first_word_has_its_own_status(bot: Bot, stream: bool) -> None:
    bot.vllm.say = lambda body: refusal(500, "out of memory")

    answer = bot.http("member").post("/v1/chat/completions", json=BODY | {"stream": stream})

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "engine_down"
    assert "retry-after" in answer.headers
    (reply,) = bot.wait_closed()
    assert reply.status == "failed"
    assert "out of memory" in reply.error


def test_without_a_ready_engine_nothing_is_sent_or_recorded(bot: Bot) -> None:
    bot.write(lambda db: db.execute("UPDATE replicas SET state = 'down'"))

    answer = bot.http("member").post("/v1/chat/completions", json=BODY)

    assert answer.status_code == 503
    assert "engine" in answer.json()["error"]["message"]
    assert bot.replies() == []


def test_another_replica_answers_when_one_is_unreachable(bot: Bot) -> None:
    from data.adapters import registry

    live = registry.get(bot.store.db, "helpdesk@1")
    bot.write(lambda db: add_replica(db, "http://127.0.0.1:9", live, name="gone"))

    for _ in range(4):
        answer = bot.http("member").post("/v1/chat/completions", json=BODY)
        assert answer.status_code == 200

    assert {r.status for r in bot.wait_closed(4)} == {"done"}


@pytest.mark.parametrize("stream", [True, False])
def test_a_disconnect_stops_the_engine(bot: Bot, stream: bool) -> None:
    bot.vllm.say = lambda body: begins(body, HANG)

    with pytest.raises(httpx.ReadTimeout):
        bot.http("member", timeout=2).post("/v1/chat/completions", json=BODY | {"stream": stream})

    wait_until(lambda: bot.vllm.broken_off == 1, "the engine to be left")
    (reply,) = bot.wait_closed()
    assert reply.status == "cancelled"
    texts = [r["text"] for r in bot.store.db.query("SELECT text FROM messages ORDER BY id")]
    assert texts == ["What is a run?", "One tuning"]


def test_a_disconnect_before_the_first_word_stops_the_engine(bot: Bot) -> None:
    bot.vllm.say = lambda body: [*words(body["model"])[:1], HANG]

    with pytest.raises(httpx.ReadTimeout):
        bot.http("member", timeout=2).post("/v1/chat/completions", json=BODY | {"stream": True})

    wait_until(lambda: bot.vllm.broken_off == 1, "the engine to be left")
    assert [r.status for r in bot.wait_closed()] == ["cancelled"]


def test_slow_readers_delay_nobody_else(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.client.CHARS_PER_TOKEN", 10**6)  # more than the buffers hold
    bot.vllm.say = lambda body: words(body["model"], *["many words " * 1000] * 1000)
    stuck = [_asking(bot) for _ in range(20)]
    wait_until(lambda: len(bot.vllm.asked) == 20, "the slow readers' answers to begin", 20)
    bot.vllm.say = lambda body: words(body["model"], "Quick.")

    began = time.monotonic()
    answer = bot.http("member", timeout=10).post("/v1/chat/completions", json=BODY)
    took_s = time.monotonic() - began

    assert answer.json()["choices"][0]["message"]["content"] == "Quick."
    assert took_s < 5
    for connection in stuck:
        connection.close()
    statuses = sorted(r.status for r in bot.wait_closed(21))
    assert statuses == ["cancelled"] * 20 + ["done"]


def _asking(bot: Bot) -> socket.socket:
    """A connection that requests a stream and never reads from it."""
    connection = socket.create_connection(("127.0.0.1", bot.settings.bot.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    body = json.dumps(BODY | {"stream": True, "max_tokens": 100_000}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: Bearer {bot.secrets['member']}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


class TestNoEngine:
    @pytest.fixture
    def bot_settings(self) -> dict[str, Any]:
        return {"engine_wait_s": 0}

    def test_the_retry_header_matches_the_sentence(self, bot: Bot) -> None:
        """OpenAI's clients wait as long as the header says."""
        bot.write(lambda db: db.execute("UPDATE replicas SET state = 'starting'"))

        answer = bot.http("member").post("/v1/chat/completions", json=BODY)

        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "30"
        assert "The engine is starting. Try again in half a minute." in answer.text


class TestLimits:
    @pytest.fixture
    def bot_settings(self) -> dict[str, Any]:
        return {"max_in_flight": 1, "max_waiting": 0, "answer_timeout_s": 1}

    def test_too_many_concurrent_questions_get_a_time_to_retry(self, bot: Bot) -> None:
        bot.vllm.say = lambda body: begins(body, HANG)
        first = threading.Thread(
            target=lambda: bot.http("member").post("/v1/chat/completions", json=BODY)
        )
        first.start()
        wait_until(lambda: len(bot.vllm.asked) == 1, "the first to be asked", 5)

        with pytest.raises(openai.RateLimitError) as refused:
            bot.openai().chat.completions.create(**BODY)

        assert 1 <= int(refused.value.response.headers["retry-after"]) <= 60
        first.join()

    def test_an_answer_that_takes_too_long_is_interrupted(self, bot: Bot) -> None:
        bot.vllm.say = lambda body: begins(body, HANG)

        answer = bot.http("member").post("/v1/chat/completions", json=BODY | {"stream": True})

        assert "longer than 1 seconds" in answer.text
        assert "[DONE]" not in answer.text
        assert [r.status for r in bot.wait_closed()] == ["partial"]


def test_stopping_the_service_lets_answers_finish(bot: Bot) -> None:
    """The service is stopped while it streams an answer of about two seconds."""
    bot.vllm.say = lambda body: words(body["model"], *["word "] * 2000)
    got: list[str] = []

    def read() -> None:
        with bot.http("member").stream(
            "POST", "/v1/chat/completions", json=BODY | {"stream": True}
        ) as response:
            got.extend(response.iter_lines())

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: len(bot.vllm.asked) == 1, "the answer to begin", 5)
    bot.stop()
    reader.join()

    assert got[-2:] == ["data: [DONE]", ""]
    assert [r.status for r in bot.wait_closed()] == ["done"]
