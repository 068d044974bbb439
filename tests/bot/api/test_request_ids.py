"""The caller's ids of a request: kept, returned, and in every log line about it."""

import io
import logging

import pytest

from bot.api.request_ids import of_headers
from bot.runtime.request_log import RequestFilter, request_name
from tests.bot.conftest import Bot
from tests.serving.fake_vllm import CUT, words

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_callers_ids_come_back(bot: Bot) -> None:
    given = {"X-Request-ID": "8d3f-42/a", "traceparent": TRACE}

    answer = bot.http("member").get("/v1/models", headers=given)

    assert answer.headers["x-request-id"] == "8d3f-42/a"
    assert answer.headers["traceparent"] == TRACE


@pytest.mark.parametrize(
    "odd", [b"", b"a b", b"x" * 129, b"\x1b[31m", "ü".encode(), b"a\tb", b'"', b"<b>", b"a,b"]
)
def test_an_id_that_could_mean_something_else_is_replaced(odd: bytes) -> None:
    found = of_headers([(b"x-request-id", odd), (b"traceparent", odd)])

    assert found.request_id.startswith("req-")
    assert found.traceparent == ""
    assert [name for name, _ in found.headers] == [b"x-request-id"]


@pytest.mark.parametrize(
    "odd",
    [
        TRACE.upper(),
        TRACE + "-00",
        "ff" + TRACE[2:],
        TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        TRACE.replace("00f067aa0ba902b7", "0" * 16),
    ],
)
def test_an_invalid_traceparent_counts_as_none(odd: str) -> None:
    assert of_headers([(b"traceparent", odd.encode())]).traceparent == ""


def test_an_id_that_is_sent_twice_is_replaced() -> None:
    twice = [(b"x-request-id", b"one"), (b"x-request-id", b"two")]

    assert of_headers(twice).request_id.startswith("req-")


def test_every_log_line_about_a_request_has_its_ids(bot: Bot) -> None:
    """An answer that breaks off is logged where it is sent, far from the request."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(RequestFilter())
    handler.setFormatter(logging.Formatter("%(name)s:%(request)s %(message)s"))
    for name in ("bot", "serving"):
        logging.getLogger(name).addHandler(handler)
    bot.vllm.say = lambda body: [*words(body["model"], "One")[:2], CUT]
    try:
        asked = {"model": "helpdesk@9", "messages": [{"role": "user", "content": "Who?"}]}
        bot.http("member").post(
            "/v1/chat/completions",
            json=asked | {"model": "helpdesk"},
            headers={"X-Request-ID": "mine-1", "traceparent": TRACE},
        )
    finally:
        for name in ("bot", "serving"):
            logging.getLogger(name).removeHandler(handler)

    lines = written.getvalue().splitlines()
    assert lines
    assert [line for line in lines if f" [mine-1 {TRACE}] " not in f"{line} "] == []


def test_a_line_about_no_request_has_none() -> None:
    record = logging.LogRecord("bot", logging.INFO, "x.py", 1, "Listening", None, None)

    assert request_name.get() == ""
    assert RequestFilter().filter(record)
    assert record.__dict__["request"] == ""
