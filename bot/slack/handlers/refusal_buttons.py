"""The buttons under a refusal: a nearest question, and "Ask a person".

A nearest question is queued like one that somebody typed, so it is answered exactly once, in the
same thread. "Ask a person" records the wish and posts the question, with a link to the thread, to
the channel or the person that the domain names (`understudy domains people`).
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from sqlite_utils import Database

from bot.slack.client.stream import SlackPlace
from bot.slack.client.web_api import Transport, failure
from bot.slack.payloads import person, place_of, thread_key
from bot.slack.render import answer_sources, blocks
from bot.slack.render.blocks import escape, section
from bot.slack.workspace.context import WorkspaceContext
from data import domains
from data.conversations import conversations
from data.domains import Domain
from data.feedback import unanswered
from data.feedback.unanswered import Unanswered
from data.pairs import reply_sources
from data.slack import question_queue
from data.store.errors import Conflict, Forbidden, NotFound

log = logging.getLogger(__name__)

Ack = Callable[..., Awaitable[Any]]
MAX_SUGGESTIONS = 3
RECORDED = "Your question is now on the list that reviewers work through."
PASSED_ON = "I passed your question on. Somebody will answer in this thread or get in touch."


def suggestions(db: Database, reply_id: str) -> tuple[str, ...]:
    """The questions under a refusal: the nearest ones, or else the domain's own."""
    nearest = tuple(s.prompt for s in reply_sources.of_reply(db, reply_id))
    if nearest:
        return nearest[:MAX_SUGGESTIONS]
    domain = domains.by_id(db, conversations.reply(db, reply_id).domain_id)
    return domain.suggested_prompts[:MAX_SUGGESTIONS]


async def suggestion_button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """A press of a nearest question: queue it, then acknowledge."""
    number, _, reply_id = str(body["actions"][0].get("value") or "").partition(" ")
    place, message_ts = place_of(body), str((body.get("message") or {}).get("ts") or "")
    response_url = str(body.get("response_url") or "")
    private = bool(body.get("container", {}).get("is_ephemeral"))
    async with workspace.report_errors(place, response_url):
        await workspace.service.store.submit(
            lambda db: _put(
                db, int(number), reply_id, place, message_ts, response_url if private else ""
            )
        )
    await ack()
    workspace.queue.wake()


def _put(
    db: Database, number: int, reply_id: str, place: SlackPlace, message_ts: str, response_url: str
) -> None:
    """Raises NotFound if the refusal or its question is gone, Forbidden if it belongs to another
    channel, and Conflict if the question was asked from this message before."""
    found = conversations.reply_with_question(db, reply_id)
    here = thread_key(place.team, place.channel, "")
    if not found.thread.startswith(here):
        raise Forbidden("That answer belongs to another channel.")
    known = suggestions(db, reply_id)
    if number >= len(known):
        raise NotFound("That question has no approved answer any more. Please ask it yourself.")
    added = question_queue.add(
        db,
        team=place.team,
        channel=place.channel,
        ts=f"suggestion/{number}/{reply_id}",
        asked_ts=message_ts,
        thread_ts=found.thread.removeprefix(here),
        user=place.user,
        text=escape(known[number]),
        response_url=response_url,
    )
    if not added:
        raise Conflict("This was asked already. The answer is further down.")


async def want_person_button(workspace: WorkspaceContext, ack: Ack, body: dict[str, Any]) -> None:
    """A press of "Ask a person": record it, acknowledge, and tell the domain's people."""
    reply_id, place = str(body["actions"][0].get("value") or ""), place_of(body)
    response_url = str(body.get("response_url") or "")
    wanted: tuple[Unanswered, Domain, bool] | None = None
    async with workspace.report_errors(place, response_url):
        wanted = await workspace.service.store.submit(
            lambda db: _want(db, reply_id, person(place.team, place.user))
        )
    await ack()
    if wanted is not None:
        question, domain, first = wanted
        workspace.tasks.start(_hand_over(workspace, place, question, domain, first), "person")


def _want(db: Database, reply_id: str, who: str) -> tuple[Unanswered, Domain, bool]:
    """The question, its domain, and whether this is the first press."""
    first = unanswered.get(db, reply_id).person_asked_at is None
    found = unanswered.want_person(db, reply_id, who)
    return found, domains.by_id(db, found.domain_id), first


async def _hand_over(
    workspace: WorkspaceContext,
    place: SlackPlace,
    question: Unanswered,
    domain: Domain,
    first: bool,
) -> None:
    async with workspace.report_errors(place):
        told = first and await _tell_people(workspace, place, question, domain)
        await workspace.tell(place, PASSED_ON if told or not first else RECORDED)


async def _tell_people(
    workspace: WorkspaceContext, place: SlackPlace, question: Unanswered, domain: Domain
) -> bool:
    """Post the question to the domain's people. False if there are none in this workspace, or if
    Slack rejects the message; the question is on the list in any case."""
    team, _, target = domain.people.removeprefix("slack:").partition("/")
    if not target or team != place.team:
        return False
    link = "" if place.is_dm else await _permalink(workspace, place)
    asked = blocks.one_line(question.question, blocks.SECTION - 500)
    content = [section(answer_sources.handed_over(question.person, asked, link))]
    return await workspace.post(target, content) is not None


async def _permalink(workspace: WorkspaceContext, place: SlackPlace) -> str:
    """The link to the thread; '' if Slack gives none."""
    try:
        response = await workspace.api.patient.chat_getPermalink(
            channel=place.channel, message_ts=place.thread_ts
        )
    except Transport as error:
        log.info("chat.getPermalink: %s", failure(error).code)
        return ""
    return str(response["permalink"])
