"""Which deliveries are work for us, decided before Slack is acknowledged.

Slack delivers an event again whenever it did not hear from us in three seconds, a mention comes
as `message` and as `app_mention`, and buttons can be sent twice. So the first thing that happens
to an event is one transaction that remembers it: by its id, and for questions by
their place as well. The same transaction puts a question into the queue, changes it there when a
person edited it, takes it out when it was deleted, and counts a reaction. Only what is new goes
on to the listeners, and Slack is acknowledged after that commit: what was acknowledged is stored.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from slack_bolt import BoltResponse
from sqlite_utils import Database

from bot.slack import words
from bot.slack.desk import Desk
from bot.slack.stream import Place
from data import conversations, questions
from data.db import Store

log = logging.getLogger(__name__)

SPOKEN = (None, "file_share", "thread_broadcast")  # subtypes in which a person says something
LEAVING = ("app_uninstalled", "tokens_revoked")
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
        return thread_key(self.place.team, self.place.channel, self.place.thread_ts)

    @property
    def external_id(self) -> str:
        return shown_at(self.place.team, self.place.channel, self.ts)


def person(team: str, user: str) -> str:
    return f"slack:{team}/{user}"


def shown_at(team: str, channel: str, ts: str) -> str:
    """The external id of a Slack message."""
    return f"{team}/{channel}/{ts}"


def thread_key(team: str, channel: str, thread_ts: str) -> str:
    """The conversation's key of a Slack thread."""
    return f"slack:{team}/{channel}/{thread_ts}"


def team_of(body: dict[str, Any]) -> str:
    """The workspace for which we got a delivery."""
    return next(iter(teams_of(body)), "")


def teams_of(body: dict[str, Any]) -> list[str]:
    """The workspaces that a delivery names, the likeliest to be the one we are in first: in a
    channel that is shared between workspaces, an event names the other one as well."""
    named = [a.get("team_id") for a in body.get("authorizations") or ()]
    named += [body.get("team_id"), (body.get("team") or {}).get("id")]
    return list(dict.fromkeys(str(team) for team in named if team))


def happened_us(body: dict[str, Any]) -> int:
    """The end of the second in which an event happened, in microseconds since the epoch."""
    return (int(body.get("event_time") or 0) + 1) * 1_000_000


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
    place = Place(team_of(body), channel, thread_ts, user)
    return Said(place, ts, text, to_us, str(body.get("event_id") or ts))


@dataclass(frozen=True)
class Changed:
    """A message was edited or deleted, by a person or as Slack shows one with replies."""

    team: str
    channel: str
    ts: str
    text: str  # as it is now
    deleted: bool
    event_id: str


def changed(body: dict[str, Any], bot_user: str) -> Changed | None:
    """What became of a person's message; None for any other event. `message_changed` also comes
    for unfurls and replies: whether the text is another is seen when it is compared with ours."""
    event = body.get("event", {})
    message = event.get("message") or {}
    if message.get("user") == bot_user or message.get("bot_id"):
        return None
    deleted = event.get("subtype") == "message_deleted" or message.get("subtype") == "tombstone"
    if event.get("type") != "message" or not (deleted or event.get("subtype") == "message_changed"):
        return None
    ts = str(event.get("deleted_ts") or message.get("ts") or "")
    team, channel = team_of(body), str(event.get("channel") or "")
    text = str(message.get("text") or "")
    return Changed(team, channel, ts, text, deleted, str(body.get("event_id") or ""))


def accept_words(db: Database, heard: Said) -> bool:
    """Remember a question and put it into the queue; False when it was taken before."""
    again = conversations.seen_before(db, "slack:event", f"{heard.place.team}/{heard.event_id}")
    if again or conversations.seen_before(db, "slack:message", heard.external_id):
        return False
    place = heard.place
    return questions.add(
        db,
        team=place.team,
        channel=place.channel,
        ts=heard.ts,
        thread_ts=place.thread_ts,
        user=place.user,
        text=heard.text,
    )


def concerns_us(db: Database, what: Changed) -> bool:
    """Whether it is a question that is not answered yet."""
    return questions.is_open(db, what.team, what.channel, what.ts)


def accept_change(db: Database, what: Changed) -> bool:
    """Change or withdraw a question that is not answered yet; False when there is none."""
    if conversations.seen_before(db, "slack:event", f"{what.team}/{what.event_id}"):
        return False
    if what.deleted:
        return questions.withdraw(db, what.team, what.channel, what.ts)
    return questions.edit(db, what.team, what.channel, what.ts, what.text)


def takes_part(db: Database, heard: Said) -> bool:
    """Whether the thread is one in which the bot answers."""
    place = heard.place
    return conversations.find(db, heard.thread) is not None or questions.waits_in(
        db, place.team, place.channel, place.thread_ts
    )


def accept_event(db: Database, body: dict[str, Any]) -> bool:
    """Remember any other event by its id; False when it came before."""
    key = f"{team_of(body)}/{body.get('event_id')}"
    return not conversations.seen_before(db, "slack:event", key)


def middleware(
    find: Callable[[dict[str, Any]], Desk | None],
    reacted: Callable[[Database, dict[str, Any]], bool],
    leaving: Callable[[dict[str, Any]], Awaitable[None]],
) -> Callable[..., Awaitable[BoltResponse | None]]:
    """The global Bolt middleware that lets only new work for us through. `find` gives the desk of
    the workspace that a delivery comes from, `reacted` counts a reaction, `leaving` sees to it
    that a workspace is forgotten."""
    nothing_to_do = BoltResponse(status=200, body="")

    async def only_new(
        body: dict[str, Any],
        next: Callable[[], Awaitable[None]],
    ) -> BoltResponse | None:
        desk = find(body)
        if desk is None:
            log.info("A delivery of a workspace that has not installed the bot is left alone")
            return nothing_to_do
        store = desk.service.store
        if body.get("type") != "event_callback":
            if not desk.triggers.is_new(str(body.get("trigger_id") or "")):
                return nothing_to_do
            await next()
            return None
        kind = body.get("event", {}).get("type")
        if kind in ("message", "app_mention"):
            new = await _is_new_message(store, body, desk.identity.bot_user)
        elif kind in LEAVING:
            await leaving(body)
            new = True
        elif kind in ("reaction_added", "reaction_removed"):
            new = await store.submit(lambda db: accept_event(db, body) and reacted(db, body))
        else:
            new = await store.submit(lambda db: accept_event(db, body))
        if not new:
            return nothing_to_do
        await next()
        return None

    return only_new


async def _is_new_message(store: Store, body: dict[str, Any], bot_user: str) -> bool:
    """Take in what was said to us, or what became of a question; False when it is neither."""
    if change := changed(body, bot_user):
        concerned = await store.read(lambda db: concerns_us(db, change))
        return concerned and await store.submit(lambda db: accept_change(db, change))
    heard = said(body, bot_user)
    if heard is None:
        return False
    if not heard.to_us and not await store.read(lambda db: takes_part(db, heard)):
        return False
    return await store.submit(lambda db: accept_words(db, heard))
