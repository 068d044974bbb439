"""A small OpenID provider on loopback: discovery, authorisation, tokens. It signs in whoever it is
told to, at once, and checks what a client must send."""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.conftest import free_port, wait_until

CLIENT, SECRET = "understudy", "hush"


@dataclass
class OpenIdProvider:
    """`claims` go into the ID token; `changed` replace what would be true of it."""

    port: int = field(default_factory=free_port)
    claims: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refuses: str = ""
    says: str = ""  # instead of the discovery document
    up: threading.Event = field(default_factory=threading.Event)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def discovery(self, request: web.Request) -> web.StreamResponse:
        """In two pieces, as networks deliver what is long."""
        known = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
        }
        body = self.says.encode() or json.dumps(known).encode()
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(body[:20])
        await asyncio.sleep(0.1)
        await response.write(body[20:])
        await response.write_eof()
        return response

    async def authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        answer = f"error={self.refuses}" if self.refuses else f"code={code}"
        raise web.HTTPFound(f"{asked['redirect_uri']}?{answer}&state={asked['state']}")

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        asked = self.codes.pop(str(form["code"]), None)  # a code works once
        challenge = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        sound = (
            asked is not None
            and (form["client_id"], form["client_secret"]) == (CLIENT, SECRET)
            and form["grant_type"] == "authorization_code"
            and form["redirect_uri"] == asked["redirect_uri"]
            and asked["code_challenge"] == _b64(challenge)
        )
        if not sound or asked is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        about = {"iss": self.issuer, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 300}
        about |= {"nonce": asked["nonce"]} | self.claims | self.changed
        head, body = (_b64(json.dumps(p).encode()) for p in ({"alg": "HS256"}, about))
        signature = hmac.new(SECRET.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
        token = f"{head}.{body}.{_b64(signature)}"
        return web.json_response({"id_token": token, "access_token": "x", "token_type": "Bearer"})


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def provider() -> Iterator[OpenIdProvider]:
    """Serve one in a thread of its own."""
    subject, stop = OpenIdProvider(), threading.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", subject.discovery)
        app.router.add_get("/authorize", subject.authorize)
        app.router.add_post("/token", subject.token)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", subject.port).start()
        subject.up.set()
        while not stop.is_set():
            await asyncio.sleep(0.02)
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    wait_until(subject.up.is_set, "the provider to start", 10)
    try:
        yield subject
    finally:
        stop.set()
        thread.join()
