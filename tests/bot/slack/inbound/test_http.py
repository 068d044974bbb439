"""What reaches `/slack/events` and is not what Slack sends: 4xx, and nothing happens."""

import time

import pytest

from tests.bot.slack.conftest import Bot
from tests.fake_slack.transports import SignedHttp, sign

pytestmark = pytest.mark.parametrize("bot", ["http"], indirect=True)

BODY = b'{"type": "event_callback", "team_id": "T1", "event_id": "E1", "event": {"type": "x"}}'


@pytest.fixture
def http(bot: Bot) -> SignedHttp:
    assert isinstance(bot.slack.transport, SignedHttp)
    return bot.slack.transport


def headers(body: bytes = BODY, timestamp: str | None = None, **changed: str) -> dict[str, str]:
    at = timestamp if timestamp is not None else str(int(time.time()))
    return {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": at,
        "X-Slack-Signature": sign(body, at),
    } | {name.replace("_", "-"): value for name, value in changed.items()}


async def test_a_wrong_signature_is_401(http: SignedHttp) -> None:
    wrong = headers(X_Slack_Signature=sign(BODY, str(int(time.time())), "another secret"))
    assert (await http.raw(BODY, wrong)).status == 401


@pytest.mark.parametrize("signature", ["", "v0=", "v0=zz", "v1=" + "0" * 64, "é" * 10])
async def test_a_malformed_signature_is_401(http: SignedHttp, signature: str) -> None:
    assert (await http.raw(BODY, headers(X_Slack_Signature=signature))).status == 401


@pytest.mark.parametrize("name", ["X-Slack-Signature", "X-Slack-Request-Timestamp"])
async def test_a_missing_header_is_401(http: SignedHttp, name: str) -> None:
    sent = headers()
    del sent[name]
    assert (await http.raw(BODY, sent)).status == 401


@pytest.mark.parametrize("seconds", [-301, -86_400, 301, 86_400])
async def test_an_old_or_future_request_is_401(http: SignedHttp, seconds: int) -> None:
    then = str(int(time.time()) + seconds)
    assert (await http.raw(BODY, headers(timestamp=then))).status == 401


@pytest.mark.parametrize("timestamp", ["", "soon", "1e9", "-1", "9" * 400, "1.5", "nan", " 1"])
async def test_a_malformed_timestamp_is_401(http: SignedHttp, timestamp: str) -> None:
    assert (await http.raw(BODY, headers(timestamp=timestamp))).status == 401


async def test_a_body_that_is_not_utf8_is_4xx(http: SignedHttp) -> None:
    body = b'{"type": "\xff\xfe"}'
    assert 400 <= (await http.raw(body, headers(body))).status < 500


@pytest.mark.parametrize("body", [b"{", b"nonsense", b"[1, 2]", b"5", b"null", b'{"a": 1}x'])
async def test_json_that_is_not_an_object_is_4xx(http: SignedHttp, body: bytes) -> None:
    assert 400 <= (await http.raw(body, headers(body))).status < 500


async def test_a_form_with_an_invalid_payload_is_4xx(http: SignedHttp) -> None:
    body = b"payload=%7Bnope"
    form = headers(body, Content_Type="application/x-www-form-urlencoded")
    assert 400 <= (await http.raw(body, form)).status < 500


async def test_a_body_over_the_limit_is_413(http: SignedHttp) -> None:
    body = b'{"a": "' + b"x" * 1_100_000 + b'"}'
    assert (await http.raw(body, headers(body))).status == 413


async def test_the_address_is_verified_when_slack_asks(http: SignedHttp) -> None:
    body = b'{"type": "url_verification", "challenge": "c7", "token": "t"}'
    answer = await http.raw(body, headers(body))
    assert (answer.status, answer.payload) == (200, {"challenge": "c7"})


async def test_before_the_bot_has_joined_slack_gets_503(http: SignedHttp, bot: Bot) -> None:
    bot.front.workspaces.accepting = False
    assert (await http.raw(BODY, headers())).status == 503
    bot.front.workspaces.accepting = True


async def test_no_rejected_request_reaches_the_bot(
    http: SignedHttp, bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    secret = b'{"type": "event_callback", "event": {"type": "message", "text": "hush-hush"}}'
    await http.raw(secret, headers(secret, X_Slack_Signature="v0=no"))
    assert bot.rows("SELECT * FROM deliveries") == []
    assert "hush-hush" not in caplog.text
