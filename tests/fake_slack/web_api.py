"""The Web API methods that the bot may call, with Slack's arguments, errors and rate limits.

`FaultPlan` lets a test make the next calls of a method fail: with an error code, with 429, with
500, or by breaking the connection before or after the call took effect.
"""

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from tests.fake_slack import rules
from tests.fake_slack.workspace import (
    APP_TOKEN,
    BOT_ID,
    CLIENT_ID,
    CLIENT_SECRET,
    Call,
    Json,
    Message,
    Workspace,
)

Fault = Literal["lost before", "lost after", "limited", "500"] | str  # also "lost at 17": bytes


class Refused(Exception):
    """`{"ok": false, "error": …}`."""

    def __init__(self, error: str, detail: str = "") -> None:
        super().__init__(error)
        self.error = error
        self.detail = detail


@dataclass
class FaultPlan:
    planned: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    retry_after_s: int = 1

    def next(self, method: str) -> Fault:
        return self.planned[method].pop(0) if self.planned[method] else ""


class WebApi:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.faults = FaultPlan()
        self.socket_url = ""
        self.upload_url = ""
        self.latency_s = 0.0  # of a call, half of it on the way there
        self.delays: dict[str, float] = {}  # method -> more seconds until it takes effect
        self.caller = ""  # the workspace whose token the present call has
        # asked before and after each call took effect: whether its caller is dead by then
        self.moment: Callable[[], bool] = lambda: False
        self._recent: dict[str, list[float]] = defaultdict(list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        args = await _arguments(request)
        await asyncio.sleep(self.latency_s / 2 + self.delays.get(method, 0.0))
        if self.moment():
            return _break(request)
        fault = self.faults.next(method)
        if fault == "lost before":
            return _break(request)
        if fault == "500":
            return web.Response(status=500, text="internal")
        if fault == "limited" or self._over(method, str(args.get("channel", ""))):
            self._record(method, args, "ratelimited")
            return web.json_response(
                {"ok": False, "error": "ratelimited"},
                status=429,
                headers={"Retry-After": str(self.faults.retry_after_s)},
            )
        try:
            planned = "" if fault.startswith("lost") else fault
            answer = self._call(method, args, request.headers.get("Authorization", ""), planned)
        except Refused as refused:
            self._record(method, args, refused.error)
            body: Json = {"ok": False, "error": refused.error}
            if refused.detail:
                body["response_metadata"] = {"messages": [refused.detail]}
            return web.json_response(body)
        self._record(method, args, "")
        if fault == "lost after" or self.moment():
            return _break(request)
        if fault.startswith("lost at "):
            return await _break_off(request, {"ok": True, **answer}, int(fault.split()[2]))
        await asyncio.sleep(self.latency_s / 2)
        return web.json_response({"ok": True, **answer})

    def _record(self, method: str, args: Json, error: str) -> None:
        self.workspace.calls.append(Call(method, args, error, self.workspace.now(), self.caller))

    def _over(self, method: str, channel: str) -> bool:
        """Whether the app has made too many calls of the method; one that is refused counts not."""
        space = self.workspace
        most, seconds, name = space.per_minute.get(method), 60.0, method
        if method == "chat.postMessage" and most is not None:  # bursts are let through, briefly
            most, seconds, name = space.posts_at_once, float(space.posts_at_once), method + channel
        if most is None:
            return False
        now = space.now()
        self._recent[name] = [at for at in self._recent[name] if now - at < seconds]
        if len(self._recent[name]) >= most:
            return True
        self._recent[name].append(now)
        return False

    def _call(self, method: str, args: Json, authorization: str, planned: Fault) -> Json:
        if planned == "message_not_in_streaming_state":  # it expired just now
            self._own(args).streaming_since = None
        if planned:
            raise Refused(planned)
        writes = method.startswith("chat.") and method != "chat.getPermalink"
        if writes and (code := self.workspace.refuses.get(str(args.get("channel", "")))):
            raise Refused(code)
        known: Callable[[Json], Json] | None = getattr(self, "do_" + method.replace(".", "_"), None)
        if known is None:
            self.workspace.problems.append(f"{method} is no method of the fake")
            raise Refused("unknown_method")
        token = authorization.removeprefix("Bearer ")
        self.caller = self.workspace.tokens.get(token, "")
        if method == "oauth.v2.access":  # the app itself calls it, by its id and secret
            return known({**args, "basic": authorization.removeprefix("Basic ")})
        wanted = token == APP_TOKEN if method == "apps.connections.open" else bool(self.caller)
        if not wanted:
            raise Refused("invalid_auth" if authorization else "not_authed")
        return known(args)

    # -- the app ---------------------------------------------------------------------------

    def do_auth_test(self, args: Json) -> Json:
        bot = {"user_id": self._me(), "bot_id": BOT_ID}
        return {"team_id": self.caller, "url": "https://fake/", **bot}

    def do_auth_revoke(self, args: Json) -> Json:
        self.workspace.revoke(self.caller)
        return {"revoked": True}

    def do_oauth_v2_access(self, args: Json) -> Json:
        if args["basic"] != base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode():
            raise Refused("bad_client_secret")
        team = self.workspace.codes.pop(_need(args, "code"), None)
        if team is None:
            raise Refused("invalid_code")
        token = f"xoxb-{team}-{self.workspace.next_id()}"
        self.workspace.tokens[token] = team
        return {
            "access_token": token,
            "token_type": "bot",
            "bot_user_id": self.workspace.bot_of(team),
            "team": {"id": team, "name": f"Workspace {team}"},
            "authed_user": {"id": "U1"},
            "is_enterprise_install": False,
            **self.workspace.granted,
        }

    def do_apps_connections_open(self, args: Json) -> Json:
        return {"url": self.socket_url}

    def do_users_info(self, args: Json) -> Json:
        name = self.workspace.users.get(_need(args, "user"))
        if name is None:
            raise Refused("user_not_found")
        about = {"id": args["user"], "team_id": self.caller, "profile": {"display_name": name}}
        return {"user": about | self.workspace.profiles.get(args["user"], {})}

    def do_usergroups_users_list(self, args: Json) -> Json:
        members = self.workspace.groups.get(_need(args, "usergroup"))
        if members is None:
            raise Refused("no_such_subteam")
        return {"users": members}

    # -- messages --------------------------------------------------------------------------

    def do_chat_postMessage(self, args: Json) -> Json:
        space = self.workspace
        channel = self._channel(args)
        self._content(args, 40_000)
        if args.get("unfurl_links") is not False or args.get("unfurl_media") is not False:
            space.problems.append("a message would unfurl links")
        message = space.add(
            Message(
                channel=channel,
                ts=space.next_ts(),
                user=self._me(),
                text=args.get("text", ""),
                thread_ts=args.get("thread_ts"),
                blocks=args.get("blocks", []),
                metadata=_metadata(args),
            )
        )
        return {"channel": channel, "ts": message.ts}

    def do_chat_getPermalink(self, args: Json) -> Json:
        channel, ts = self._channel(args), _need(args, "message_ts")
        if (channel, ts) not in self.workspace.messages:
            raise Refused("message_not_found")
        link = f"https://fake.slack.com/archives/{channel}/p{ts.replace('.', '')}"
        return {"channel": channel, "permalink": link}

    def do_chat_postEphemeral(self, args: Json) -> Json:
        channel = self._channel(args)
        if _need(args, "user") not in self.workspace.users:
            raise Refused("user_not_in_channel")
        self._content(args, 40_000)
        self.workspace.ephemerals.append({**args, "channel": channel})
        return {"message_ts": self.workspace.next_ts()}

    def do_chat_update(self, args: Json) -> Json:
        message = self._own(args)
        if self._streaming(message):
            raise Refused("streaming_state_conflict")
        self._content(args, 4_000)
        message.text = args.get("text", message.text)
        message.blocks = args.get("blocks", [])
        message.metadata = _metadata(args) or message.metadata
        message.stream = ""
        message.edits += 1
        return {"channel": message.channel, "ts": message.ts}

    def do_chat_delete(self, args: Json) -> Json:
        message = self._own(args)
        del self.workspace.messages[message.channel, message.ts]
        return {"channel": message.channel, "ts": message.ts}

    def do_conversations_history(self, args: Json) -> Json:
        space, channel = self.workspace, self._channel(args)
        oldest, most = float(args.get("oldest") or 0), int(args.get("limit") or 100)
        with_metadata = str(args.get("include_all_metadata")).lower() in ("1", "true")
        found = [m for m in space.messages.values() if m.channel == channel and not m.thread_ts]
        newest = sorted((m for m in found if float(m.ts) > oldest), key=lambda m: m.ts)[::-1]
        listed = [self._listed(m, with_metadata) for m in newest[:most]]
        return {"messages": listed, "has_more": len(newest) > most}

    def do_conversations_replies(self, args: Json) -> Json:
        space, channel, thread_ts = self.workspace, self._channel(args), _need(args, "ts")
        if (channel, thread_ts) not in space.messages:
            raise Refused("thread_not_found")
        oldest = float(args.get("oldest") or 0)
        latest = float(args.get("latest") or "inf")
        inclusive = str(args.get("inclusive")).lower() in ("1", "true")
        found = [
            m
            for m in space.messages.values()
            if (float(m.ts) < latest or (inclusive and float(m.ts) == latest))
            and m.channel == channel
            and (
                m.ts == thread_ts
                or (
                    m.thread_ts == thread_ts
                    and (float(m.ts) > oldest or (inclusive and float(m.ts) == oldest))
                )
            )
        ]
        with_metadata = str(args.get("include_all_metadata")).lower() in ("1", "true")
        return {"messages": [self._listed(m, with_metadata) for m in found], "has_more": False}

    def _listed(self, message: Message, with_metadata: bool) -> Json:
        listed: Json = {"type": "message", "user": message.user, "ts": message.ts}
        listed |= {"text": message.text or message.stream, "blocks": message.blocks}
        if message.files:
            listed["files"] = message.files
        if with_metadata and message.metadata:
            listed["metadata"] = message.metadata
        return listed

    # -- streams ---------------------------------------------------------------------------

    def do_chat_startStream(self, args: Json) -> Json:
        channel = self._channel(args)
        thread_ts = _need(args, "thread_ts")
        for name in ("recipient_team_id", "recipient_user_id"):
            if not args.get(name):
                raise Refused(f"missing_{name}")
        if (channel, thread_ts) not in self.workspace.messages:
            raise Refused("thread_not_found")
        message = Message(channel, self.workspace.next_ts(), self._me(), thread_ts=thread_ts)
        message.stream = _markdown(args)
        message.streaming_since = self.workspace.now()
        self.workspace.add(message)
        return {"channel": channel, "ts": message.ts}

    def do_chat_appendStream(self, args: Json) -> Json:
        message = self._own(args)
        self._must_stream(message)
        if not args.get("markdown_text") and not args.get("chunks"):
            raise Refused("no_text")
        message.stream += _markdown(args).lstrip()  # as Slack does where pieces join
        return {"channel": message.channel, "ts": message.ts}

    def do_chat_stopStream(self, args: Json) -> Json:
        message = self._own(args)
        self._must_stream(message)
        blocks = args.get("blocks") or []
        if problems := rules.blocks(blocks):
            raise self._invalid(problems)
        message.stream += _markdown(args).lstrip()
        message.blocks = blocks
        message.metadata = _metadata(args)
        message.streaming_since = None
        return {"channel": message.channel, "ts": message.ts}

    def _must_stream(self, message: Message) -> None:
        if message.stopped:
            raise Refused("stopped_by_user")
        if not self._streaming(message):
            raise Refused("message_not_in_streaming_state")

    def _streaming(self, message: Message) -> bool:
        since = message.streaming_since
        if since is not None and self.workspace.now() - since > self.workspace.stream_lifetime_s:
            message.streaming_since = None
        return message.streaming_since is not None

    # -- the rest --------------------------------------------------------------------------

    def do_views_open(self, args: Json) -> Json:
        issued = self.workspace.triggers.pop(_need(args, "trigger_id"), None)
        if issued is None:
            raise Refused("exchanged_trigger_id")
        if self.workspace.now() - issued > self.workspace.trigger_lifetime_s:
            raise Refused("expired_trigger_id")
        view = _json(args.get("view"))
        if problems := rules.view(view):
            raise self._invalid(problems)
        opened = {**view, "id": f"V{self.workspace.next_id()}"}
        self.workspace.views.append(opened)
        return {"view": opened}

    def do_views_publish(self, args: Json) -> Json:
        if _need(args, "user_id") not in self.workspace.users:
            raise Refused("user_not_found")
        view = _json(args.get("view"))
        if problems := rules.home(view):
            raise self._invalid(problems)
        self.workspace.homes[args["user_id"]] = {**view, "id": f"V{self.workspace.next_id()}"}
        return {"view": view}

    def do_views_update(self, args: Json) -> Json:
        shown = next((v for v in self.workspace.views if v["id"] == args.get("view_id")), None)
        if shown is None or shown.get("closed"):
            raise Refused("view_not_found" if shown is None else "not_found")
        view = _json(args.get("view"))
        if problems := rules.view(view):
            raise self._invalid(problems)
        kept = {"id": shown["id"]}
        shown.clear()
        shown.update({**view, **kept})
        return {"view": shown}

    # -- files -----------------------------------------------------------------------------

    def do_files_getUploadURLExternal(self, args: Json) -> Json:
        name, length = _need(args, "filename"), int(_need(args, "length"))
        file_id = f"F{self.workspace.next_id()}"
        self.workspace.files[file_id] = {"name": name, "length": length, "content": b""}
        return {"file_id": file_id, "upload_url": f"{self.upload_url}/{file_id}"}

    def do_files_completeUploadExternal(self, args: Json) -> Json:
        given = args.get("files") or []
        for wanted in json.loads(given) if isinstance(given, str) else given:
            file = self.workspace.files.get(wanted["id"])
            if file is None or len(file["content"]) != file["length"]:
                raise Refused("file_not_found")
            if "channel" in file:
                self.workspace.problems.append("a file was shown twice")
            file["channel"], file["thread_ts"] = (
                self._channel({"channel": args.get("channel_id")}),
                args.get("thread_ts"),
            )
            file["title"] = wanted.get("title", "")
        return {"files": [{"id": "F"}]}

    # -- the rest --------------------------------------------------------------------------

    def do_assistant_threads_setStatus(self, args: Json) -> Json:
        for name in ("channel_id", "thread_ts"):
            _need(args, name)
        if "status" not in args:
            raise Refused("invalid_arguments")
        self.workspace.statuses.append(args)
        return {}

    def do_assistant_threads_setSuggestedPrompts(self, args: Json) -> Json:
        prompts = args.get("prompts") or []
        if not 1 <= len(prompts) <= 4 or any(not {"title", "message"} <= set(p) for p in prompts):
            raise Refused("invalid_arguments")
        self.workspace.prompts.append(args)
        return {}

    def do_assistant_threads_setTitle(self, args: Json) -> Json:
        if not 0 < len(_need(args, "title")) <= 255:
            raise Refused("invalid_arguments")
        self.workspace.titles[_need(args, "channel_id"), _need(args, "thread_ts")] = args["title"]
        return {}

    def _channel(self, args: Json) -> str:
        channel = _need(args, "channel")
        if channel in self.workspace.users:
            return f"D{channel}"
        if channel.startswith("D") or channel in self.workspace.channels:
            return channel
        raise Refused("not_in_channel" if channel.startswith("C") else "channel_not_found")

    def _me(self) -> str:
        return self.workspace.bot_of(self.caller)

    def _own(self, args: Json) -> Message:
        message = self.workspace.messages.get((_need(args, "channel"), _need(args, "ts")))
        if message is None:
            raise Refused("message_not_found")
        if message.user != self._me():
            raise Refused("cant_update_message")
        return message

    def _content(self, args: Json, most: int) -> None:
        if not args.get("text") and not args.get("blocks"):
            raise Refused("no_text")
        if len(args.get("text", "")) > most:
            raise Refused("msg_too_long")
        if "blocks" in args and (problems := rules.blocks(args["blocks"])):
            raise self._invalid(problems)

    def _invalid(self, problems: list[str]) -> Refused:
        self.workspace.problems += problems
        return Refused("invalid_blocks", "; ".join(problems))


async def _break_off(request: web.Request, answer: Json, after: int) -> web.StreamResponse:
    """The connection drops after so many bytes of the response's body."""
    body = json.dumps(answer).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(body[: min(after, len(body) - 1)])
    assert request.transport is not None
    request.transport.abort()
    return response


async def _arguments(request: web.Request) -> Json:
    if request.content_type == "application/json":
        return dict(await request.json())
    given = {**request.query, **await request.post()}
    return {name: str(value) for name, value in given.items()}


def _json(given: Any) -> Any:
    """An argument that comes as JSON text in a form."""
    return (json.loads(given) if isinstance(given, str) else given) or {}


def _need(args: Json, name: str) -> str:
    if not args.get(name):
        raise Refused("invalid_arguments", f"[ERROR] missing required field: {name}")
    return str(args[name])


def _metadata(args: Json) -> Json:
    """Slack takes it as JSON text in a form, and refuses what has no event."""
    given = args.get("metadata")
    found = json.loads(given) if isinstance(given, str) else given
    if not found:
        return {}
    if not found.get("event_type") or not isinstance(found.get("event_payload"), dict):
        raise Refused("invalid_metadata_format")
    return dict(found)


def _markdown(args: Json) -> str:
    text = str(args.get("markdown_text") or "")
    for chunk in args.get("chunks") or []:
        text += chunk.get("text", "") if chunk.get("type") == "markdown_text" else ""
    if len(text) > 12_000:
        raise Refused("msg_too_long")
    return text


def _break(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
