"""HTTP/1.1 with bounds: what one connection may take of the server, in size and in time.

uvicorn's protocol reads a request head of any size for any time. Here the head, the body, an idle
connection, and a peer who does not read all have a limit, so that a connection is closed in every
phase. `address_limits.py` bounds how many connections one address may open.

An offer to switch protocols (`Upgrade: h2c` from Java's HttpClient, `websocket`) is ignored, as RFC
9110, section 7.8, allows: the request is parsed again without the offer, because the parser would
take its body for the other protocol.
"""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from bot.runtime.address_limits import AddressLimits, Connecting

OFFER = (b"upgrade", b"http2-settings")
TOO_MANY = "over the number of connections"
FAULTS = ("malformed", "too large")
MALFORMED = (400, "malformed", "This is not a valid HTTP/1.1 request.")


@dataclass(frozen=True)
class Bounds:
    """Sizes in bytes, times in seconds."""

    url: int = 8_192
    head: int = 32_768
    headers: int = 128  # lines
    body: int = 8_000_000  # as sent, with the framing of its chunks; the application takes less
    between_chunks: int = 32_768  # chunk extensions and trailers
    pipelined: int = 16  # requests that are sent before the answer to an earlier one
    discarded: int = 262_144  # what is read after a refusal, so that the refusal can be read
    head_s: float = 20.0
    body_s: float = 35.0  # longer than the application waits, which says so in its own words
    flush_s: float = 10.0  # to read the rest of a response that is complete
    stalled_s: float = 60.0  # without reading a response that waits


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, limits: AddressLimits, bounds: Bounds, **more: Any) -> None:
        super().__init__(*args, **more)
        self._limits = limits
        self._bounds = bounds
        self._peer = ""
        self._connecting = Connecting.DROPPED
        self._visitors: list[str] = []  # of the requests in progress that came through a proxy
        self._receiving: asyncio.TimerHandle | None = None  # the time limit of a head or a body
        self._sending: asyncio.TimerHandle | None = None  # the time limit of what the peer reads
        self._in_body = False
        self._offered = False  # this head offers another protocol
        self._unframed = 0  # bytes since the last complete head or the last byte of a body
        self._body_bytes = 0
        self._head_bytes = 0
        self._progressed = False
        self._refusal = MALFORMED
        self._discarding = False
        self._discarded = 0

    # -- the connection ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else ""
        self._limit_receiving(self._bounds.head_s)
        self._connecting = self._limits.connected(self._peer)
        if self._connecting is Connecting.DROPPED:
            self._discarding = True
            shunned = self._limits.shuns(self._peer)
            self._limits.refused("of a shunned address" if shunned else TOO_MANY)
            self.transport.abort()
        elif self._connecting is Connecting.TOLD:
            self._refuse(429, TOO_MANY, "Too many connections.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._limits.disconnected(self._peer, self._connecting)
        for visitor in self._visitors:
            self._limits.ended(visitor)
        self._visitors.clear()
        for timer in (self._receiving, self._sending):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            self._discarded += len(data)
            if self._discarded > self._bounds.discarded:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        if self._receiving is None:  # the first bytes of a request
            self._limit_receiving(self._bounds.head_s)
        self._progressed = False
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(*self._refusal)
            return
        self._check_size(len(data))

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as end:
                data = self._head_without_offer() + data[end.args[0] :]
            else:
                return

    def _check_size(self, received: int) -> None:
        """Refuse what has not become a complete head, or a body, within its limit."""
        self._unframed = 0 if self._progressed else self._unframed + received
        self._body_bytes = self._body_bytes + received if self._in_body else 0
        if self._in_body and self._unframed > self._bounds.between_chunks:
            self._refuse(400, "too large", "The body has too much between its chunks.")
        elif self._body_bytes > self._bounds.body:
            self._refuse(413, "too large", "The body is too large.")
        elif not self._in_body and self._unframed > self._bounds.head + self._bounds.url:
            self._refuse(431, "too large", "The head of the request is too large.")

    # -- the parser's callbacks --------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._offered, self._head_bytes = False, 0

    def on_url(self, url: bytes) -> None:
        if len(self.url) + len(url) > self._bounds.url:
            self._stop(414, "too large", "The address of the request is too long.")
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # a trailer, which nothing here reads
        self._head_bytes += len(name) + len(value) + 4
        too_many = len(self.headers) >= self._bounds.headers
        if self._head_bytes > self._bounds.head or too_many:
            self._stop(431, "too large", "The head of the request is too large.")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop(405, "malformed", "This is not a proxy.")
            self._offered = True  # the head is parsed again, without the offer
            return
        if len(self.pipeline) >= self._bounds.pipelined:
            self._stop(429, "over the number of requests", "Too many requests at once.")
        self._in_body, self._progressed, self._body_bytes = True, True, 0
        self._limit_receiving(self._bounds.body_s)
        self._find_visitor()
        super().on_headers_complete()
        if self.parser.get_http_version() == "1.0":
            self.cycle.__class__ = CloseDelimitedCycle  # uvicorn makes no other kind

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._offered:
            return
        self._in_body, self._progressed = False, True
        self._limit_receiving(None)
        super().on_message_complete()
        if self.cycle.response_complete and not self.pipeline and self.cycle.keep_alive:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        if self._visitors:
            self._limits.ended(self._visitors.pop(0))
        super().on_response_complete()
        if self.transport.is_closing():
            self._limit_sending(self._bounds.flush_s)

    def _head_without_offer(self) -> bytes:
        """The head that was parsed last, without its offer, for a new parser."""
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name not in OFFER]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"\r\n".join([*lines, b"", b""])

    def _find_visitor(self) -> None:
        """Set who sent the request, and how, as a trusted proxy says; count it for that address."""
        if not self._limits.trusts(self._peer):
            return
        named = b",".join(value for name, value in self.headers if name == b"x-forwarded-for")
        visitor = self._limits.visitor(self._peer, named.decode("latin-1"))
        schemes = [value for name, value in self.headers if name == b"x-forwarded-proto"]
        if schemes and schemes[-1].strip().lower() in (b"http", b"https"):
            self.scope["scheme"] = schemes[-1].strip().lower().decode()
        prefixes = [value for name, value in self.headers if name == b"x-forwarded-prefix"]
        if prefixes:
            self.scope["root_path"] = prefixes[-1].strip().decode("latin-1")
        if visitor != self._peer:
            self.scope["client"] = (visitor, 0)
        self._visitors.append(visitor)
        if not self._limits.begun(visitor):
            self._stop(429, "over the number of requests", "Too many requests at once.")

    # -- the time limits ---------------------------------------------------------------------

    def _limit_receiving(self, seconds: float | None) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
        self._receiving = None
        if seconds is not None:
            self._receiving = self.loop.call_later(seconds, self._received_too_slowly)

    def _received_too_slowly(self) -> None:
        if self._unframed or self._in_body or self._head_bytes:
            self._refuse(408, "too slow", "The request did not arrive in time.")
        else:
            self._close()

    def _limit_sending(self, seconds: float) -> None:
        if self._sending is not None:
            self._sending.cancel()
        self._sending = self.loop.call_later(seconds, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._limit_sending(self._bounds.stalled_s)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._sending is not None:
            self._sending.cancel()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _close(self) -> None:
        """Close the connection, and abort it if the peer does not read the rest."""
        if not self.transport.is_closing():
            self.transport.close()
        self._limit_sending(self._bounds.flush_s)

    # -- refusals ----------------------------------------------------------------------------

    def _stop(self, status: int, reason: str, sentence: str) -> None:
        """Refuse the request from inside a callback of the parser."""
        self._refusal = (status, reason, sentence)
        raise ValueError(sentence)

    def _refuse(self, status: int, reason: str, sentence: str) -> None:
        """Answer with an error, unless another answer is being sent, and close the connection."""
        self._limits.refused(reason)
        if reason in FAULTS:
            self._limits.fault(self._peer)
        if self._discarding or self.transport.is_closing():
            return
        self._discarding = True
        answering = self.cycle is not None and not self.cycle.response_complete
        if self.cycle is not None:
            self.cycle.disconnected = answering
            self.cycle.message_event.set()
        if not (answering and self.cycle.response_started):
            self.transport.write(_response(status, sentence))
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._limit_sending(self._bounds.flush_s)

    def send_400_response(self, msg: str) -> None:
        """What uvicorn itself refuses."""
        self._refuse(*MALFORMED)


class CloseDelimitedCycle(RequestResponseCycle):
    """A response over HTTP/1.0, which knows no chunks: what has no length ends with the connection
    (RFC 9112, section 6.3)."""

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            named = {name.lower() for name, _ in message.get("headers", ())}
            if b"content-length" not in named:
                self.chunked_encoding = False
                self.close_delimited = True
        elif getattr(self, "close_delimited", False):
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


def _response(status: int, sentence: str) -> bytes:
    kind = "rate_limit_error" if status == 429 else "invalid_request_error"
    error = {"message": sentence, "type": kind, "param": None, "code": None}
    body = orjson.dumps({"error": error})
    head = (
        b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n"
        b"cache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n" % len(body)
    )
    return STATUS_LINE[status] + head + body


def bounded(limits: AddressLimits, bounds: Bounds | None = None) -> Callable[..., Any]:
    """The protocol, as uvicorn's configuration takes it."""
    return functools.partial(BoundedHttpProtocol, limits=limits, bounds=bounds or Bounds())
