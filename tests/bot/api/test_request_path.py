"""HEAD, a slash at the end, and the prefix of a proxy; over real sockets where bytes matter."""

import socket
from typing import Any

import pytest

from bot.api import auth
from bot.api.request_path import routed
from data.config.settings import BotSettings
from tests.bot.api.test_routes import fill, routes
from tests.bot.conftest import Bot
from tests.serving.fake_vllm import words

HTTPS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}


def exchange(bot: Bot, sent: bytes) -> tuple[bytes, bytes]:
    """The head and the body of everything that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", bot.settings.bot.port), 10) as made:
        made.sendall(sent)
        got = b""
        while part := made.recv(65_536):
            got += part
    head, _, body = got.partition(b"\r\n\r\n")
    return head.lower(), body


def test_head_is_answered_wherever_get_is(bot: Bot) -> None:
    client = bot.http("admin")
    for method, path in routes(bot):
        if method == "GET":
            address = fill(path)
            got, head = client.get(address), client.head(address)

            assert (path, head.status_code) == (path, got.status_code)
            assert head.content == b""
            assert head.headers.get("content-type") == got.headers.get("content-type")


def test_head_sends_no_body(bot: Bot) -> None:
    asked = b"HEAD /web/chat.css HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"

    head, body = exchange(bot, asked)

    assert head.startswith(b"http/1.1 200")
    assert b"content-length: " in head
    assert body == b""


def test_head_of_a_route_without_get_is_refused(bot: Bot) -> None:
    assert bot.http("member").head("/v1/chat/completions").status_code == 405


def test_a_slash_at_the_end_changes_nothing(bot: Bot) -> None:
    client = bot.http("member")
    asked = {"model": "helpdesk", "messages": [{"role": "user", "content": "Who?"}]}

    assert client.get("/v1/models/").json() == client.get("/v1/models").json()
    assert client.post("/v1/chat/completions/", json=asked).status_code == 200
    assert client.get("/health/").status_code == 200
    assert client.get("/v1/models//").status_code == 404


def test_a_stream_over_http_1_0_has_no_chunks_and_ends_with_the_connection(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], "One", " job.")
    content = b'{"model":"helpdesk","stream":true,"messages":[{"role":"user","content":"Who?"}]}'
    key = bot.secrets["member"].encode()

    head, body = exchange(
        bot,
        b"POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer %s\r\n"
        b"connection: keep-alive\r\ncontent-length: %d\r\n\r\n%s" % (key, len(content), content),
    )

    assert b" 200 " in head
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")
    assert [line for line in body.split(b"\n") if line and not line.startswith(b"data: ")] == []


def test_an_answer_over_http_1_0_has_its_length(bot: Bot) -> None:
    head, body = exchange(bot, b"GET /web/chat.css HTTP/1.0\r\nhost: localhost\r\n\r\n")

    assert b"content-length: %d" % len(body) in head


class TestUnderAPrefix:
    @pytest.fixture
    def bot_settings(self) -> dict[str, Any]:
        return {"root_path": "/bot/"}

    def test_a_proxy_may_strip_the_prefix_or_not(self, bot: Bot) -> None:
        client = bot.http("member")

        assert client.get("/bot/v1/models").json() == client.get("/v1/models").json()
        assert client.get("/bot/health").status_code == 200
        assert client.get("/bots/health").status_code == 404

    def test_the_address_of_the_prefix_itself_leads_to_the_chat(self, bot: Bot) -> None:
        answer = bot.http().get("/bot")

        assert answer.status_code == 308
        assert answer.headers["location"] == "/bot/"
        assert bot.http().get("/bot/").status_code == 200

    def test_the_session_has_a_cookie_of_its_own(self, bot: Bot) -> None:
        cookie = bot.http().get("/bot/", headers=HTTPS).headers["set-cookie"]
        elsewhere = HTTPS | {"X-Forwarded-Prefix": "/other"}
        other = bot.http().get("/", headers=elsewhere)

        name = cookie.partition("=")[0]
        assert name.startswith(f"__Host-{auth.COOKIE}_")
        assert "Path=/;" in cookie
        assert not other.headers["set-cookie"].startswith(name)


def test_only_a_trusted_proxy_names_a_prefix(tmp_path: Any, vllm: Any) -> None:
    from tests.bot.conftest import answering

    prefix = {"X-Forwarded-Prefix": "/bot"}
    with answering(tmp_path, vllm, trusted_proxies=("192.0.2.1",)) as stranger:
        cookie = stranger.http().get("/", headers=prefix).headers["set-cookie"]
        assert cookie.startswith(f"{auth.COOKIE}=")
        assert stranger.http().get("/bot/health", headers=prefix).status_code == 404


@pytest.mark.parametrize("odd", ["bot", "/a//b", "/a b", "/<b>", "/" + "x" * 65, "/..%2f"])
def test_a_root_path_that_is_no_path_is_refused(odd: str) -> None:
    with pytest.raises(ValueError, match="is not a path such as"):
        BotSettings(root_path=odd)


def test_the_raw_path_follows_the_path() -> None:
    scope = {"path": "/bot/v1/models/", "raw_path": b"/bot/v1/models/", "root_path": "/bot"}

    assert routed(scope, "/bot") == {
        "path": "/v1/models",
        "raw_path": b"/v1/models",
        "root_path": "",
    }
