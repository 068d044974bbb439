"""The bounds of the HTTP server: a real server on loopback, and raw bytes from sockets."""

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from bot.runtime import address_limits
from bot.runtime.address_limits import MAX_REFUSED, MAX_TOLD, AddressLimits, Connecting
from bot.runtime.http_protocol import Bounds, bounded
from tests.conftest import wait_until

QUICK = Bounds(head_s=0.3, body_s=0.3, flush_s=0.2, stalled_s=0.3)
PATIENT = Bounds()
STRANGER = "127.0.0.2"  # an address of this machine that is no trusted proxy
GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
OFFERS = [
    b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAA\r\n",
    b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAA\r\n",
]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what the application saw; `/big` with more than fits any buffer."""
    body = b""
    while scope["path"] != "/early":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    seen = {"body": body.decode("latin-1"), "client": scope["client"][0], "path": scope["path"]}
    seen |= {"headers": [n.decode() for n, _ in scope["headers"]], "scheme": scope["scheme"]}
    answer = json.dumps(seen).encode() if scope["path"] != "/big" else b"x" * 50_000_000
    length = (b"content-length", str(len(answer)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": answer})


@dataclass
class Server:
    port: int
    server: uvicorn.Server

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)

    def connect(self, source: str = STRANGER) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), 10, (source, 0))
        made.settimeout(10)
        return made

    def send(self, *parts: bytes, source: str = STRANGER) -> bytes:
        """Everything that the server answers until it closes the connection, or to the end of one
        complete answer."""
        with self.connect(source) as made:
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    made.sendall(part)
            return read(made)


def read(made: socket.socket) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionError):
        while chunk := made.recv(65_536):
            got += chunk
            head, found, body = got.partition(b"\r\n\r\n")
            if found and b"content-length: %d\r\n" % len(body) in head + b"\r\n":
                break
    return got


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def seen(answer: bytes) -> Any:
    assert status(answer) == 200, answer[:200]
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@contextlib.contextmanager
def serving(bounds: Bounds, limits: AddressLimits, idle_s: float = 60) -> Iterator[Server]:
    config = uvicorn.Config(
        app, http=bounded(limits, bounds), ws="none", lifespan="off", log_config=None,
        access_log=False, proxy_headers=False, timeout_keep_alive=idle_s,  # type: ignore[arg-type]
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        work = partial(asyncio.run, server.serve(sockets=[listening]))
        thread = threading.Thread(target=work)
        thread.start()
        try:
            wait_until(lambda: server.started, "the server to start")
            yield Server(listening.getsockname()[1], server)
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


def limits(per_address: int = 1_000, total: int = 10_000) -> AddressLimits:
    return AddressLimits(("127.0.0.1", "10.0.0.0/8"), per_address, total)


class Forgiving(AddressLimits):
    """Listens on, whatever an address has sent before, and counts what was refused."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", "10.0.0.0/8"), 1_000, 10_000)
        self.reasons: Counter[str] = Counter()

    def refused(self, reason: str) -> None:
        self.reasons[reason] += 1
        super().refused(reason)

    def shuns(self, address: str) -> bool:
        return False


@pytest.fixture(scope="module")
def forgiving() -> Forgiving:
    return Forgiving()


@pytest.fixture(scope="module")
def server(forgiving: Forgiving) -> Iterator[Server]:
    with serving(PATIENT, forgiving) as running:
        yield running


@pytest.fixture(scope="module")
def quick() -> Iterator[Server]:
    with serving(QUICK, limits(), idle_s=0.3) as running:
        yield running


# Sizes


def post(length: int, more: bytes = b"") -> bytes:
    return b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n%s\r\n" % (length, more)


CHUNKED = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("name", "begins", "goes_on", "expected"),
    [
        ("address", b"GET /", b"a" * 50_000, 414),
        ("one header", b"GET / HTTP/1.1\r\na: ", b"a" * 50_000, 431),
        ("a header's name", b"GET / HTTP/1.1\r\n", b"a" * 50_000, 431),
        ("many headers", b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10_000, 431),
        ("lines before the request", b"\r\n", b"\r\n" * 25_000, 431),
        ("chunk extension", CHUNKED + b"1;", b"a" * 50_000, 400),
        ("trailers", CHUNKED + b"0\r\n", b"a: " + b"b" * 50_000, 400),
        ("body", CHUNKED, b"8000\r\n" + b"a" * 0x8000 + b"\r\n", 413),
    ],
)
def test_whatever_does_not_end_is_refused(
    server: Server, forgiving: Forgiving, name: str, begins: bytes, goes_on: bytes, expected: int
) -> None:
    before = forgiving.reasons.copy()
    answer = server.send(begins, *([goes_on] * 400))
    wait_until(lambda: forgiving.reasons != before, "the refusal")
    assert set(forgiving.reasons - before) == {"too large"}
    if answer:  # the peer, which sends on, may see the connection break before it reads the answer
        assert status(answer) == expected, answer[:200]
    wait_until(lambda: server.connections == 0, "the connection to be closed")
    assert seen(server.send(GET))["path"] == "/a"


