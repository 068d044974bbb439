"""Answers a queued question in Slack: whether the bot may answer, what the question is, and what
people read if there is no answer. A later attempt continues where an interrupted one stopped."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from sqlite_utils import Database

from bot.answering.admission import TooBusy
from bot.answering.plan import NobodyCanAnswer
from bot.answering.prompt import Ask
from bot.slack.client import stream
from bot.slack.client.stream import ChannelRefused, LeaseLost, NotShown, SlackPlace
from bot.slack.handlers import (
    addressing,
    answer_stream,
    private_answer,
    question_context,
    regenerate,
    waiting_status,
)
from bot.slack.handlers.answer_stream import NoAnswer
from bot.slack.payloads import person, shown_at, thread_key
from bot.slack.render import blocks, message_text
from bot.slack.workspace.context import INTERNAL_ERROR, WorkspaceContext
from bot.slack.workspace.question_worker import QuestionLease
from data import domains
from data.conversations import conversations
from data.feedback import rating_totals, reactions
from data.slack import channels, problems, question_queue
from data.slack.question_queue import QueuedQuestion
from data.store.clock import now_us
from data.store.errors import Unavailable, UnderstudyError
from serving.client import EngineDown, EngineGone, WrongAdapter

log = logging.getLogger(__name__)

ENGINE_AWAY = "I can't answer now because my engine is not responding. Please ask again in {}."
GIVE_UP = "I tried several times to answer this, but was interrupted each time. Please ask again."
SWITCHED_OFF = "An admin has switched me off in this channel. Ask me in a direct message."

MAX_ATTEMPTS = 25  # that lost their worker; the question itself may crash it
MAX_WAIT_S = 120  # that a question waits while too many answers are being written
WARM_UP_S = 300  # after a start, how long questions from before it wait for an engine
RETRY_S = 2.0
SLACK_AWAY_S = 20.0
MOMENT_S = 10  # a shorter wait is called "a moment"


async def answer(workspace: WorkspaceContext, lease: QuestionLease) -> None:
    """Answer a leased question, then finish it or give it back. Raises LeaseLost."""
    question = lease.question
    thread_ts = "" if question.response_url else question.thread_ts
    place = SlackPlace(question.team, question.channel, thread_ts, question.user)
    try:
        if question.withdrawn:
            await _remove_shown(workspace, lease, place)
            await waiting_status.show_status(workspace, lease, place, "")
            await lease.finish()
        elif question.attempts >= MAX_ATTEMPTS:
            await _remove_shown(workspace, lease, place)
            await workspace.tell(place, GIVE_UP, question.response_url)
            await lease.finish()
        else:
            await _answer(workspace, lease, place)
    except LeaseLost:
        raise
    except UnderstudyError as error:
        if wait_s := _retry_after_s(workspace, question, error):
            await lease.give_back(wait_s)
        elif addressing.unasked(workspace, question):  # nobody waits for an answer
            log.info("Question %d was not answered: %s", question.id, error)
            await lease.finish()
        else:
            await _tell_failure(workspace, lease, place, error)
    except Exception:
        log.exception("The question %d could not be answered", question.id)
        if not addressing.unasked(workspace, question):
            await workspace.tell(place, INTERNAL_ERROR, question.response_url)
        await lease.finish()


async def _tell_failure(
    workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace, error: UnderstudyError
) -> None:
    """Tell the person why there is no answer, and finish."""
    if isinstance(error, ChannelRefused):
        log.warning("Slack refuses an answer in %s: %s", place.channel, error.code)
        await workspace.record_problem(place.channel, error.code)
        await workspace.tell(replace(place, channel="", thread_ts=""), str(error))
    else:
        await waiting_status.show_status(workspace, lease, place, "")
        await workspace.tell(place, _error_message(error), lease.question.response_url)
    await lease.finish()


async def _answer(workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace) -> None:
    """Show the answer of the engine. The engine is not asked if an earlier attempt got its
    answer."""
    question, store = lease.question, workspace.service.store
    if refused := await workspace.roles.refused_to_ask(place.team, place.user):
        if addressing.addressed_to_us(question, workspace.identity.bot_user):
            await workspace.tell(place, refused, question.response_url)
        await lease.finish()
        return
    listens = await store.read(lambda db: channels.listens(db, place.team, place.channel))
    if listens == "off" and not question.response_url:
        if addressing.addressed_to_us(question, workspace.identity.bot_user):
            await workspace.tell(place, SWITCHED_OFF)
        await lease.finish()
        return
    ask = await _read_question(workspace, question, place)
    if ask is None:
        await lease.finish()
        return
    earlier = await store.submit(lambda db: question_queue.begin(db, question, ask.reply_id))
    if question.response_url:
        await private_answer.answer_privately(workspace, lease, place, ask, earlier)
        return
    if earlier is not None:
        reply_id = earlier.reply_id
        shown = await answer_stream.show_finished(workspace, lease, place, ask, earlier)
    else:
        reply_id, shown = ask.reply_id, await answer_stream.ask(workspace, lease, place, ask)
    if not shown:
        await lease.finish()
        return
    await lease.finish(lambda db: _record_shown(db, reply_id, place, shown))


async def _read_question(
    workspace: WorkspaceContext, question: QueuedQuestion, place: SlackPlace
) -> Ask | None:
    """What is asked, and of which domain. None for a message without a question; the person is told
    what to ask."""
    store = workspace.service.store
    who = person(place.team, place.user)
    domain = await store.read(lambda db: domains.answering(db, who, place.team, place.channel))
    if question.again_of or question.continues:
        return await _follow_up(workspace, question, place, domain)
    me = workspace.identity.bot_user
    names = await workspace.names.of(message_text.people_in(question.text) - {me})
    text = message_text.plain_text(question.text, me, names)
    thread = thread_key(place.team, place.channel, question.thread_ts)
    asked_at = shown_at(place.team, place.channel, question.asked_ts)
    is_new = await store.read(lambda db: conversations.began_at(db, thread, asked_at))
    quoted = await question_context.read(workspace, question, place, is_new=is_new)
    if not text:
        if not addressing.unasked(workspace, question):
            hint = f"{quoted.notes} {_hint(domain)}".strip()
            await workspace.tell(place, hint, question.response_url)
        return None
    if is_new and place.is_dm:
        title = waiting_status.set_title(workspace, place, text)
        workspace.tasks.start(title, "title")
    return Ask(
        person=who, thread=thread, text=text, domain=domain, external_id=asked_at, quoted=quoted
    )


async def _follow_up(
    workspace: WorkspaceContext,
    question: QueuedQuestion,
    place: SlackPlace,
    domain: domains.Domain,
) -> Ask:
    """An earlier question again, or the rest of its answer."""
    store, bot = workspace.service.store, workspace.service.settings.bot
    who = person(place.team, place.user)
    ask = await store.read(lambda db: regenerate.follow_up(db, question, who, domain, bot))
    if not question.again_of:
        return ask
    began = await store.read(lambda db: conversations.began_at(db, ask.thread, ask.external_id))
    return replace(ask, quoted=await question_context.read_again(workspace, question, place, began))


def _record_shown(db: Database, reply_id: str, place: SlackPlace, shown: Sequence[str]) -> None:
    """Record which messages show the complete answer, and count reactions that were added
    meanwhile. A message with two answers is left out, because an emoji can't tell which one it
    rates."""
    problems.clear(db, place.team, place.channel)
    *earlier, last = (shown_at(place.team, place.channel, ts) for ts in shown)
    if not rating_totals.shown_side_by_side(db, reply_id):
        conversations.record_shown_at(db, reply_id, last, earlier)
        reactions.settle_thumb(db, reply_id)


async def _remove_shown(
    workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace
) -> None:
    """Delete the visible part of an answer that will not be completed, for example because its
    question was deleted."""
    shown = {0: lease.shown_ts} if lease.shown_ts else {}
    if lease.begun and not shown:
        shown = await stream.find(
            workspace.api, workspace.identity.bot_user, place, lease, workspace.pace
        )
    for ts in shown.values():
        await stream.delete(workspace.api, place.channel, ts)


def _error_message(error: UnderstudyError) -> str:
    """The message for a failed answer. An engine's address and error go to the log only, for
    the operator."""
    if isinstance(error, NobodyCanAnswer):
        long = error.retry_after >= MOMENT_S
        return ENGINE_AWAY.format(blocks.duration(error.retry_after) if long else "a moment")
    if type(error) in (EngineDown, EngineGone, WrongAdapter):
        return ENGINE_AWAY.format("a minute")
    return str(error)


def _retry_after_s(
    workspace: WorkspaceContext, question: QueuedQuestion, error: UnderstudyError
) -> float:
    """Seconds until the question is tried again; 0 means that the person gets the error now."""
    now = now_us()
    if isinstance(error, NotShown):
        return SLACK_AWAY_S
    if isinstance(error, TooBusy):
        waited_us = now - question.created_at
        return error.retry_after if waited_us < MAX_WAIT_S * 1_000_000 else 0.0
    started = workspace.queue.started_us
    from_before = question.created_at < started and now - started < WARM_UP_S * 1_000_000
    waits_for_engine = isinstance(error, Unavailable) and not isinstance(error, NoAnswer)
    return RETRY_S if from_before and waits_for_engine else 0.0


def _hint(domain: domains.Domain) -> str:
    example = domain.suggested_prompts[0] if domain.suggested_prompts else "How do I get started?"
    hint = f"I answer questions about {domain.title}. Ask me one, for example: {example}"
    return blocks.without_mentions(hint)
