"""The buttons under an answer: Regenerate for a new answer, and Continue for the rest of one that
reached its maximum length.

A press queues a question, so it is answered exactly once, like any other, in a message of its own.
The engine gets the same question with the same history. A new answer is sampled at a higher
temperature. The rest continues the text so far, with the same adapter if it is still served.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Literal

from sqlite_utils import Database

from bot.answering.chat import Ask
from bot.slack.client.stream import SlackPlace
from bot.slack.payloads import place_of, shown_at, thread_key
from bot.slack.render import blocks
from bot.slack.workspace.context import WorkspaceContext
from data import domains
from data.adapters import registry
from data.config.settings import BotSettings
from data.conversations import conversations
from data.conversations.conversations import Reply
from data.domains import Domain
from data.experiments import experiments
from data.slack import question_queue
from data.slack.question_queue import QueuedQuestion
from data.store.errors import Conflict, Forbidden

Ack = Callable[..., Awaitable[Any]]
TEMPERATURE = 0.8  # at least, so that a regenerated answer differs from the first
KINDS: dict[str, Literal["again_of", "continues"]] = {
    blocks.REGENERATE: "again_of",
    blocks.CONTINUE: "continues",
}
SERVED = ("candidate", "live")


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
    found = conversations.reply_with_question(db, question.again_of or question.continues)
    reply = found.reply
    known = conversations.find(db, found.thread)
    turns = bot.history_turns
    history = conversations.history(db, known.id, turns, found.message_id) if known else []
    ask = Ask(
        person=person,
        thread=found.thread,
        text=found.question,
        domain=domain,
        history=tuple(history),
        external_id=found.asked_at,
    )
    if question.again_of:
        sampling = {"temperature": max(bot.temperature, TEMPERATURE)}
        return replace(ask, sampling=sampling, regenerates=reply.id)
    system, pinned = _system(db, reply), _pinned(db, reply)
    return replace(ask, pinned=pinned, system=system, continues=reply.id, prefix=found.text)


def _pinned(db: Database, reply: Reply) -> str | None:
    """The adapter that wrote the beginning; None if it is no longer served, and another one
    continues."""
    if reply.adapter_id is None:
        return f"{domains.by_id(db, reply.domain_id).name}@base"
    adapter = registry.by_id(db, reply.adapter_id)
    return adapter.name if adapter.state in SERVED else None


def _system(db: Database, reply: Reply) -> str | None:
    """The system prompt of the variant that wrote the beginning; None for the domain's own."""
    known = experiments.list_experiments(db, domains.by_id(db, reply.domain_id))
    variants = (variant for experiment in known for variant in experiment.variants)
    return next((v.system_prompt for v in variants if v.id == reply.variant_id), None)
