"""Slack's export of a workspace: its threads, as candidates that wait for review.

The export is a zip archive (or its folder) with `users.json`, `channels.json` and a folder for each
channel, which has a JSON array of messages for each day. The first message of a thread is the
question, and what others answer until its author writes again is the answer. Bots, joins, deleted
messages and messages without a thread are left out. An edited message has its last text.

Only public channels are read, unless channels are named. Mentions lose the id of the person; names
of people in the thread are masked by the importer.

https://slack.com/help/articles/220556107-How-to-read-Slack-data-exports and
https://docs.slack.dev/reference/events/message (subtypes)
"""

import html
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from data.pair_files.reading import Reading
from data.pair_files.sources.support_conversation import SupportMessage, first_exchange
from data.pair_files.verdicts import BadRow, LeftOut, NumberedRow, candidate
from data.pairs.pairs import Draft, check
from data.store.errors import Invalid

Open = Callable[[str], bytes]
DAY = re.compile(r"^(?P<root>(?:.*/)?)(?P<channel>[^/]+)/\d{4}-\d{2}-\d{2}\.json$")
TIME = re.compile(r"\d+(?:\.\d+)?")
WORDS = frozenset({None, "", "thread_broadcast", "file_share", "me_message"})  # subtypes of words
MENTION = re.compile(r"<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>")
MOST_REPLIES = 200  # of a thread that are kept
MOST_THREADS = 50_000  # of a channel


@dataclass
class _Thread:
    member: str  # the file with its first message
    line: int  # the number of that message in the file
    messages: list[Mapping[str, Any]] = field(default_factory=list)


def is_export(names: Collection[str]) -> bool:
    """Whether an archive with these files is one of Slack."""
    return _root(names) is not None


def rows(names: Sequence[str], open_: Open, reading: Reading) -> Iterator[NumberedRow]:
    """The candidates of the export. Raises Invalid if a channel that was named is not in it."""
    root = _root(names) or ""
    people = _people(root, open_)
    days: dict[str, list[str]] = {}
    for name in names:
        if (found := DAY.match(name)) and found["root"] == root:
            days.setdefault(found["channel"], []).append(name)
    chosen = _chosen(root, open_, days, reading)
    for channel in chosen:
        yield from _channel(sorted(days[channel]), open_, people, reading)


def _root(names: Collection[str]) -> str | None:
    """The folder of the export inside its archive."""
    for name in names:
        root, _, last = name.rpartition("/")
        root = f"{root}/" if root else ""
        if last == "users.json" and f"{root}channels.json" in names:
            return root
    return None


def _chosen(root: str, open_: Open, days: Mapping[str, object], reading: Reading) -> list[str]:
    """The folders of the channels to read."""
    if reading.channels:
        wanted = [channel.removeprefix("#") for channel in reading.channels]
        if missing := [channel for channel in wanted if channel not in days]:
            raise Invalid(
                f"{reading.path} has no channel {', '.join(missing)}. "
                f"It has {', '.join(sorted(days)[:20])}."
            )
        return wanted
    public = {each.get("name") for each in _listed(f"{root}channels.json", open_)}
    left = sorted(channel for channel in days if channel not in public)
    found = sorted(channel for channel in days if channel in public)
    reading.notes.append(
        f"Channels that were read: {', '.join(found) or 'none'}. "
        "`--channel NAME` reads only that one."
    )
    if left:
        reading.notes.append(
            f"Private channels and direct messages were left out ({len(left)}). "
            "`--channel NAME` reads one of them."
        )
    return found


def _people(root: str, open_: Open) -> dict[str, frozenset[str]]:
    """User id -> names. A bot has none."""
    found: dict[str, frozenset[str]] = {}
    for user in _listed(f"{root}users.json", open_):
        profile = user.get("profile")
        given = [user.get("real_name"), user.get("name")]
        if isinstance(profile, Mapping):
            given += [profile.get(key) for key in ("real_name", "display_name", "first_name")]
        found[str(user.get("id"))] = frozenset(name for name in given if isinstance(name, str))
    return found


