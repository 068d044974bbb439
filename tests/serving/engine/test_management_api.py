"""What an engine answers to the requests of the threads that synchronise it."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import orjson
import pytest

from serving.adapters import sync
from serving.engine import management_api
from serving.engine.management_api import EngineRefused

PAGE = b"<!DOCTYPE html><html><body>Bad gateway at 10.0.0.7</body></html>"
Answering = Callable[[int, bytes], str]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """The address of a server that gives one answer to everything."""
    said = [200, b""]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(said[0])  # type: ignore[arg-type]
            self.send_header("content-length", str(len(said[1])))  # type: ignore[arg-type]
            self.end_headers()
            self.wfile.write(said[1])  # type: ignore[arg-type]

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def answer(status: int, body: bytes) -> str:
        said[:] = [status, body]
        return f"http://127.0.0.1:{server.server_port}"

    yield answer
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, b'{"error":{"message":"it is malformed"}}', "answered 500: it is malformed"),
        (500, b'{"error":{"message":"%b"}}' % (b"x" * 10_000), "answered 500: " + 500 * "x"),
        (502, PAGE, "answered 502."),
        (502, orjson.dumps({"error": {"message": PAGE.decode()}}), "answered 502."),
        (502, PAGE * 20_000, "answered 502."),
        (500, b'{"error":5}', "answered 500."),
        (500, b"", "answered 500."),
        (404, PAGE, "answered 404: start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATI"),
    ],
)
def test_only_what_an_engine_wrote_is_a_reason(
    answering: Answering, status: int, body: bytes, message: str
) -> None:
    """An asker may read it: "No engine could load helpdesk@1: ..."."""
    with pytest.raises(EngineRefused) as refused:
        sync.load(answering(status, body), "helpdesk@1", Path("/adapters/1"))
    assert str(refused.value).startswith(f"The engine {message}")
    assert "10.0.0.7" not in str(refused.value)
    assert len(str(refused.value)) < 600


def test_an_answer_that_is_too_long_is_none(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(management_api, "MAX_ANSWER", 1_000)
    assert management_api.ask(answering(200, b'"%b"' % (b"x" * 998))) == 998 * "x"
    with pytest.raises(EngineRefused, match="more than 1,000 bytes"):
        management_api.ask(answering(200, b'"%b"' % (b"x" * 999)))


@pytest.mark.parametrize(
    "card",
    [
        {"id": 5, "parent": "base", "root": "/a"},
        {"id": "helpdesk@1", "parent": "base", "root": 5},
        {"parent": "base"},
        "helpdesk@1",
    ],
)
def test_cards_of_another_shape_are_not_those_of_vllm(answering: Answering, card: object) -> None:
    with pytest.raises(EngineRefused, match="is not vLLM"):
        sync.held_adapters(answering(200, orjson.dumps({"data": [card]})))
