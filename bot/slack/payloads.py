"""Reads Slack's payloads: who did what, where, and with which text. Pure functions."""

from dataclasses import dataclass
from typing import Any

from bot.slack.client.stream import SlackPlace
from bot.slack.render import message_text
from data.slack.question_queue import AttachedFile

MAX_FILES, MAX_FILE_NAME = 10, 100  # of a message; characters
MESSAGE_SUBTYPES = (None, "file_share", "thread_broadcast")  # of messages that people write


@dataclass(frozen=True)
class HeardMessage:
    """A person's message that the bot can see."""

    place: SlackPlace
    ts: str
    text: str  # as Slack writes it
    to_us: bool  # a direct message, or one that mentions the bot
    event_id: str
    files: tuple[AttachedFile, ...] = ()

    @property
    def person(self) -> str:
        return person(self.place.team, self.place.user)

    @property
    def thread(self) -> str:
        """The conversation's key. The bot remembers what the thread shows. Each top-level message
        starts a conversation, also in direct messages, because answers go into its thread."""
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
    """The conversation key of a Slack thread."""
    return f"slack:{team}/{channel}/{thread_ts}"


def team_of(body: dict[str, Any]) -> str:
    """The workspace that a request is for."""
    return next(iter(teams_of(body)), "")


def teams_of(body: dict[str, Any]) -> list[str]:
    """The workspaces that a request names, starting with the most likely one of ours. In a channel
    shared between workspaces, an event names the other one too."""
    named = [a.get("team_id") for a in body.get("authorizations") or ()]
    named += [body.get("team_id"), (body.get("team") or {}).get("id")]
    return list(dict.fromkeys(str(team) for team in named if team))


def event_end_us(body: dict[str, Any]) -> int:
    """The end of the second in which an event happened, in microseconds since the epoch."""
    return (int(body.get("event_time") or 0) + 1) * 1_000_000


def place_of(body: dict[str, Any]) -> SlackPlace:
    """Where a click or a command happened, and who did it."""
    container, message = body.get("container", {}), body.get("message", {})
    channel = (body.get("channel") or {}).get("id") or body.get("channel_id")
    ts = container.get("message_ts") or message.get("ts") or ""
    thread_ts = container.get("thread_ts") or message.get("thread_ts") or ts
    user = (body.get("user") or {}).get("id") or body.get("user_id")
    channel = container.get("channel_id") or channel
    return SlackPlace(team_of(body), str(channel or ""), str(thread_ts), str(user or ""))


def heard_message(body: dict[str, Any], bot_user: str) -> HeardMessage | None:
    """The message of a `message` or `app_mention` event. None unless it is a person's new message,
    and for messages that mention someone else and not the bot."""
    event = body.get("event", {})
    user, channel, ts = (str(event.get(key) or "") for key in ("user", "channel", "ts"))
    if event.get("type") not in ("message", "app_mention") or not (user and channel and ts):
        return None
    from_people = event.get("subtype") in MESSAGE_SUBTYPES and not event.get("bot_id")
    if not from_people or event.get("hidden") or user in (bot_user, "USLACKBOT"):
        return None
    text = str(event.get("text") or "")
    to_us = channel.startswith("D") or message_text.mentions(text, bot_user)
    thread_ts = str(event.get("thread_ts") or ts)
    if not to_us and message_text.people_in(text):
        return None
    place = SlackPlace(team_of(body), channel, thread_ts, user)
    event_id = str(body.get("event_id") or ts)
    return HeardMessage(place, ts, text, to_us, event_id, files_of(event.get("files")))


def files_of(sent: Any) -> tuple[AttachedFile, ...]:
    """The files of a message. Slack leaves out what the bot may not see of them."""
    listed = [file for file in sent if isinstance(file, dict)] if isinstance(sent, list) else []
    return tuple(
        AttachedFile(
            name=_one_line(file.get("name") or file.get("title") or "a file"),
            kind=str(file.get("mimetype") or ""),
            size=_number(file.get("size")),
            url=str(file.get("url_private_download") or file.get("url_private") or ""),
        )
        for file in listed[:MAX_FILES]
    )


def _one_line(name: Any) -> str:
    """A file's name, which its sender chose: in a prompt, a second line could pass for something
    else."""
    return " ".join(str(name).split())[:MAX_FILE_NAME]


def _number(given: Any) -> int:
    return given if isinstance(given, int) and given > 0 else 0


@dataclass(frozen=True)
class ChangedMessage:
    """An edited or deleted message."""

    team: str
    channel: str
    ts: str
    text: str  # the current text
    deleted: bool
    event_id: str
    thread_ts: str = ""
    user: str = ""
    before: str = ""  # the text before; '' if Slack does not say


def changed_message(body: dict[str, Any], bot_user: str) -> ChangedMessage | None:
    """The change of a person's message; None for any other event. `message_changed` also comes for
    unfurls and replies, so the text has to be compared with the stored one."""
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
    before = str((event.get("previous_message") or {}).get("text") or "")
    return ChangedMessage(
        team,
        channel,
        ts,
        text,
        deleted,
        str(body.get("event_id") or ""),
        str(message.get("thread_ts") or ts),
        str(message.get("user") or ""),
        before,
    )