def test_a_refusal_is_json_and_closes_the_connection(server: Server) -> None:
    answer = server.send(b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (status(answer), b"connection: close" in head) == (414, True)
    assert json.loads(body)["error"]["message"] == "The address of the request is too long."


def test_the_largest_allowed_head_is_taken(server: Server) -> None:
    lines = b"".join(b"h%d: %s\r\n" % (n, b"v" * 240) for n in range(120))
    got = seen(server.send(b"GET /" + b"a" * 8_000 + b" HTTP/1.1\r\nhost: x\r\n" + lines + b"\r\n"))
    assert len(got["headers"]) == 121


def test_a_kept_connection_takes_any_number_of_requests(server: Server) -> None:
    with server.connect() as made:
        for number in range(60):
            line = b"GET /%d HTTP/1.1\r\nhost: x\r\nfiller: %s\r\n\r\n" % (number, b"f" * 900)
            made.sendall(line)
            assert seen(read(made))["path"] == f"/{number}"


def test_trailers_are_no_headers(server: Server) -> None:
    got = seen(server.send(CHUNKED + b"2\r\nhi\r\n0\r\nauthorization: x\r\n\r\n"))
    assert (got["body"], got["headers"]) == ("hi", ["host", "transfer-encoding"])


def test_only_so_many_requests_are_taken_before_an_answer(server: Server) -> None:
    with server.connect() as made, contextlib.suppress(ConnectionError):
        made.sendall(GET * 2_000)
        assert read(made).count(b"HTTP/1.1") < 2_000
    assert seen(server.send(GET))["path"] == "/a"


# Times: in each phase, the peer says nothing more


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nhost: x\r\n",
        post(10) + b"12345",
        CHUNKED + b"5\r\n123",
        GET,  # idle between two requests
        GET + b"GET /b HTT",
        b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n",  # answered before its body
        b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n",  # which nobody reads
        b"GET /big HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    ],
)
def test_a_silent_peer_is_disconnected_in_every_phase(quick: Server, sent: bytes) -> None:
    with quick.connect() as made:
        made.sendall(sent)
        wait_until(lambda: quick.connections == 1, "the connection", 5)
        wait_until(lambda: quick.connections == 0, "the connection to be closed", 10)


def test_bytes_that_drip_do_not_prolong_a_head(quick: Server) -> None:
    with quick.connect() as made:
        made.sendall(b"GET / HTTP/1.1\r\n")

        def dripped() -> bool:
            with contextlib.suppress(ConnectionError):
                made.sendall(b"a: b\r\n")
            return quick.connections == 0

        wait_until(dripped, "the connection to be closed", 10)


# Connections and proxies


def test_one_address_has_a_bounded_number_of_connections() -> None:
    with serving(PATIENT, limits(per_address=3)) as server, contextlib.ExitStack() as stack:
        held = [stack.enter_context(server.connect()) for _ in range(3)]
        wait_until(lambda: server.connections == 3, "the connections")
        assert status(server.send(GET)) == 429
        assert seen(server.send(GET, source="127.0.0.3"))["client"] == "127.0.0.3"
        assert seen(server.send(GET, source="127.0.0.1"))["client"] == "127.0.0.1"
        held[0].close()
        wait_until(lambda: server.connections == 2, "one to be closed")
        assert status(server.send(GET)) == 200


def test_connections_too_many_of_one_address_take_no_room_of_others() -> None:
    """Although it leaves each of them open, and reads nothing."""
    with (
        serving(PATIENT, limits(per_address=3, total=5)) as server,
        contextlib.ExitStack() as stack,
    ):
        made = [stack.enter_context(server.connect()) for _ in range(30)]
        answers = [read(connection) for connection in made[3:]]
        assert seen(server.send(GET, source="127.0.0.3"))["client"] == "127.0.0.3"
        assert [status(answer) for answer in answers] == [429] * MAX_TOLD + [0] * (27 - MAX_TOLD)
        wait_until(lambda: server.connections == 3 + MAX_TOLD, "the others to be dropped")


def test_all_addresses_together_have_a_bounded_number_of_connections() -> None:
    with serving(PATIENT, limits(total=2)) as server:
        with server.connect(), server.connect("127.0.0.3"):
            wait_until(lambda: server.connections == 2, "the connections")
            assert status(server.send(GET, source="127.0.0.4")) == 429
        wait_until(lambda: server.connections == 0, "the connections to be closed")
        assert status(server.send(GET, source="127.0.0.4")) == 200


