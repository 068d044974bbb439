"""A small server that answers like OpenAI's `/v1/embeddings`, with vectors of counted letters."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class FakeEmbeddings:
    url: str = ""
    keys: list[str] = field(default_factory=list)  # that were sent
    batches: list[int] = field(default_factory=list)  # texts in each request
    status: int = 200
    scale: float = 3.0  # vectors are not of length 1
    location: str = ""  # where it sends who asks
    answer: Any = None  # instead of vectors


def vector(text: str, scale: float) -> list[float]:
    return [scale * (0.01 + text.lower().count(letter)) for letter in LETTERS]


@contextmanager
def running() -> Iterator[FakeEmbeddings]:
    fake = FakeEmbeddings()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.keys.append(self.headers.get("Authorization", ""))
            self._send({"data": [{"id": "letters-26"}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.keys.append(self.headers.get("Authorization", ""))
            fake.batches.append(len(asked["input"]))
            found = [
                {"index": n, "embedding": vector(text, fake.scale)}
                for n, text in enumerate(asked["input"])
            ]
            self._send({"data": found[::-1]} if fake.answer is None else fake.answer)

        def _send(self, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(fake.status)
            if fake.location:
                self.send_header("Location", fake.location)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
