"""Invalid input over HTTP gets the right status, OpenAI's error body, and changes nothing.

All tests share one service, as callers would."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bot.runtime.request_log import RequestFilter
from tests.bot.conftest import Bot, answering
from tests.serving.fake_vllm import FakeVllm, refusal, running

ASK: dict[str, Any] = {"model": "helpdesk", "messages": [{"role": "user", "content": "Hi"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    with running(FakeVllm()) as vllm, answering(tmp_path_factory.mktemp("home"), vllm) as subject:
        yield subject


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error, after checking that it has OpenAI's shape and reveals no internals."""
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    assert "Traceback" not in answer.text
    return dict(body["error"])


BIG_SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "big", "schema": {"description": "x" * 40_000}},
}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 1_000_000_000}, "n"),
        ({"n": 9}, "n"),
        ({"user": "u" * 1_000}, "user"),
        ({"user": 7}, "user"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "messages"),
        ({"messages": [{"role": "oracle", "content": "Hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "messages.0.content",
        ),
        (
            {"messages": [{"role": "user", "content": "Hi", "weight": 1}]},
            "messages.0.weight",
        ),
        ({"model": 7}, "model"),
        ({"model": "m" * 200}, "model"),
        ({"temperature": 9}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"seed": 2**70}, "seed"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": BIG_SCHEMA}, "response_format.json_schema"),
        ({"top_k": 1.5}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"chat_template": "{{ x }}"}, "chat_template"),
        ({"lora_path": "../../etc"}, "lora_path"),
        ({"logit_bias": {"word": 1}}, "logit_bias.word.[key]"),
    ],
)
def test_a_wrong_field_is_named(bot: Bot, change: dict[str, Any], param: str) -> None:
    before = (len(bot.vllm.asked), len(bot.replies()))

    answer = bot.http("member").post(CHAT, json=ASK | change)

    assert answer.status_code == 400
    error = error_of(answer)
    assert error["type"] == "invalid_request_error"
    assert (error["param"] or "").startswith(param)
    assert (len(bot.vllm.asked), len(bot.replies())) == before


def test_the_message_for_a_list_that_is_too_short(bot: Bot) -> None:
    error = error_of(bot.http("member").post(CHAT, json=ASK | {"messages": []}))
    assert error["message"] == "'messages' must have at least one entry."


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"model": "helpdesk", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "helpdesk", "user": "\\udfff", "messages": [{"role": "user", "content": "a"}]}',
        b'{"model": "helpdesk", "temperature": NaN, "messages": []}',
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/feedback", "/v1/runs", "/v1/experiments"])
def test_an_invalid_body_is_refused(bot: Bot, path: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}

    answer = bot.http("admin").post(path, content=body, headers=headers)

    assert answer.status_code == 400
    error_of(answer)


def test_a_lone_surrogate_in_feedback(bot: Bot) -> None:
    reply_id = bot.http("member").post(CHAT, json=ASK).json()["id"]
    body = json.dumps({"id": reply_id, "correction": "bad \ud800 text"}).encode()

    headers = {"Content-Type": "application/json"}

    answer = bot.http("member").post("/v1/feedback", content=body, headers=headers)

    assert answer.status_code == 400
    assert error_of(answer)["param"] == "correction"


def test_a_nul_in_the_question(bot: Bot) -> None:
    messages = [{"role": "user", "content": "a\x00b"}]

    answer = bot.http("member").post(CHAT, json=ASK | {"messages": messages})

    assert answer.status_code == 400
    assert "Unicode" in error_of(answer)["message"]


def test_a_null_is_the_same_as_an_absent_field(bot: Bot) -> None:
    answer = bot.http("member").post(CHAT, json=ASK | {"tools": None, "n": None, "user": None})

    assert answer.status_code == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/feedback", "/web/ask"])
def test_a_body_of_20_megabytes(bot: Bot, path: str) -> None:
    body = json.dumps(ASK | {"user": "u" * 20_000_000}).encode()

    answer = bot.http("member", timeout=20).post(path, content=body)

    assert answer.status_code == 413
    assert "1,000,000 bytes" in error_of(answer)["message"]


def test_a_body_that_is_announced_too_large_is_not_waited_for(bot: Bot) -> None:
    with socket.create_connection(("127.0.0.1", bot.settings.bot.port), timeout=5) as connection:
        connection.sendall(
            f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n"
            f"Authorization: Bearer {bot.secrets['member']}\r\n\r\n".encode()
        )
        status = connection.recv(4096).split(b"\r\n")[0].split()[1]

    assert status == b"413"


