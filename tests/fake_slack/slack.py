"""`FakeSlack`: the workspace as people use it, served on a free port of loopback."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.fake_slack import rules
from tests.fake_slack.transports import ACK_WITHIN_S, Ack, SignedHttp, Socket
from tests.fake_slack.web_api import WebApi
from tests.fake_slack.workspace import BOT_USER, TEAM, Json, Message, Workspace

RETRIES = 3


class FakeSlack(Workspace):
    """People say, click, react and command; the bot is reached over `transport`."""

    def __init__(self) -> None:
        super().__init__()
        self.api = WebApi(self)
        self.socket = Socket()
        self.transport: SignedHttp | Socket = self.socket
        self.acks: list[Ack] = []
        self.retry_pause_s = 0.02
        self.retries = RETRIES
        self.url = ""
        self._runner: web.AppRunner | None = None

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    @property
    def faults(self) -> dict[str, list[str]]:
        """Method -> what its next calls shall come to."""
        return self.api.faults.planned

    async def start(self) -> None:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_route("*", "/api/{method}", self.api.handle)
        app.router.add_get("/socket", self.socket.handle)
        app.router.add_post("/response/{id}", self._response)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        self.api.socket_url = f"ws://127.0.0.1:{port}/socket"

    async def stop(self) -> None:
        await self.transport.close()
        await self.socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _response(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if self.response_urls.get(name, 0) < 1:
            return web.json_response({"ok": False, "error": "used_url"}, status=404)
        self.response_urls[name] -= 1
        message = await request.json()
        if problems := rules.blocks(message.get("blocks", [])):
            self.problems += problems
            return web.json_response({"ok": False, "error": "invalid_blocks"}, status=400)
        self.responses.append({**message, "to": name})
        return web.json_response({"ok": True})

    def response_url(self) -> str:
        name = f"r{self.next_id()}"
        self.response_urls[name] = 5
        return f"{self.url}/response/{name}"

    # -- people do something ---------------------------------------------------------------

    async def say(
        self,
        user: str,
        channel: str,
        text: str,
        thread_ts: str | None = None,
        times: int = 1,
        **more: Any,
    ) -> Message:
        """Somebody writes; the bot gets `message`, and `app_mention` when it is mentioned, each
        delivered `times` times."""
        message = self.add(Message(channel, self.next_ts(), user, text, thread_ts))
        await self.announce(message, times, **more)
        return message

    async def announce(self, message: Message, times: int = 1, **more: Any) -> None:
        is_dm = message.channel.startswith("D")
        event: Json = {
            "user": message.user,
            "text": message.text,
            "ts": message.ts,
            "channel": message.channel,
            "event_ts": message.ts,
            "team": TEAM,
            **({"thread_ts": message.thread_ts} if message.thread_ts else {}),
            **more,
        }
        kind = "im" if is_dm else "channel"
        sent = [self.event({"type": "message", "channel_type": kind, **event}, times)]
        if not is_dm and f"<@{BOT_USER}>" in message.text:
            sent.append(self.event({"type": "app_mention", **event}, times))
        await asyncio.gather(*sent)

    async def edit(self, message: Message, text: str, times: int = 1) -> None:
        """A person changes what they wrote; Slack sends no mention for it."""
        before, message.text = message.text, text
        edited = {"user": message.user, "ts": self.next_ts()}
        await self._became(message, {"text": text, "edited": edited}, before, times)

    async def unfurl(self, message: Message) -> None:
        """Slack shows a link's preview below a message: the same event, the same text."""
        preview = [{"title": "A page", "from_url": "https://a.example"}]
        await self._became(message, {"text": message.text, "attachments": preview}, message.text)

    async def delete(self, message: Message, times: int = 1) -> None:
        """A person deletes what they wrote. With replies below it, a tombstone stays."""
        if any(m.thread_ts == message.ts for m in self.messages.values()):
            stone = {"subtype": "tombstone", "text": "This message was deleted.", "hidden": True}
            await self._became(message, stone, message.text, times)
            return
        self.messages.pop((message.channel, message.ts), None)
        event = {"type": "message", "subtype": "message_deleted", "channel": message.channel}
        event |= {"deleted_ts": message.ts, "hidden": True, "event_ts": self.next_ts()}
        await self.event({**event, "ts": event["event_ts"]}, times)

    async def _became(self, message: Message, now: Json, before: str, times: int = 1) -> None:
        thread = {"thread_ts": message.thread_ts} if message.thread_ts else {}
        same = {"type": "message", "user": message.user, "ts": message.ts, **thread}
        event = {"type": "message", "subtype": "message_changed", "channel": message.channel}
        event |= {"hidden": True, "ts": self.next_ts(), "event_ts": self.next_ts()}
        changed = {"message": {**same, **now}, "previous_message": {**same, "text": before}}
        await self.event({**event, **changed}, times)

    async def event(
        self, event: Json, times: int = 1, event_id: str = "", team: str = TEAM
    ) -> list[Ack]:
        """Deliver an event, `times` times with the same id as if acknowledgements got lost."""
        payload = {
            "type": "event_callback",
            "team_id": team,
            "api_app_id": "A1",
            "event": event,
            "event_id": event_id or f"Ev{self.next_id()}",
            "event_time": int(time.time()),
            "authorizations": [{"team_id": team, "user_id": self.bot_of(team), "is_bot": True}],
        }
        copies = [self._deliver_event(payload, copy) for copy in range(times)]
        return list(await asyncio.gather(*copies))

    async def _deliver_event(self, payload: Json, copy: int) -> Ack:
        for attempt in range(self.retries + 1):
            ack = await self._send("events_api", payload, copy + attempt)
            if ack.status == 200:
                return ack
            await asyncio.sleep(self.retry_pause_s)
        return ack

    async def command(self, user: str, channel: str, text: str) -> Ack:
        payload = {
            "command": "/understudy",
            "text": text,
            "user_id": user,
            "user_name": self.users.get(user, user),
            "team_id": TEAM,
            "channel_id": channel,
            "channel_name": "general",
            "api_app_id": "A1",
            "trigger_id": self.trigger(),
            "response_url": self.response_url(),
        }
        return await self._send("slash_commands", payload)

    async def click(
        self, user: str, message: Message, action_id: str, value: str, times: int = 1
    ) -> list[Ack]:
        """Press a button of a message, the same click delivered `times` times."""
        kind = "feedback_buttons" if action_id == "feedback" else "button"
        thread = {"thread_ts": message.thread_ts} if message.thread_ts else {}
        payload = {
            "type": "block_actions",
            "team": {"id": TEAM, "domain": "fake"},
            "user": {"id": user, "team_id": TEAM},
            "api_app_id": "A1",
            "trigger_id": self.trigger(),
            "response_url": self.response_url(),
            "channel": {"id": message.channel, "name": "general"},
            "container": {
                "type": "message",
                "message_ts": message.ts,
                "channel_id": message.channel,
                **thread,
            },
            "message": {"ts": message.ts, "user": BOT_USER, **thread},
            "actions": [{"type": kind, "action_id": action_id, "block_id": "b", "value": value}],
        }
        copies = [self._send("interactive", payload, 0) for _ in range(times)]
        return list(await asyncio.gather(*copies))

    async def thumb(self, user: str, message: Message, up: bool, times: int = 1) -> list[Ack]:
        element = message.elements("feedback")[0]
        button = element["positive_button" if up else "negative_button"]
        return await self.click(user, message, "feedback", button["value"], times)

    async def press(self, user: str, message: Message, action_id: str, times: int = 1) -> list[Ack]:
        value = message.elements(action_id)[0]["value"]
        return await self.click(user, message, action_id, value, times)

    async def submit(self, user: str, view: Json, **values: str) -> Ack:
        """Send a form with what was typed into it, by block id."""
        inputs = [b for b in view["blocks"] if b["type"] == "input"]
        state = {
            b["block_id"]: {
                b["element"]["action_id"]: {
                    "type": "plain_text_input",
                    "value": values.get(b["block_id"]),
                }
            }
            for b in inputs
        }
        payload = {
            "type": "view_submission",
            "team": {"id": TEAM, "domain": "fake"},
            "user": {"id": user, "team_id": TEAM},
            "api_app_id": "A1",
            "trigger_id": self.trigger(),
            "view": {**view, "state": {"values": state}},
            "response_urls": [],
        }
        return await self._send("interactive", payload)

    async def react(
        self, user: str, message: Message, reaction: str, added: bool = True, times: int = 1
    ) -> None:
        event = {
            "type": "reaction_added" if added else "reaction_removed",
            "user": user,
            "reaction": reaction,
            "item": {"type": "message", "channel": message.channel, "ts": message.ts},
            "item_user": message.user,
            "event_ts": self.next_ts(),
        }
        await self.event(event, times)

    async def press_stop(self, user: str, message: Message, times: int = 1) -> None:
        """Slack ends the stream itself, then says so."""
        message.streaming_since = None
        message.stopped = True
        event = {"type": "agent_session_stopped", "channel": message.channel, "user": user}
        event |= {"thread_ts": message.thread_ts, "streaming_message_ts": [message.ts]}
        await self.event({**event, "event_ts": self.next_ts()}, times)

    async def open_messages_tab(self, user: str) -> None:
        event = {"type": "app_home_opened", "user": user, "channel": f"D{user}", "tab": "messages"}
        await self.event({**event, "event_ts": self.next_ts()})

    async def _send(self, kind: str, payload: Json, retry: int = 0) -> Ack:
        reason = "timeout" if retry else ""
        ack = await self.transport.send(kind, payload, retry, reason)
        self.acks.append(ack)
        if ack.seconds >= ACK_WITHIN_S:
            self.problems.append(f"{kind} was not acknowledged within three seconds")
        return ack

    # -- what a test waits for -------------------------------------------------------------

    async def until(self, true: Callable[[], Any], what: str, seconds: float = 8.0) -> Any:
        """Wait for something that the bot does in its own time; returns what `true` returned."""
        deadline = time.monotonic() + seconds
        while not (found := true()):
            assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
            await asyncio.sleep(0.01)
        return found

    async def answer_to(self, question: Message, count: int = 1, seconds: float = 8.0) -> Message:
        """The bot's finished answer to a question: the newest in its thread that has thumbs."""
        thread_ts = question.thread_ts or question.ts

        def finished() -> Message | None:
            found = self.in_thread(question.channel, thread_ts)
            done = [m for m in found if m.elements("feedback") and m.streaming_since is None]
            return done[count - 1] if len(done) >= count else None

        found: Message = await self.until(finished, "an answer with thumbs", seconds)
        return found

    def told(self, user: str) -> str:
        """What only that person was told, all of it."""
        private = [e for e in self.ephemerals if e["user"] == user]
        return "\n".join(_words(m) for m in [*private, *self.responses])


def _words(message: Json) -> str:
    shown = Message("", "", "", blocks=message.get("blocks", []))
    return (shown.words + shown.notes) or message.get("text", "")
