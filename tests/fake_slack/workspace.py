"""What there is in the fake workspace, and what the bot did to it."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

TEAM = "T1"
BOT_USER = "UBOT"
BOT_ID = "BBOT"
BOT_TOKEN = "xoxb-fake"
APP_TOKEN = "xapp-fake"
SIGNING_SECRET = "signed by the fake"
CLIENT_ID, CLIENT_SECRET = "1.2", "secret of the app"

PER_MINUTE = {  # of one app in one workspace
    "chat.startStream": 20,
    "chat.stopStream": 20,
    "chat.appendStream": 100,
    "chat.update": 50,
    "chat.delete": 50,
    "conversations.replies": 50,
    "chat.postMessage": 60,  # of one channel, see `posts_at_once`
    "views.open": 100,
    "views.publish": 100,
    "views.update": 100,
    "users.info": 100,
}


@dataclass
class Message:
    channel: str
    ts: str
    user: str
    text: str = ""
    thread_ts: str | None = None
    blocks: list[Json] = field(default_factory=list)
    metadata: Json = field(default_factory=dict)
    stream: str = ""  # what was streamed into it
    streaming_since: float | None = None  # monotonic seconds; None: no open stream
    files: list[Json] = field(default_factory=list)
    stopped: bool = False  # its stream, by the person
    edits: int = 0

    @property
    def words(self) -> str:
        """The text that people see."""
        if not self.blocks:
            return self.stream or self.text
        return self.stream + "".join(b["text"] for b in self.blocks if b["type"] == "markdown")

    @property
    def notes(self) -> str:
        """The sections and contexts that people see, one a line."""
        found = []
        for block in self.blocks:
            if block["type"] == "section":
                found.append(block["text"]["text"])
            elif block["type"] == "context":
                found += [e["text"] for e in block["elements"]]
        return "\n".join(found)

    def elements(self, action_id: str) -> list[Json]:
        return [
            element
            for block in self.blocks
            for element in block.get("elements", [])
            if element.get("action_id") == action_id
        ]


@dataclass(frozen=True)
class Call:
    method: str
    args: Json
    error: str  # '' when it went well
    at: float
    team: str = ""  # whose token it had


@dataclass
class Workspace:
    users: dict[str, str] = field(
        default_factory=lambda: {"U1": "Ada", "U2": "Grace", "U3": "Alan"}
    )
    tokens: dict[str, str] = field(default_factory=lambda: {BOT_TOKEN: TEAM})  # -> its workspace
    codes: dict[str, str] = field(default_factory=dict)  # of installations -> its workspace
    granted: Json = field(default_factory=dict)  # what else an installation is answered with
    profiles: dict[str, Json] = field(default_factory=dict)  # more of what users.info says
    groups: dict[str, list[str]] = field(default_factory=dict)  # user groups
    refuses: dict[str, str] = field(default_factory=dict)  # channel -> what a message comes to
    files: dict[str, Json] = field(default_factory=dict)  # id -> name, content, where it is shown
    sent_files: dict[str, bytes] = field(default_factory=dict)  # by people, name -> content
    may_read: bool = True  # whether the bot has the scope files:read
    channels: set[str] = field(default_factory=lambda: {"C1", "C2"})  # that the bot is in
    messages: dict[tuple[str, str], Message] = field(default_factory=dict)
    ephemerals: list[Json] = field(default_factory=list)
    responses: list[Json] = field(default_factory=list)  # sent to a response_url
    views: list[Json] = field(default_factory=list)  # forms, as they are now
    homes: dict[str, Json] = field(default_factory=dict)  # Home tabs, by user
    statuses: list[Json] = field(default_factory=list)
    titles: dict[tuple[str, str], str] = field(default_factory=dict)  # of threads
    prompts: list[Json] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # what Slack would never have taken
    triggers: dict[str, float] = field(default_factory=dict)  # id -> issued at
    response_urls: dict[str, int] = field(default_factory=dict)  # id -> uses left
    per_minute: dict[str, int] = field(default_factory=lambda: dict(PER_MINUTE))
    posts_at_once: int = 10  # to one channel, one a second on average
    now: Callable[[], float] = time.monotonic  # seconds; tests may let them pass faster
    stream_lifetime_s: float = 300.0
    trigger_lifetime_s: float = 3.0
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def next_id(self) -> int:
        return next(self._numbers)

    def next_ts(self) -> str:
        return f"{int(time.time())}.{next(self._numbers):06d}"

    def add(self, message: Message) -> Message:
        self.messages[message.channel, message.ts] = message
        return message

    def trigger(self) -> str:
        name = f"trigger.{self.next_id()}"
        self.triggers[name] = self.now()
        return name

    def revoke(self, team: str) -> None:
        """None of a workspace's tokens is worth anything any more."""
        self.tokens = {t: owner for t, owner in self.tokens.items() if owner != team}

    def bot_of(self, team: str) -> str:
        """Who the bot is in a workspace."""
        return BOT_USER if team == TEAM else f"{BOT_USER}{team}"

    def from_bot(self) -> list[Message]:
        """The bot's messages, oldest first."""
        return [m for m in self.messages.values() if m.user.startswith(BOT_USER)]

    def in_thread(self, channel: str, thread_ts: str) -> list[Message]:
        """The bot's messages in a thread, oldest first."""
        return [m for m in self.from_bot() if (m.channel, m.thread_ts) == (channel, thread_ts)]

    def called(self, method: str) -> list[Call]:
        return [c for c in self.calls if c.method == method]
