"""The fake is as strict as Slack: what it lets through, the tests of the bot believe."""

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from tests.fake_slack import FakeSlack
from tests.fake_slack.transports import SignedHttp
from tests.fake_slack.workspace import BOT_TOKEN, PER_MINUTE, SIGNING_SECRET, Message

pytestmark = pytest.mark.usefixtures("asked")
RECIPIENT = {"recipient_team_id": "T1", "recipient_user_id": "U2"}
BUTTON = {"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "x"}}
MODAL = {"type": "modal", "title": {"type": "plain_text", "text": "x"}, "blocks": []}


@pytest.fixture
async def slack(monkeypatch: pytest.MonkeyPatch) -> Any:
    fake = FakeSlack()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def client(slack: FakeSlack) -> AsyncWebClient:
    return AsyncWebClient(BOT_TOKEN, base_url=slack.api_url, retry_handlers=[])


@pytest.fixture
def asked(slack: FakeSlack) -> Message:
    return slack.add(Message("C1", slack.next_ts(), "U2", "Where?"))


async def refused(call: Any) -> str:
    """Slack's error code."""
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


async def stream(client: AsyncWebClient, asked: Message, **more: Any) -> str:
    given = {"markdown_text": "Half ", **RECIPIENT, **more}
    begun = await client.chat_startStream(channel="C1", thread_ts=asked.ts, **given)
    return str(begun["ts"])


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["startStream", "stopStream", "appendStream", "update"])
async def test_a_call_too_many_is_refused_with_429_and_when_to_try_again(
    slack: FakeSlack, client: AsyncWebClient, asked: Message, method: str
) -> None:
    most = PER_MINUTE[f"chat.{method}"]
    for _ in range(most):
        await refused(client.api_call(f"chat.{method}", json={"channel": "C1", "ts": "0"}))
    with pytest.raises(SlackApiError) as caught:
        await client.api_call(f"chat.{method}", json={"channel": "C1", "ts": "0"})
    assert caught.value.response.status_code == 429
    assert int(caught.value.response.headers["Retry-After"]) >= 1


def test_the_limits_are_those_that_slack_publishes() -> None:
    expected = {"startStream": 20, "stopStream": 20, "appendStream": 100, "update": 50}
    assert {m: PER_MINUTE[f"chat.{m}"] for m in expected} == expected
    assert {PER_MINUTE[f"views.{m}"] for m in ("open", "publish", "update")} == {100}


async def test_a_minute_later_there_is_room_again(slack: FakeSlack, client: AsyncWebClient) -> None:
    slack.per_minute["users.info"] = 1
    at = 100.0
    slack.now = lambda: at
    await client.users_info(user="U2")
    assert await refused(client.users_info(user="U2")) == "ratelimited"
    at += 61
    await client.users_info(user="U2")


# -- streams -------------------------------------------------------------------------------------


async def test_a_stream_that_is_open_takes_no_update_and_one_that_is_not_no_piece(
    slack: FakeSlack, client: AsyncWebClient, asked: Message
) -> None:
    ts = await stream(client, asked)
    where = {"channel": "C1", "ts": ts}
    assert await refused(client.chat_update(**where, text="x")) == "streaming_state_conflict"
    await client.chat_appendStream(**where, markdown_text="an answer")
    await client.chat_stopStream(**where)
    for late in (
        client.chat_appendStream(**where, markdown_text="x"),
        client.chat_stopStream(**where),
    ):
        assert await refused(late) == "message_not_in_streaming_state"
    assert slack.messages["C1", ts].words == "Half an answer"


async def test_a_stream_ends_by_itself_after_five_minutes(
    slack: FakeSlack, client: AsyncWebClient, asked: Message
) -> None:
    at = 100.0
    slack.now = lambda: at
    ts = await stream(client, asked)
    at += 301
    late = client.chat_appendStream(channel="C1", ts=ts, markdown_text="x")
    assert await refused(late) == "message_not_in_streaming_state"


async def test_a_stream_that_the_person_stopped_takes_nothing(
    slack: FakeSlack, client: AsyncWebClient, asked: Message
) -> None:
    ts = await stream(client, asked)
    slack.messages["C1", ts].stopped = True
    late = client.chat_appendStream(channel="C1", ts=ts, markdown_text="x")
    assert await refused(late) == "stopped_by_user"


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"recipient_user_id": None}, "missing_recipient_user_id"),
        ({"recipient_team_id": None}, "missing_recipient_team_id"),
        ({"markdown_text": "x" * 12_001}, "msg_too_long"),
    ],
)
async def test_a_stream_begins_only_as_slack_lets_it(
    client: AsyncWebClient, asked: Message, more: dict[str, Any], error: str
) -> None:
    assert await refused(stream(client, asked, **more)) == error


