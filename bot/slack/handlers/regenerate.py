"""The two buttons under an answer: Regenerate, for a fresh one, and Continue, for the rest of one
that was cut at its length.

A press puts a question into the queue, so it is answered exactly once like any other; the new
answer comes into a message of its own. The same question is asked, with what was said before it:
a fresh answer with some chance in it, and the rest as what comes after the text so far, from the
same adapter where it is still served.
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
TEMPERATURE = 0.8  # at least: what is written anew should not come out the same
KINDS: dict[str, Literal["again_of", "continues"]] = {
    blocks.REGENERATE: "again_of",
    blocks.CONTINUE: "continues",
}
SERVED = ("candidate", "live")


async def regenerate_button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """One of the two: in the queue, then acknowledged."""
    action, place = body["actions"][0], place_of(body)
    kind, reply_id = KINDS[str(action["action_id"])], str(action.get("value") or "")
    response_url = str(body.get("response_url") or "")
    private = bool(body.get("container", {}).get("is_ephemeral"))
    async with workspace.telling(place, response_url):
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
    """Raises NotFound when the answer is forgotten, Forbidden when it is another channel's, and
    Conflict when the same was asked for before."""
    found = conversations.answered_with(db, reply_id)
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
        raise Conflict("That was asked for already: the answer stands below.")


def follow_up(
    db: Database, question: QueuedQuestion, person: str, domain: Domain, bot: BotSettings
) -> Ask:
    """What a press asks the engine. Raises NotFound when the answer is forgotten."""
    found = conversations.answered_with(db, question.again_of or question.continues)
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
        warmth = {"temperature": max(bot.temperature, TEMPERATURE)}
        return replace(ask, sampling=warmth, regenerates=reply.id)
    system, pinned = _system(db, reply), _pinned(db, reply)
    return replace(ask, pinned=pinned, system=system, continues=reply.id, prefix=found.text)


def _pinned(db: Database, reply: Reply) -> str | None:
    """Who wrote the beginning; None when it is not served any more, and another goes on."""
    if reply.adapter_id is None:
        return f"{domains.by_id(db, reply.domain_id).name}@base"
    adapter = registry.by_id(db, reply.adapter_id)
    return adapter.name if adapter.state in SERVED else None


def _system(db: Database, reply: Reply) -> str | None:
    """The system prompt of the variant that began, None where it was the domain's."""
    known = experiments.list_experiments(db, domains.by_id(db, reply.domain_id))
    variants = (variant for experiment in known for variant in experiment.variants)
    return next((v.system_prompt for v in variants if v.id == reply.variant_id), None)
