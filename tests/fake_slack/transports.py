"""How a delivery reaches the bot: a signed request, or an envelope over a websocket.

Both answer the same question: what was acknowledged, and after how long. A delivery that is not
acknowledged within three seconds, or refused, is delivered again (events only), at most three
times, with the retry number where the transport carries it.
"""

import asyncio
import hashlib
import hmac
import json
import time
import urllib.parse
import uuid
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from aiohttp import web

from tests.fake_slack.workspace import SIGNING_SECRET, Json

ACK_WITHIN_S = 3.0
KINDS = {"events_api": "event", "slash_commands": "command", "interactive": "interaction"}


@dataclass(frozen=True)
class Ack:
    """`status` 200 and the payload that came with it; 0 when nothing came in time."""

    status: int
    payload: Json
    seconds: float


class Transport(Protocol):
    async def send(self, kind: str, payload: Json, retry: int, reason: str) -> Ack: ...


def sign(body: bytes, timestamp: str, secret: str = SIGNING_SECRET) -> str:
    base = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


class SignedHttp:
    """Requests to the bot's address, as Slack signs and encodes them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = aiohttp.ClientSession()

    async def send(self, kind: str, payload: Json, retry: int = 0, reason: str = "") -> Ack:
        if kind == "events_api":
            body, content_type = json.dumps(payload).encode(), "application/json"
        else:
            form = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
            body = urllib.parse.urlencode(form).encode()
            content_type = "application/x-www-form-urlencoded"
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": content_type,
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": sign(body, timestamp),
        }
        if retry:
            headers |= {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": reason}
        return await self.raw(body, headers)

    async def raw(self, body: bytes, headers: dict[str, str]) -> Ack:
        began = time.monotonic()
        try:
            async with (
                asyncio.timeout(ACK_WITHIN_S),
                self._session.post(self.url, data=body, headers=headers) as response,
            ):
                text = await response.text()
        except (TimeoutError, aiohttp.ClientError):
            return Ack(0, {}, time.monotonic() - began)
        is_json = response.content_type == "application/json" and text
        payload: Any = json.loads(text) if is_json else {"text": text} if text else {}
        return Ack(response.status, payload, time.monotonic() - began)

    async def close(self) -> None:
        await self._session.close()


class Socket:
    """The server's end of Socket Mode: the bot connects, envelopes go out, acks come back."""

    def __init__(self) -> None:
        self.connections: list[web.WebSocketResponse] = []
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._transports: list[asyncio.Transport] = []
        self._connected = asyncio.Event()
        self.connected_times = 0
        self.dies = False  # whether a new connection stays open, and nothing comes of it

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        dead = self.dies
        socket = web.WebSocketResponse(autoping=not dead)
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1})
        self.connections.append(socket)
        transport = request.transport
        assert transport is not None
        self._transports.append(transport)
        self.connected_times += 1
        self._connected.set()
        try:
            async for message in socket:
                is_text = message.type == aiohttp.WSMsgType.TEXT
                if is_text and message.data.startswith("{") and not dead:
                    answer = json.loads(message.data)
                    waiting = self._waiting.get(answer.get("envelope_id", ""))
                    if waiting is not None and not waiting.done():
                        waiting.set_result(answer.get("payload") or {})
        finally:
            self.connections.remove(socket)
            self._transports.remove(transport)
            if not self.connections:
                self._connected.clear()
        return socket

    async def send(self, kind: str, payload: Json, retry: int = 0, reason: str = "") -> Ack:
        envelope_id = str(uuid.uuid4())
        envelope = {
            "envelope_id": envelope_id,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind != "events_api",
        }
        if kind == "events_api":
            envelope |= {"retry_attempt": retry, "retry_reason": reason}
        waiting = self._waiting[envelope_id] = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        try:
            async with asyncio.timeout(ACK_WITHIN_S):
                await self._connected.wait()
                await self.connections[-1].send_json(envelope)
                answer = await waiting
        except (TimeoutError, ConnectionError, IndexError):
            return Ack(0, {}, time.monotonic() - began)
        finally:
            del self._waiting[envelope_id]
        return Ack(200, answer, time.monotonic() - began)

    def drop(self) -> None:
        """The connections break, without a word; what waits for an acknowledgement gets none."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError())
        for transport in self._transports:
            transport.abort()

    async def ask_to_reconnect(self) -> None:
        """What Slack sends before it closes a connection for maintenance."""
        for socket in list(self.connections):
            await socket.send_json({"type": "disconnect", "reason": "refresh_requested"})

    async def close(self) -> None:
        for socket in list(self.connections):
            await socket.close()