@pytest.mark.parametrize("path", [CHAT, "/v1/feedback"])
def test_a_large_body_of_unknown_length(bot: Bot, path: str) -> None:
    answer = bot.http("member", timeout=20).post(path, content=(b"x" * 100_000 for _ in range(11)))

    assert answer.status_code == 413
    error_of(answer)


def test_a_question_that_is_too_long(bot: Bot) -> None:
    messages = [{"role": "user", "content": "a" * 9_000}]

    answer = bot.http("member").post(CHAT, json=ASK | {"messages": messages})

    assert answer.status_code == 400
    assert "9,000 characters; the limit is 8,000" in error_of(answer)["message"]


def test_a_question_that_does_not_fit_the_engine(bot: Bot) -> None:
    sentence = "This model's maximum context length is 1024 tokens. However, you requested 32"
    usual, bot.vllm.say = bot.vllm.say, lambda body: refusal(400, sentence)

    long = {"messages": [{"role": "user", "content": "Why? " * 1_000}]}
    answer = bot.http("member").post(CHAT, json=ASK | long)

    bot.vllm.say = usual
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "context_length_exceeded"


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/v1/", "/v1/models/../../etc/passwd"])
def test_an_unknown_address(bot: Bot, path: str) -> None:
    answer = bot.http("admin").get(path)

    assert answer.status_code == 404
    error_of(answer)


def test_a_wrong_method(bot: Bot) -> None:
    answer = bot.http("member").get(CHAT)

    assert answer.status_code == 405
    error_of(answer)


@pytest.mark.parametrize(
    "path",
    ["/v1/runs/0", "/v1/runs/abc", f"/v1/runs/{2**70}", "/v1/experiments/-1", "/v1/runs?limit=0"],
)
def test_an_invalid_number(bot: Bot, path: str) -> None:
    answer = bot.http("admin").get(path)

    assert answer.status_code == 400
    error_of(answer)


@pytest.mark.parametrize("role", ["Bearer", "Basic abc", "Bearer us-\xff", "us-abc", ""])
def test_a_header_without_a_key(bot: Bot, role: str) -> None:
    answer = bot.http().post(CHAT, json=ASK, headers={"Authorization": role.encode("latin-1")})

    assert answer.status_code == 401
    assert error_of(answer)["code"] == "invalid_api_key"


def test_an_invalid_key_is_reported_before_anything_about_the_request(bot: Bot) -> None:
    answer = bot.http().post(CHAT, content=b"{", headers={"Authorization": "Bearer us-x"})

    assert answer.status_code == 401


@pytest.mark.parametrize("host", [b"/health?", b"evil.example/health", b"", b"a b", b"x" * 5_000])
def test_a_host_header_opens_no_route(bot: Bot, host: bytes) -> None:
    with socket.create_connection(("127.0.0.1", bot.settings.bot.port)) as connection:
        connection.sendall(b"GET /v1/runs HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        status = connection.recv(4096).split(b"\r\n")[0].split()[1]

    assert status in (b"400", b"401")


def test_an_absolute_request_target_opens_no_route(bot: Bot) -> None:
    with socket.create_connection(("127.0.0.1", bot.settings.bot.port)) as connection:
        connection.sendall(b"GET http://x/health/../v1/runs HTTP/1.1\r\nHost: x\r\n\r\n")
        status = connection.recv(4096).split(b"\r\n")[0].split()[1]

    assert status in (b"400", b"401", b"404")


def test_an_unexpected_error_shows_only_the_request_id(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing table represents any defect."""
    bot.write(lambda db: db.execute("ALTER TABLE run_points RENAME TO gone"))
    bot.write(
        lambda db: db.execute(
            "INSERT INTO runs (domain_id, kind, state, requested_by, queued_at) "
            "VALUES (1, 'full', 'done', 'cli:test', 1)"
        )
    )

    with caplog.filtering(RequestFilter()):
        answer = bot.http("admin").get("/v1/runs/1")

    assert answer.status_code == 500
    error = error_of(answer)
    assert "run_points" not in answer.text
    request_id = answer.headers["x-request-id"]
    assert request_id in error["message"]
    (logged,) = [r for r in caplog.records if r.exc_info]
    assert logged.__dict__["request"] == f" [{request_id}]"
