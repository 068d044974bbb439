"""Ingests each event exactly once, before it is acknowledged.

Slack repeats an event that was not acknowledged within three seconds, a mention arrives both as
`message` and as `app_mention`, and buttons can be sent twice. So one transaction first records the
event by its id, and a question also by its message. The same transaction queues a question, updates
it after an edit, withdraws it after a deletion, and counts a reaction. Only new events reach the
listeners. Slack is acknowledged after the commit, so every acknowledged event is stored. Before
any of this, `permission.py` turns away people who may not use the bot.
"""

import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from slack_bolt import BoltResponse
from sqlite_utils import Database

from bot.slack.inbound import permission
from bot.slack.payloads import (
    ChangedMessage,
    HeardMessage,
    changed_message,
    heard_message,
    shown_at,
    team_of,
)
from bot.slack.workspace.context import WorkspaceContext
from data.conversations import conversations
from data.slack import channels, question_queue
from data.store.db import Store

log = logging.getLogger(__name__)

UNINSTALL_EVENTS = ("app_uninstalled", "tokens_revoked")
KEEP_DELIVERIES_US = 7 * 24 * 3600 * 1_000_000  # Slack stops repeating after a few hours


def ingest_question(db: Database, heard: HeardMessage) -> bool:
    """Record a question and queue it. Returns False if it was ingested before."""
    again = conversations.seen_before(db, "slack:event", f"{heard.place.team}/{heard.event_id}")
    if again or conversations.seen_before(db, "slack:message", heard.external_id):
        return False
    place = heard.place
    return question_queue.add(
        db,
        team=place.team,
        channel=place.channel,
        ts=heard.ts,
        thread_ts=place.thread_ts,
        user=place.user,
        text=heard.text,
        files=heard.files,
    )


def concerns_us(db: Database, what: ChangedMessage) -> bool:
    """Whether the changed message is a question that is not answered yet."""
    return question_queue.is_open(db, what.team, what.channel, what.ts)


def edited_after_answer(db: Database, what: ChangedMessage) -> bool:
    """Whether the text of an answered question was edited. Other changes, such as an unfurled
    link, leave the text as it was."""
    if what.deleted or not what.before or what.before == what.text:
        return False
    asked_at = shown_at(what.team, what.channel, what.ts)
    return conversations.reply_to_question_at(db, asked_at) is not None


def ingest_change(db: Database, what: ChangedMessage) -> bool:
    """Update or withdraw a question that is not answered yet. Returns False if there is none."""
    if conversations.seen_before(db, "slack:event", f"{what.team}/{what.event_id}"):
        return False
    if what.deleted:
        return question_queue.withdraw(db, what.team, what.channel, what.ts)
    return question_queue.edit(db, what.team, what.channel, what.ts, what.text)


def listens_to(db: Database, heard: HeardMessage) -> bool:
    """Whether the bot answers a message that does not mention it: it takes part in the thread, or
    answers everything in the channel."""
    place = heard.place
    listens = channels.listens(db, place.team, place.channel)
    if place.thread_ts == heard.ts or listens == "off":
        return listens == "all"
    return conversations.find(db, heard.thread) is not None or question_queue.waits_in(
        db, place.team, place.channel, place.thread_ts
    )


def ingest_event(db: Database, body: dict[str, Any]) -> bool:
    """Record any other event by its id. Returns False if it was ingested before."""
    key = f"{team_of(body)}/{body.get('event_id')}"
    return not conversations.seen_before(db, "slack:event", key)


def middleware(
    find: Callable[[dict[str, Any]], WorkspaceContext | None],
    reacted: Callable[[Database, dict[str, Any]], bool],
    uninstalled: Callable[[dict[str, Any]], Awaitable[None]],
    for_everyone: Collection[str] = (),
) -> Callable[..., Awaitable[BoltResponse | None]]:
    """The global Bolt middleware that lets only new events through. `find` returns the context of
    the workspace that a request comes from, `reacted` counts a reaction, `uninstalled` removes a
    workspace, and `for_everyone` names the buttons that even refused people may press."""
    nothing_to_do = BoltResponse(status=200, body="")

    async def only_new(
        body: dict[str, Any],
        next: Callable[[], Awaitable[None]],
    ) -> BoltResponse | None:
        workspace = find(body)
        if workspace is None:
            log.info("Ignored a request from a workspace that has not installed the bot")
            return nothing_to_do
        if not team_of(body):
            body["team_id"] = workspace.identity.team  # for all that read it
        store = workspace.service.store
        if body.get("type") != "event_callback":
            if not workspace.triggers.is_new(str(body.get("trigger_id") or "")):
                return nothing_to_do
            if refused := await permission.refused(workspace, body, for_everyone):
                return permission.turned_away(workspace, body, refused)
            await next()
            return None
        if refused := await permission.refused(workspace, body, for_everyone):
            return permission.turned_away(workspace, body, refused)
        kind = body.get("event", {}).get("type")
        if kind in ("message", "app_mention"):
            new = await _is_new_message(store, body, workspace.identity.bot_user)
        elif kind in UNINSTALL_EVENTS:
            await uninstalled(body)
            new = True
        elif kind in ("reaction_added", "reaction_removed"):
            new = await store.submit(lambda db: ingest_event(db, body) and reacted(db, body))
        else:
            new = await store.submit(lambda db: ingest_event(db, body))
        if not new:
            return nothing_to_do
        await next()
        return None

    return only_new


async def _is_new_message(store: Store, body: dict[str, Any], bot_user: str) -> bool:
    """Ingest a message to the bot, or a change of a question. Returns False if it is neither, or
    not new."""
    if change := changed_message(body, bot_user):
        if await store.read(lambda db: concerns_us(db, change)):
            return await store.submit(lambda db: ingest_change(db, change))
        was_answered = await store.read(lambda db: edited_after_answer(db, change))
        return was_answered and await store.submit(lambda db: ingest_event(db, body))
    heard = heard_message(body, bot_user)
    if heard is None:
        return False
    if not heard.to_us and not await store.read(lambda db: listens_to(db, heard)):
        return False
    return await store.submit(lambda db: ingest_question(db, heard))
