"""`FakeSlack`: the workspace as people use it, served on a free port of loopback."""

import asyncio
import html
import re
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.fake_slack import rules
from tests.fake_slack.transports import ACK_WITHIN_S, Ack, SignedHttp, Socket
from tests.fake_slack.web_api import WebApi
from tests.fake_slack.workspace import BOT_TOKEN, BOT_USER, TEAM, Json, Message, Workspace

RETRIES = 3


class FakeSlack(Workspace):
    """People say, click, react and command; the bot is reached over `transport`."""

    def __init__(self) -> None:
        super().__init__()
        self.api = WebApi(self)
        self.socket = Socket()
        self.transport: SignedHttp | Socket = self.socket
        self.acks: list[Ack] = []
        self.typed: set[str] = set()  # what people wrote, wherever it was
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
        app.router.add_post("/upload/{id}", self._upload)
        app.router.add_get("/files/{id}", self._download)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        self.api.socket_url = f"ws://127.0.0.1:{port}/socket"
        self.api.upload_url = f"{self.url}/upload"

    async def stop(self) -> None:
        await self.transport.close()
        await self.socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _upload(self, request: web.Request) -> web.Response:
        file = self.files.get(request.match_info["id"])
        if file is None:
            return web.Response(status=404)
        file["content"] = await request.read()
        return web.Response(text=f"OK - {len(file['content'])}")

    async def _download(self, request: web.Request) -> web.StreamResponse:
        """Somebody's file; without the scope, Slack's sign-in page."""
        granted = request.headers.get("Authorization") == f"Bearer {BOT_TOKEN}" and self.may_read
        if not granted:
            return web.Response(text="<html>Sign in</html>", content_type="text/html")
        name = request.match_info["id"]
        return web.Response(body=self.sent_files[name], content_type="application/octet-stream")

    def send_file(self, name: str, content: bytes, mimetype: str = "text/plain") -> Json:
        """A file as it stands in the event of the message that it comes with."""
        self.sent_files[name] = content
        url = f"{self.url}/files/{name}"
        about = {"id": f"F{self.next_id()}", "name": name, "mimetype": mimetype}
        return {**about, "size": len(content), "url_private_download": url}

    def attach(self, message: Message, *files: Json) -> None:
        """The files that Slack lists with the message from now on."""
        message.files = list(files)

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

    async def command(self, user: str, channel: str, text: str, times: int = 1) -> Ack:
        payload = {
            "command": "/understudy",
            "text": _escaped(text),
            "user_id": user,
            "user_name": self.users.get(user, user),
            "team_id": TEAM,
            "channel_id": channel,
            "channel_name": "general",
            "api_app_id": "A1",
            "trigger_id": self.trigger(),
            "response_url": self.response_url(),
        }
        sent = [self._send("slash_commands", payload) for _ in range(times)]
        return (await asyncio.gather(*sent))[0]

    async def click(
        self,
        user: str,
        message: Message,
        action_id: str,
        value: str,
        times: int = 1,
        at: str = "",  # when it was clicked, as Slack says
    ) -> list[Ack]:
        """Press a button of a message, the same click delivered `times` times."""
        kind = "feedback_buttons" if action_id == "feedback" else "button"
        thread = {"thread_ts": message.thread_ts} if message.thread_ts else {}
        is_ephemeral = (message.channel, message.ts) not in self.messages
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
                "is_ephemeral": is_ephemeral,
                **thread,
            },
            "message": {"ts": message.ts, "user": BOT_USER, **thread},
            "actions": [
                {
                    "type": kind,
                    "action_id": action_id,
                    "block_id": "b",
                    "value": value,
                    "action_ts": at or self.next_ts(),
                }
            ],
        }
        copies = [self._send("interactive", payload, 0) for _ in range(times)]
        return list(await asyncio.gather(*copies))

    async def thumb(
        self, user: str, message: Message, up: bool, times: int = 1, at: str = ""
    ) -> list[Ack]:
        element = message.elements("feedback")[0]
        button = element["positive_button" if up else "negative_button"]
        return await self.click(user, message, "feedback", button["value"], times, at)

    async def press(self, user: str, message: Message, action_id: str, times: int = 1) -> list[Ack]:
        value = message.elements(action_id)[0]["value"]
        return await self.click(user, message, action_id, value, times)

    async def submit(self, user: str, view: Json, times: int = 1, **values: str | bool) -> Ack:
        """Send a form with what was typed into it and ticked, by block id. What is not named
        stays as the form shows it."""
        inputs = [b for b in view["blocks"] if b["type"] == "input"]
        assert set(values) <= {b["block_id"] for b in inputs}, "the form has no such input"
        state = {
            b["block_id"]: {b["element"]["action_id"]: _filled(b["element"], values, b["block_id"])}
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
        sent = [self._send("interactive", payload) for _ in range(times)]
        ack = (await asyncio.gather(*sent))[0]
        shown = next((v for v in self.views if v["id"] == view.get("id")), None)
        if shown is not None and ack.status == 200:
            self._after_submission(shown, ack.payload)
        return ack

    def _after_submission(self, shown: Json, answer: Json) -> None:
        """A form that was sent closes, unless the acknowledgement says otherwise."""
        action = answer.get("response_action")
        if action == "update":
            self.problems += rules.view(answer["view"])
            kept = {"id": shown["id"]}
            shown.clear()
            shown.update({**answer["view"], **kept})
        elif action != "errors":
            shown["closed"] = True

    async def press_in(
        self, user: str, view: Json, label: str, times: int = 1, **more: Any
    ) -> list[Ack]:
        """Press the button with that label in an open form, or choose in a list of it."""
        actions = [b for b in view["blocks"] if b["type"] == "actions"]
        elements = [e for b in actions for e in b["elements"]]
        found = next(
            e
            for e in elements
            if e.get("text", {}).get("text") == label or e.get("action_id") == label
        )
        action = {k: found[k] for k in ("type", "action_id", "value") if k in found}
        payload = {
            "type": "block_actions",
            "team": {"id": TEAM, "domain": "fake"},
            "user": {"id": user, "team_id": TEAM},
            "api_app_id": "A1",
            "trigger_id": self.trigger(),
            "container": {"type": "view", "view_id": view["id"]},
            "view": dict(view),
            "actions": [{**action, "block_id": "b", **more}],
        }
        return list(
            await asyncio.gather(*(self._send("interactive", payload, 0) for _ in range(times)))
        )

    async def shortcut(self, user: str, message: Message, callback_id: str) -> Ack:
        """Use a shortcut of the bot's on a message."""
        thread = {"thread_ts": message.thread_ts} if message.thread_ts else {}
        said = {"type": "message", "user": message.user, "ts": message.ts, **thread}
        payload = {
            "type": "message_action",
            "callback_id": callback_id,
            "team": {"id": TEAM, "domain": "fake"},
            "user": {"id": user, "team_id": TEAM},
            "channel": {"id": message.channel, "name": "general"},
            "trigger_id": self.trigger(),
            "action_ts": self.next_ts(),
            "message_ts": message.ts,
            "message": {**said, "text": message.text or message.stream},
            "response_url": self.response_url(),
        }
        return await self._send("interactive", payload)

    async def press_home(
        self, user: str, action_id: str, chosen: str = "", *, times: int = 1, **more: str
    ) -> Ack:
        """Press a button of one's Home tab, or choose from its menu; `more` changes what Slack
        tells of the press."""
        element = next(
            e for e in _elements(self.homes[user]["blocks"]) if e.get("action_id") == action_id
        )
        action: Json = {"type": element["type"], "action_id": action_id, "block_id": "b"}
        if chosen:
            option = next(o for o in element["options"] if o["value"] == chosen)
            action["selected_option"] = option
        else:
            action["value"] = element["value"]
        payload = {
            "type": "block_actions",
            "team": {"id": TEAM, "domain": "fake"},
            "user": {"id": user, "team_id": TEAM},
            "api_app_id": "A1",
            "trigger_id": self.trigger(),
            "container": {"type": "view", "view_id": self.homes[user]["id"]},
            "view": self.homes[user],
            "actions": [{**action, "action_ts": self.next_ts(), **more}],
        }
        copies = [self._send("interactive", payload, 0) for _ in range(times)]
        return (await asyncio.gather(*copies))[0]

    async def open_home(self, user: str) -> None:
        event = {"type": "app_home_opened", "user": user, "channel": f"D{user}", "tab": "home"}
        await self.event({**event, "event_ts": self.next_ts()})

    def home_text(self, user: str) -> str:
        """The words on a Home tab."""
        return "\n".join(
            str(b["text"]["text"]) if "text" in b else "\n".join(e["text"] for e in b["elements"])
            for b in self.homes.get(user, {}).get("blocks", [])
            if "text" in b or b["type"] == "context"
        )

    async def react(
        self,
        user: str,
        message: Message,
        reaction: str,
        added: bool = True,
        times: int = 1,
        at: str = "",  # when, as Slack says
    ) -> None:
        event = {
            "type": "reaction_added" if added else "reaction_removed",
            "user": user,
            "reaction": reaction,
            "item": {"type": "message", "channel": message.channel, "ts": message.ts},
            "item_user": message.user,
            "event_ts": at or self.next_ts(),
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
        self.typed |= _typed(payload)
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


def _typed(payload: Json) -> set[str]:
    """The words in a delivery that somebody wrote: a message, a question, the inputs of a form."""
    event, view = payload.get("event", {}), payload.get("view", {})
    inputs = view.get("state", {}).get("values", {}).values()
    found = {str(i.get("value") or "") for block in inputs for i in block.values()}
    texts = (event.get("text"), event.get("message", {}).get("text"), payload.get("text"))
    found |= {str(text or "").removeprefix("ask ") for text in texts}
    return found - {""}


def _escaped(text: str) -> str:
    """What people type after a command of an app whose manifest says `should_escape`: people whom
    they choose from Slack's list come as ids, everything else comes as text."""
    parts = re.split(r"(<@[UW][A-Z0-9]+(?:\|[^<>]*)?>)", text)
    parts[::2] = [html.escape(part, quote=False) for part in parts[::2]]
    return "".join(parts)


def _filled(element: Json, values: dict[str, str | bool], block_id: str) -> Json:
    """An input of a form as Slack sends it."""
    if element["type"] == "checkboxes":
        ticked = element.get("initial_options", [])
        if block_id in values:
            ticked = element["options"] if values[block_id] else []
        return {"type": "checkboxes", "selected_options": ticked}
    if element["type"] == "static_select":
        option = element.get("initial_option")
        if block_id in values:
            option = next(o for o in element["options"] if o["value"] == values[block_id])
        return {"type": "static_select", "selected_option": option}
    if element["type"] == "users_select":
        return {"type": "users_select", "selected_user": values.get(block_id)}
    value = values.get(block_id, element.get("initial_value"))
    return {"type": "plain_text_input", "value": value or None}


def _elements(blocks: list[Json]) -> list[Json]:
    return [
        e
        for b in blocks
        for e in [*b.get("elements", []), *([b["accessory"]] if "accessory" in b else [])]
    ]


def _words(message: Json) -> str:
    shown = Message("", "", "", blocks=message.get("blocks", []))
    return (shown.words + shown.notes) or message.get("text", "")