# -- messages and forms --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "blocks",
    [
        [{"type": "divider"}] * 51,
        [{"type": "markdown", "text": "x" * 6_001}] * 2,
        [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}}],
        [{"type": "section", "text": {"type": "mrkdwn", "text": ""}}],
        [{"type": "actions", "elements": [BUTTON, BUTTON]}],
        [{"type": "actions", "elements": [{**BUTTON, "value": "x" * 2_001}]}],
        [{"type": "input", "label": {"type": "plain_text", "text": "x"}}],
    ],
)
async def test_blocks_that_slack_does_not_take_are_refused(
    client: AsyncWebClient, blocks: list[dict[str, Any]]
) -> None:
    given = {"text": "x", "blocks": blocks, "unfurl_links": False, "unfurl_media": False}
    assert await refused(client.chat_postMessage(channel="C1", **given)) == "invalid_blocks"


async def test_what_else_slack_refuses(
    slack: FakeSlack, client: AsyncWebClient, asked: Message
) -> None:
    ts = await stream(client, asked)
    await client.chat_stopStream(channel="C1", ts=ts)
    long = client.chat_update(channel="C1", ts=ts, text="x" * 4_001)
    assert await refused(long) == "msg_too_long"
    theirs = client.chat_update(channel="C1", ts=asked.ts, text="x")
    assert await refused(theirs) == "cant_update_message"
    assert await refused(client.chat_postMessage(channel="C9", text="x")) == "not_in_channel"
    stranger = AsyncWebClient("xoxb-wrong", base_url=slack.api_url, retry_handlers=[])
    assert await refused(stranger.auth_test()) == "invalid_auth"


async def test_a_trigger_opens_one_form_within_three_seconds(
    slack: FakeSlack, client: AsyncWebClient
) -> None:
    at = 100.0
    slack.now = lambda: at
    once, late = slack.trigger(), slack.trigger()
    await client.views_open(trigger_id=once, view=MODAL)
    again = client.views_open(trigger_id=once, view=MODAL)
    assert await refused(again) == "exchanged_trigger_id"
    at += 3.1
    assert await refused(client.views_open(trigger_id=late, view=MODAL)) == "expired_trigger_id"


# -- deliveries ----------------------------------------------------------------------------------


async def test_what_is_not_acknowledged_comes_again_three_times_with_its_number(
    slack: FakeSlack,
) -> None:
    """Each signed, with the same event's id."""
    seen: list[tuple[str, str]] = []

    async def deaf(request: web.Request) -> web.Response:
        body, headers = await request.read(), dict(request.headers)
        assert SignatureVerifier(SIGNING_SECRET).is_valid_request(body, headers)
        assert not SignatureVerifier("another").is_valid_request(body, headers)
        event_id = (await request.json())["event_id"]
        seen.append((event_id, request.headers.get("X-Slack-Retry-Num", "")))
        return web.Response(status=500)

    app = web.Application()
    app.router.add_post("/slack/events", deaf)
    async with TestServer(app) as server:
        slack.transport = SignedHttp(str(server.make_url("/slack/events")))
        await slack.event({"type": "x"})
        await slack.transport.close()
    slack.transport = slack.socket
    assert [number for _, number in seen] == ["", "1", "2", "3"]
    assert len({event_id for event_id, _ in seen}) == 1


async def test_over_the_socket_what_is_not_acknowledged_comes_again(
    slack: FakeSlack, client: AsyncWebClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fake_slack.transports.ACK_WITHIN_S", 0.1)
    session = client.session = aiohttp.ClientSession()
    seen: list[int] = []
    async with session, session.ws_connect(slack.api.socket_url) as socket:
        assert (await socket.receive_json())["type"] == "hello"
        delivering = asyncio.create_task(slack.event({"type": "x"}))
        for _ in range(3):
            envelope = await socket.receive_json()
            seen.append(envelope["retry_attempt"])
        await socket.send_json({"envelope_id": envelope["envelope_id"]})
        (ack,) = await delivering
    assert (seen, ack.status) == ([0, 1, 2], 200)