def forwarded(server: Server, named: bytes, source: str = "127.0.0.1") -> Any:
    more = b"x-forwarded-for: %s\r\nx-forwarded-proto: https\r\n" % named
    request = b"GET / HTTP/1.1\r\nhost: x\r\n" + more + b"\r\n"
    got = seen(server.send(request, source=source))
    return got["client"], got["scheme"]


def test_only_a_trusted_proxy_says_who_asks(server: Server) -> None:
    assert forwarded(server, b"192.0.2.7") == ("192.0.2.7", "https")
    assert forwarded(server, b"192.0.2.7", STRANGER) == (STRANGER, "http")
    assert forwarded(server, b"6.6.6.6, 192.0.2.7, 10.1.2.3") == ("192.0.2.7", "https")
    assert forwarded(server, b"[2001:db8::1]:443")[0] == "2001:db8::1"
    assert forwarded(server, b"nonsense")[0] == "127.0.0.1"


def test_behind_a_proxy_each_visitor_has_a_bound_of_their_own() -> None:
    bounded_to = limits(per_address=2)
    assert [bounded_to.begun("192.0.2.7") for _ in range(3)] == [True, True, False]
    assert bounded_to.begun("192.0.2.8")
    for _ in range(3):
        bounded_to.ended("192.0.2.7")
    assert bounded_to.begun("192.0.2.7")


def test_a_network_of_64_bits_is_one_address() -> None:
    counted = limits(per_address=2)
    became = [counted.connected(f"2001:db8::{n}") for n in range(3)]
    assert became == [Connecting.ADMITTED, Connecting.ADMITTED, Connecting.TOLD]
    assert counted.connected("2001:db8:0:1::1") is Connecting.ADMITTED


def test_an_address_that_sends_nonsense_again_and_again_is_not_listened_to() -> None:
    with serving(PATIENT, limits()) as server:
        answers = [status(server.send(b"nonsense\r\n\r\n")) for _ in range(30)]
        assert answers == [400] * MAX_REFUSED + [0] * (30 - MAX_REFUSED), "closed without a word"
        assert status(server.send(GET)) == 0, "whatever comes next"
        assert status(server.send(GET, source="127.0.0.3")) == 200
        assert status(server.send(b"nonsense\r\n\r\n", source="127.0.0.1")) == 400


def test_refusals_are_one_line_a_minute_and_none_is_lost(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(PATIENT, Forgiving()) as server:
        for _ in range(30):
            assert status(server.send(b"nonsense\r\n\r\n")) == 400
        assert refusals(caplog) == ["Refused at the HTTP server: 1 malformed"]
        monkeypatch.setattr(address_limits, "LOG_EVERY_S", 0.0)  # the minute is over
        assert status(server.send(b"nonsense\r\n\r\n")) == 400
        assert refusals(caplog)[1:] == ["Refused at the HTTP server: 30 malformed"]
    assert "nonsense" not in caplog.text


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if "Refused" in r.message]


# Offers to switch protocols


@pytest.mark.parametrize("offer", OFFERS)
def test_an_offer_is_ignored_in_any_split(server: Server, offer: bytes) -> None:
    request = post(11, offer) + b"hello world"
    for cut in range(0, len(request), 7):
        got = seen(server.send(request[:cut], request[cut:]))
        assert got["body"] == "hello world"
    with server.connect() as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request:
            made.send(bytes([byte]))
        assert seen(read(made))["body"] == "hello world"


def test_offers_with_chunks_and_one_after_another(server: Server) -> None:
    chunked = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n" + OFFERS[0] + b"\r\n"
    assert seen(server.send(chunked + b"2\r\nhi\r\n0\r\n\r\n"))["body"] == "hi"
    with server.connect() as made:
        for text in (b"one", b"two"):
            made.sendall(post(3, OFFERS[0]) + text)
            assert seen(read(made))["body"] == text.decode()


def test_connect_and_http2_are_refused(server: Server) -> None:
    assert status(server.send(b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n")) == 405
    assert status(server.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) == 400


# Anything at all

PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /a HTTP/1.1\r\n",
        b"CONNECT a HTTP/1.1\r\n",
        b"host: x\r\n",
        b"content-length: 5\r\n",
        b"content-length: -1\r\n",
        b"transfer-encoding: chunked\r\n",
        b"expect: 100-continue\r\n",
        b"x-forwarded-for: ,,[,\r\n",
        b" folded\r\n",
        b"ffffffffffffffff\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n",
        b"a" * 9_000,
        *(b"\r\n", b"\n", b"\r", b"hello", b"\x00"),
        *OFFERS,
    ]
)


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")), deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=12))
def test_no_bytes_bring_the_server_down(server: Server, parts: list[bytes]) -> None:
    with server.connect() as made:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                made.sendall(part)
            made.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while made.recv(65_536):
                pass
    wait_until(lambda: server.connections == 0, "the connection to be closed", 10)
