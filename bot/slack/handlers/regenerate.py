"""The buttons under an answer: Regenerate for a new answer, and Continue for the rest of one that
reached its maximum length.

A press queues a question, so it is answered exactly once, like any other, in a message of its own.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from sqlite_utils import Database

from bot.answering import again
from bot.answering.prompt import Ask
from bot.slack.client.stream import SlackPlace
from bot.slack.payloads import place_of, shown_at, thread_key
from bot.slack.render import blocks
from bot.slack.workspace.context import WorkspaceContext
from data.config.settings import BotSettings
from data.conversations import conversations
from data.domains import Domain
from data.slack import question_queue
from data.slack.question_queue import QueuedQuestion
from data.store.errors import Conflict, Forbidden

Ack = Callable[..., Awaitable[Any]]
KINDS: dict[str, Literal["again_of", "continues"]] = {
    blocks.REGENERATE: "again_of",
    blocks.CONTINUE: "continues",
}


async def regenerate_button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """A press of one of the buttons: queue the question, then acknowledge."""
    action, place = body["actions"][0], place_of(body)
    kind, reply_id = KINDS[str(action["action_id"])], str(action.get("value") or "")
    response_url = str(body.get("response_url") or "")
    private = bool(body.get("container", {}).get("is_ephemeral"))
    async with workspace.report_errors(place, response_url):
        await workspace.service.store.submit(
            lambda db: _put(db, kind, reply_id, place, response_url if private else "")
        )
    await ack()
    workspace.queue.wake()


def _put(
    db: Database,
    kind: Literal["again_of", "continues"],
    reply_id: str,
    place: SlackPlace,
    response_url: str,
) -> None:
    """Queue the question. Raises NotFound if the answer was deleted, Forbidden if it belongs to
    another channel, and Conflict if the same was requested before."""
    found = conversations.reply_with_question(db, reply_id)
    here = thread_key(place.team, place.channel, "")
    if not found.thread.startswith(here):
        raise Forbidden("That answer belongs to another channel.")
    added = question_queue.add_follow_up(
        db,
        kind,
        reply_id,
        team=place.team,
        channel=place.channel,
        asked_ts=found.asked_at.removeprefix(shown_at(place.team, place.channel, "")),
        thread_ts=found.thread.removeprefix(here),
        user=place.user,
        response_url=response_url,
    )
    if not added:
        raise Conflict("This was already requested. The answer is further down.")


def follow_up(
    db: Database, question: QueuedQuestion, person: str, domain: Domain, bot: BotSettings
) -> Ask:
    """The request to the engine for a press. Raises NotFound if the answer was deleted."""
    if question.again_of:
        return again.another_answer(db, question.again_of, person, domain, bot)
    return again.rest_of(db, question.continues, person, domain, bot)
