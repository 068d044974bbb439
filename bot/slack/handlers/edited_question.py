"""An answered question was edited: offer its author to answer it anew.

An edit may mend a spelling mistake or change the question, so the bot asks first. The new text is
read from Slack when the button is pressed, and is not stored before.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlite_utils import Database

from bot.slack.client.stream import SlackPlace
from bot.slack.client.web_api import Transport, failure
from bot.slack.inbound import ingest, thread
from bot.slack.payloads import changed_message, files_of, place_of, shown_at
from bot.slack.render import form_fields, message_text
from bot.slack.render.blocks import section
from bot.slack.workspace.context import WorkspaceContext
from data.conversations import conversations
from data.slack import question_queue
from data.store.errors import Conflict, NotFound, Unavailable

Ack = Callable[..., Awaitable[Any]]
ANSWER_ANEW = "answer_anew"
OFFER = "You changed your question after I answered it."
GONE = "Your question is not there any more."


async def offer(workspace: WorkspaceContext, body: dict[str, Any]) -> None:
    """Ask the author of an edited question whether to answer it anew. Does nothing for any other
    event."""
    change = changed_message(body, workspace.identity.bot_user)
    if change is None or not change.user:
        return
    text = message_text.plain_text(change.text, workspace.identity.bot_user, {})

    def wanted(db: Database) -> bool:
        """Whether an answer shows another text's answer, and none to the new text is coming."""
        if ingest.concerns_us(db, change) or not ingest.edited_after_answer(db, change):
            return False
        asked_at = shown_at(change.team, change.channel, change.ts)
        return text != conversations.question_at(db, asked_at)

    if not await workspace.service.store.read(wanted):
        return
    if await workspace.roles.refused_to_act(change.team, change.user):
        return  # they may have asked before
    place = SlackPlace(change.team, change.channel, change.thread_ts, change.user)
    edited = str((body["event"].get("message") or {}).get("edited", {}).get("ts") or "")
    value = f"{change.ts} {change.thread_ts} {edited}"
    button = form_fields.button(ANSWER_ANEW, "Answer anew", value)
    content = [section(OFFER), {"type": "actions", "elements": [button]}]
    await workspace.respond(place, "", content)


async def button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """*Answer anew* was pressed."""
    await ack()
    workspace.tasks.start(_queue(workspace, body), "answer anew")


async def _queue(workspace: WorkspaceContext, body: dict[str, Any]) -> None:
    place, response_url = place_of(body), str(body.get("response_url") or "")
    ts, thread_ts, edited = str(body["actions"][0].get("value") or "").split(" ")
    async with workspace.report_errors(place, response_url):
        now = await _message_now(workspace, place.channel, thread_ts, ts, place.user)
        added = await workspace.service.store.submit(
            lambda db: question_queue.add(
                db,
                team=place.team,
                channel=place.channel,
                ts=f"edited/{ts}/{edited}",
                asked_ts=ts,
                thread_ts=thread_ts,
                user=place.user,
                text=str(now.get("text") or ""),
                files=files_of(now.get("files")),
            )
        )
        if not added:
            raise Conflict("This was already requested. The answer is further down.")
        workspace.queue.wake()


async def _message_now(
    workspace: WorkspaceContext, channel: str, thread_ts: str, ts: str, user: str
) -> dict[str, Any]:
    """The message as it is now. Raises NotFound if it is gone, and Unavailable."""
    try:
        found = await thread.message_at(workspace, channel, thread_ts, ts)
    except Transport as error:
        code = failure(error).code
        raise Unavailable(f"Slack did not show me your question ({code}). Ask it again.") from error
    if found is None or found.get("user") != user:
        raise NotFound(GONE)
    return found