def _listed(name: str, open_: Open) -> list[Mapping[str, Any]]:
    """The objects of a list about the whole export. Raises Invalid."""
    try:
        return [each for each in _json(open_(name)) if isinstance(each, Mapping)]
    except Invalid as error:
        raise Invalid(f"{name} of the Slack export cannot be read: {error}") from None


def _channel(
    days: Sequence[str], open_: Open, people: Mapping[str, frozenset[str]], reading: Reading
) -> Iterator[NumberedRow]:
    threads: dict[str, _Thread] = {}
    left_out = Counter[str]()
    for member in days:
        try:
            messages = _json(open_(member))
        except Invalid as error:
            yield NumberedRow(0, BadRow(0, str(error)), member)
            continue
        for line, message in enumerate(messages, 1):
            if reason := _why_not(message):
                left_out[reason] += 1
                continue
            started = message["thread_ts"]
            if message["ts"] == started and len(threads) < MOST_THREADS:
                threads[started] = _Thread(member, line, [message])
            elif thread := threads.get(started):
                if len(thread.messages) < MOST_REPLIES:
                    thread.messages.append(message)
                else:
                    left_out[f"a reply after the first {MOST_REPLIES} of its thread"] += 1
            elif len(threads) < MOST_THREADS:
                left_out["a reply whose thread begins outside of the export"] += 1
            else:
                left_out[f"a message after the first {MOST_THREADS:,} threads of its channel"] += 1
    for thread in threads.values():
        yield _row(thread, people, reading)
    for reason, count in left_out.items():
        for _ in range(count):
            yield NumberedRow(0, LeftOut(0, reason), days[0])


def _why_not(message: Any) -> str:
    """Why a message is no part of a thread of people, or ''."""
    if not isinstance(message, dict) or message.get("type") != "message":
        return "no message"
    if not TIME.fullmatch(str(message.get("ts"))):
        return "a message without a time"
    if message.get("bot_id") or message.get("subtype") == "bot_message":
        return "written by a bot"
    if message.get("subtype") not in WORDS or message.get("hidden"):
        return "a notice of Slack, such as a join"
    if not isinstance(message.get("thread_ts"), str):
        return "a message without a thread"
    return ""


def _row(thread: _Thread, people: Mapping[str, frozenset[str]], reading: Reading) -> NumberedRow:
    messages = sorted(thread.messages, key=lambda message: float(message["ts"]))
    asker = messages[0].get("user")
    mentioned = {found for m in messages for found in re.findall(r"<@(\w+)", str(m.get("text")))}
    names = [
        name
        for user in {*mentioned, *(str(message.get("user")) for message in messages)}
        for name in people.get(user, ())
    ]
    said = first_exchange(
        (
            SupportMessage("customer" if each.get("user") == asker else "agent",
                           plain_text(str(each.get("text") or "")))
            for each in messages
        ),
        names=names,
    )  # fmt: skip
    if said.left_out:
        reason = "nobody answered in the thread"
        return NumberedRow(thread.line, LeftOut(thread.line, reason), thread.member)
    reading.columns.sources["threads of Slack"] += 1
    draft = Draft(said.rows[0]["prompt"], said.rows[0]["response"])
    try:
        check(draft)
    except Invalid as error:
        return NumberedRow(thread.line, BadRow(thread.line, str(error)), thread.member)
    return NumberedRow(thread.line, candidate(draft, said.people), thread.member)


def plain_text(text: str) -> str:
    """Slack's mark-up as text, without the ids of people."""
    return html.unescape(MENTION.sub(_shown, text)).strip()


def _shown(found: re.Match[str]) -> str:
    kind, target, label = found.groups()
    if kind == "@":
        return "@someone"
    if kind == "#":
        return f"#{label}" if label else "#channel"
    if kind == "!":
        return label or f"@{target.split('^')[0]}"
    bare = target.removeprefix("mailto:").removeprefix("tel:")
    return bare if not label or label in (target, bare) else f"{label} ({bare})"


def _json(data: bytes) -> list[Any]:
    """A JSON array. Raises Invalid."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"not JSON: {error}") from None
    if not isinstance(found, list):
        raise Invalid("not a list of messages")
    return found
