"""Which deliveries are work for us, decided before Slack is acknowledged.

Slack delivers an event again whenever it did not hear from us in three seconds, a mention comes
as `message` and as `app_mention`, and buttons can be sent twice. So the first thing that happens
to a delivery is one transaction that remembers it: by event or trigger id, and for questions by
their place as well. Only what is new goes on to the listeners, and Slack is acknowledged after
that commit.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from slack_bolt import BoltResponse
from slack_bolt.context.async_context import AsyncBoltContext
from sqlite_utils import Database

from bot.slack import words
from bot.slack.desk import Desk
from bot.slack.stream import Place
from data import conversations

SPOKEN = (None, "file_share", "thread_broadcast")  # subtypes in which a person says something
KEEP_DELIVERIES_US = 7 * 24 * 3600 * 1_000_000  # Slack gives up after hours


@dataclass(frozen=True)
class Said:
    """Something a person said where we can hear it."""

    place: Place
    ts: str
    text: str  # as Slack writes it
    to_us: bool  # a direct message, or we are mentioned
    event_id: str

    @property
    def person(self) -> str:
        return person(self.place.team, self.place.user)

    @property
    def thread(self) -> str:
        """The conversation's key. What a thread shows is what the bot remembers: each top-level
        message begins a conversation, in direct messages too, as answers go into its thread."""
        return f"slack:{self.place.team}/{self.place.channel}/{self.place.thread_ts}"

    @property
    def external_id(self) -> str:
        return shown_at(self.place.team, self.place.channel, self.ts)


def person(team: str, user: str) -> str:
    return f"slack:{team}/{user}"


def shown_at(team: str, channel: str, ts: str) -> str:
    """The external id of a Slack message."""
    return f"{team}/{channel}/{ts}"


def team_of(body: dict[str, Any]) -> str:
    return str(body.get("team_id") or (body.get("team") or {}).get("id") or "")


def place_of(body: dict[str, Any]) -> Place:
    """Where a click or a command happened, and who did it."""
    container, message = body.get("container", {}), body.get("message", {})
    channel = (body.get("channel") or {}).get("id") or body.get("channel_id")
    ts = container.get("message_ts") or message.get("ts") or ""
    thread_ts = container.get("thread_ts") or message.get("thread_ts") or ts
    user = (body.get("user") or {}).get("id") or body.get("user_id")
    channel = container.get("channel_id") or channel
    return Place(team_of(body), str(channel or ""), str(thread_ts), str(user or ""))


def said(body: dict[str, Any], bot_user: str) -> Said | None:
    """What a `message` or `app_mention` event says to us or in a thread; None for everything
    that is no person's new words, or meant for somebody else."""
    event = body.get("event", {})
    user, channel, ts = (str(event.get(key) or "") for key in ("user", "channel", "ts"))
    if event.get("type") not in ("message", "app_mention") or not (user and channel and ts):
        return None
    from_people = event.get("subtype") in SPOKEN and not event.get("bot_id")
    if not from_people or event.get("hidden") or user in (bot_user, "USLACKBOT"):
        return None
    text = str(event.get("text") or "")
    to_us = channel.startswith("D") or words.mentions(text, bot_user)
    thread_ts = str(event.get("thread_ts") or ts)
    if not to_us and (thread_ts == ts or words.people_in(text)):
        return None
    place = Place(str(body.get("team_id") or ""), channel, thread_ts, user)
    return Said(place, ts, text, to_us, str(body.get("event_id") or ts))


def accept_words(db: Database, heard: Said) -> bool:
    """Remember a question; False when it was taken before."""
    again = conversations.seen_before(db, "slack:event", f"{heard.place.team}/{heard.event_id}")
    return not again and not conversations.seen_before(db, "slack:message", heard.external_id)


def accept_other(db: Database, body: dict[str, Any]) -> bool:
    """Remember any other delivery by its event or trigger id; False when it came before."""
    if body.get("type") == "event_callback":
        key = f"{body.get('team_id')}/{body.get('event_id')}"
        return not conversations.seen_before(db, "slack:event", key)
    trigger = body.get("trigger_id")
    return not trigger or not conversations.seen_before(db, "slack:trigger", str(trigger))


def middleware(desk: Desk) -> Callable[..., Awaitable[BoltResponse | None]]:
    """The global Bolt middleware that lets only new work for us through."""
    nothing_to_do = BoltResponse(status=200, body="")

    async def only_new(
        body: dict[str, Any],
        context: AsyncBoltContext,
        next: Callable[[], Awaitable[None]],
    ) -> BoltResponse | None:
        store = desk.service.store
        kind = body.get("event", {}).get("type") if body.get("type") == "event_callback" else ""
        if kind in ("message", "app_mention"):
            heard = said(body, desk.identity.bot_user)
            if heard is None:
                return nothing_to_do
            if not heard.to_us and not await store.read(
                lambda db: conversations.find(db, heard.thread)
            ):
                return nothing_to_do
            if not await store.submit(lambda db: accept_words(db, heard)):
                return nothing_to_do
            context["said"] = heard
        elif not await store.submit(lambda db: accept_other(db, body)):
            return nothing_to_do
        await next()
        return None

    return only_new
