"""A question of the queue, answered in Slack: the status while it waits, the stream, what is said
at its end. An attempt that finds the traces of an earlier one goes on where that one stopped."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from bot.answering import side_by_side
from bot.answering.admission import TooBusy
from bot.answering.chat import Ask, Delta, Ended, Started, fallback_note
from bot.answering.plan import NobodyCanAnswer
from bot.slack.client import stream
from bot.slack.client.stream import AnswerMessage, Lost, NotShown, SlackPlace
from bot.slack.client.web_api import Transport
from bot.slack.handlers import preference_buttons, regenerate
from bot.slack.payloads import person, shown_at, thread_key
from bot.slack.render import blocks, message_text
from bot.slack.render.blocks import Block
from bot.slack.render.message_split import reopened
from bot.slack.workspace.context import OUR_FAULT, WorkspaceContext
from bot.slack.workspace.question_worker import QuestionLease
from data import domains
from data.conversations import conversations
from data.feedback import rating_totals, reactions
from data.slack import question_queue
from data.slack.question_queue import EarlierAttempt, QueuedQuestion
from data.store.clock import now_us
from data.store.errors import Unavailable, UnderstudyError
from serving.client import EngineDown, EngineGone, WrongAdapter

log = logging.getLogger(__name__)

WAITING = ("Thinking it over…", "Looking for the words…")
CUT_AT_LENGTH = "The answer was cut at its greatest length. Press Continue to read on."
LENGTH = "length"  # why the engine ended it
STOPPING = "The service is being restarted. The answer goes on here as soon as it is back."
BROKE_OFF = "Something went wrong on our side during this answer. Please ask again."
ENGINE_AWAY = "I can't answer just now: my engine does not respond. Please ask again in {}."
GIVE_UP = "I tried several times to answer this, and was stopped each time. Please ask it anew."

MOST_ATTEMPTS = 25  # that lost their worker: the question itself may be what stops it
PATIENCE_S = 120  # how long a question waits while too many answers are being written
WARM_UP_S = 300  # after a start, questions from before it wait so long for an engine
RETRY_S = 2.0
SLACK_AWAY_S = 20.0
A_MOMENT_S = 10  # and less is "a moment"
STATUS_S = 100.0  # after that a status is shown anew: Slack's last two minutes
STOP_S = 0.2  # between two looks whether the person pressed stop


class NoAnswer(Unavailable):
    """The engine ended without a word."""


async def answer(workspace: WorkspaceContext, claim: QuestionLease) -> None:
    """Answer a claimed question, and finish it or give it back. Raises Lost."""
    question = claim.question
    thread_ts = "" if question.response_url else question.thread_ts
    place = SlackPlace(question.team, question.channel, thread_ts, question.user)
    try:
        if question.withdrawn:
            await _remove_shown(workspace, claim, place)
            await _show_status(workspace, claim, place, "")
            await claim.finish()
        elif question.attempts >= MOST_ATTEMPTS:
            await _remove_shown(workspace, claim, place)
            await workspace.tell(place, GIVE_UP, question.response_url)
            await claim.finish()
        else:
            await _answer(workspace, claim, place)
    except Lost:
        raise
    except UnderstudyError as error:
        if wait_s := _worth_waiting(workspace, question, error):
            await claim.give_back(wait_s)
            return
        await _show_status(workspace, claim, place, "")
        await workspace.tell(place, _in_words(error), question.response_url)
        await claim.finish()
    except Exception:
        log.exception("The question %d could not be answered", question.id)
        await workspace.tell(place, OUR_FAULT, question.response_url)
        await claim.finish()


async def _answer(workspace: WorkspaceContext, claim: QuestionLease, place: SlackPlace) -> None:
    """Ask the engine, unless it has answered already, and show what it says."""
    question, store = claim.question, workspace.service.store
    who = person(place.team, place.user)
    if refused := await workspace.roles.refused_to_ask(place.team, place.user):
        if _said_to_us(question, workspace.identity.bot_user):
            await workspace.tell(place, refused, question.response_url)
        await claim.finish()
        return
    domain = await store.read(lambda db: domains.answering(db, who, place.team, place.channel))
    if question.again_of or question.continues:
        bot = workspace.service.settings.bot
        ask = await store.read(lambda db: regenerate.follow_up(db, question, who, domain, bot))
    else:
        names = await workspace.names.of(
            message_text.people_in(question.text) - {workspace.identity.bot_user}
        )
        text = message_text.plain_text(question.text, workspace.identity.bot_user, names)
        if not text:
            await workspace.tell(place, _hint(domain))
            await claim.finish()
            return
        ask = Ask(
            person=who,
            thread=thread_key(place.team, place.channel, question.thread_ts),
            text=text,
            domain=domain,
            external_id=shown_at(place.team, place.channel, question.ts),
        )
    earlier = await store.submit(lambda db: question_queue.begin(db, question, ask.reply_id))
    if question.response_url:
        await _whisper(workspace, claim, place, ask, earlier)
        return
    if earlier is not None:
        reply_id, ts = earlier.reply_id, await _show_again(workspace, claim, place, ask, earlier)
    else:
        reply_id, ts = ask.reply_id, await _ask(workspace, claim, place, ask)
    if ts is None:
        await claim.finish()
        return
    where = shown_at(place.team, place.channel, ts)
    await claim.finish(lambda db: _shown(db, reply_id, where))


def _said_to_us(question: QueuedQuestion, me: str) -> bool:
    """False for what was said in a thread in which we take part, without a mention."""
    pressed = question.again_of or question.continues or question.response_url
    return (
        bool(pressed)
        or question.channel.startswith("D")
        or message_text.mentions(question.text, me)
    )


def _shown(db: Database, reply_id: str, where: str) -> None:
    """The answer stands there to its end; what was marked meanwhile counts. Where two stand, an
    emoji says nothing about one of them."""
    if not rating_totals.shown_side_by_side(db, reply_id):
        conversations.shown_as(db, reply_id, where)
        reactions.settle_thumb(db, reply_id)


class _Status:
    """What Slack shows while people wait: shown anew before it expires, until `end`."""

    def __init__(
        self, workspace: WorkspaceContext, claim: QuestionLease, place: SlackPlace
    ) -> None:
        self._over = asyncio.Event()
        self._task = workspace.tasks.start(self._keep(workspace, claim, place), "status")

    def end(self) -> "asyncio.Task[None]":
        """Show it no more; the task ends when the last call has."""
        self._over.set()
        return self._task

    async def _keep(
        self, workspace: WorkspaceContext, claim: QuestionLease, place: SlackPlace
    ) -> None:
        while not self._over.is_set():
            await _show_status(workspace, claim, place, "is thinking…")
            await workspace.api.clock.wait(self._over, STATUS_S)


async def _ask(
    workspace: WorkspaceContext, claim: QuestionLease, place: SlackPlace, ask: Ask
) -> str | None:
    """Show an answer as it is written, or two whole ones when a comparison wants a choice."""
    status, other = _Status(workspace, claim, place), None
    try:
        if ask.regenerates is None and ask.continues is None:
            turns = workspace.service.settings.bot.history_turns
            other = await workspace.service.store.read(
                lambda db: side_by_side.wanted(db, ask, turns)
            )
        if other is None:
            return await _write(workspace, claim, place, ask, status)
        return await _write_both(workspace, claim, place, ask, other, status)
    except UnderstudyError:
        await asyncio.wait([status.end()])  # a call that came later would stay
        raise
    finally:
        status.end()


async def _write_both(
    workspace: WorkspaceContext,
    claim: QuestionLease,
    place: SlackPlace,
    ask: Ask,
    other: Ask,
    status: _Status,
) -> str | None:
    """Two answers, or what came of the person's own one; returns the ts. Raises as `_write`."""
    service, problem = workspace.service, None
    try:
        await _unless_stopped(claim, side_by_side.both(service.chat, service.store, ask, other))
    except UnderstudyError as error:
        problem = error
    ended = await service.store.read(lambda db: question_queue.earlier(db, ask.reply_id))
    if ended is None:
        if claim.stopped:
            return None
        raise problem or NoAnswer("The model had nothing to say to that. Try other words.")
    await asyncio.wait([status.end()])
    return await _show_again(workspace, claim, place, ask, ended)


async def _unless_stopped(claim: QuestionLease, work: Coroutine[Any, Any, object]) -> None:
    """Wait for `work`, or cancel it when the person presses stop. Raises what it raises."""
    task = asyncio.create_task(work)
    try:
        while not task.done() and not claim.stopped:
            await asyncio.wait({task}, timeout=STOP_S)
        if task.done():
            task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _write(
    workspace: WorkspaceContext, claim: QuestionLease, place: SlackPlace, ask: Ask, status: _Status
) -> str | None:
    """Stream the answer; returns its ts. Raises what went wrong before the first word; after it,
    the words stay and a note below says what happened."""
    said, note = _Said(), ""
    try:
        await _unless_stopped(claim, _listen(workspace, claim, place, ask, status, said))
    except asyncio.CancelledError:
        if said.message is not None:
            await (said.message.abandon() if claim.lost else said.message.suspend(STOPPING))
        raise
    except UnderstudyError as error:
        if said.message is None:
            raise
        note = str(error)
    except Exception:
        if said.message is None:
            raise
        log.exception("The answer %s failed", ask.reply_id)
        note = BROKE_OFF
    if said.message is not None:
        below = _below(ask, ask.reply_id, note, said.who, said.reason)
        return await _finish(claim, said.message, below)
    if claim.stopped:
        await asyncio.wait([status.end()])
        await _show_status(workspace, claim, place, "")
        return None
    raise NoAnswer("The model had nothing to say to that. Try other words.")


@dataclass
class _Said:
    """What has come of an answer."""

    message: AnswerMessage | None = None  # where its words go; None before the first one
    who: str = ""  # stood in for whom
    reason: str = ""  # why it ended


async def _listen(
    workspace: WorkspaceContext,
    claim: QuestionLease,
    place: SlackPlace,
    ask: Ask,
    status: _Status,
    said: _Said,
) -> None:
    """Read what the engine writes, into a message that begins when there is a word, and is shown
    after the status: one that came later would stay."""
    async with contextlib.aclosing(workspace.service.chat.answer(ask)) as events:
        async for event in events:
            if claim.stopped or (said.message is not None and said.message.stopped):
                return
            if isinstance(event, Started):
                said.who = fallback_note(event.adapter, event.instead_of)
            elif isinstance(event, Delta) and (said.message is not None or event.text.strip()):
                if said.message is None:
                    said.message = _message(
                        workspace, claim, place, ask, ask.reply_id, status.end()
                    )
                said.message.add(event.text)
            elif isinstance(event, Ended):
                said.reason = event.finish_reason


async def _show_again(
    workspace: WorkspaceContext,
    claim: QuestionLease,
    place: SlackPlace,
    ask: Ask,
    earlier: EarlierAttempt,
) -> str | None:
    """Show an answer that the engine has ended, or both of two."""
    pair = await workspace.service.store.read(
        lambda db: preference_buttons.button_pair(db, earlier.reply_id)
    )
    message = _message(workspace, claim, place, ask, earlier.reply_id)
    if pair is not None:
        message.add(pair.text)
        return await _finish(claim, message, pair.below)
    message.add(earlier.text)
    return await _finish(claim, message, _below_earlier(ask, earlier))


async def _finish(claim: QuestionLease, message: AnswerMessage, below: list[Block]) -> str | None:
    try:
        return await message.finish(below)
    except asyncio.CancelledError:
        if not claim.lost:
            await message.suspend(STOPPING)
        raise


def _message(
    workspace: WorkspaceContext,
    claim: QuestionLease,
    place: SlackPlace,
    ask: Ask,
    reply_id: str,
    after: "asyncio.Task[None] | None" = None,
) -> AnswerMessage:
    """A message for an answer, shown when `after` has ended; one that goes on with a fence or a
    table opens it again."""
    me = workspace.identity.bot_user
    message = AnswerMessage(workspace.api, me, place, reply_id, workspace.pace, claim, after)
    if opening := reopened(ask.prefix, blocks.MARKDOWN):
        message.add(opening)
    return message


def _below(ask: Ask, reply_id: str, note: str, who: str, finish_reason: str) -> list[Block]:
    """What stands under an answer: what went wrong, who stood in for whom, thumbs and buttons."""
    cut = finish_reason == LENGTH and not note
    said = f"{CUT_AT_LENGTH if cut else note} {who}".strip()
    return blocks.below_answer(reply_id, said, cut=cut, rest=ask.continues is not None)


def _below_earlier(ask: Ask, earlier: EarlierAttempt) -> list[Block]:
    note = BROKE_OFF if earlier.error == "internal error" else earlier.error
    who = fallback_note(earlier.adapter, earlier.instead_of)
    return _below(ask, earlier.reply_id, note, who, earlier.finish_reason)


async def _remove_shown(
    workspace: WorkspaceContext, claim: QuestionLease, place: SlackPlace
) -> None:
    """Delete what was shown of an answer that will not be: its question was deleted, say."""
    shown = {0: claim.shown_ts} if claim.shown_ts else {}
    if claim.begun and not shown:
        shown = await stream.find(
            workspace.api, workspace.identity.bot_user, place, claim, workspace.pace
        )
    for ts in shown.values():
        await stream.delete(workspace.api, place.channel, ts)


async def _whisper(
    workspace: WorkspaceContext,
    claim: QuestionLease,
    place: SlackPlace,
    ask: Ask,
    earlier: EarlierAttempt | None,
) -> None:
    """The answer of `/understudy ask`, which only the asker sees."""
    if earlier is not None:
        text, below = earlier.text, _below_earlier(ask, earlier)
    else:
        text, below = await _whole(workspace, ask)
    await claim.begin()
    for content in blocks.answers(reopened(ask.prefix, blocks.MARKDOWN) + text, below):
        await workspace.respond(place, claim.question.response_url, content)
    await claim.finish()


async def _whole(workspace: WorkspaceContext, ask: Ask) -> tuple[str, list[Block]]:
    """A whole answer, and what stands under it."""
    parts: list[str] = []
    who = note = reason = ""
    try:
        async with contextlib.aclosing(workspace.service.chat.answer(ask)) as events:
            async for event in events:
                if isinstance(event, Started):
                    who = fallback_note(event.adapter, event.instead_of)
                elif isinstance(event, Delta):
                    parts.append(event.text)
                elif isinstance(event, Ended):
                    reason = event.finish_reason
    except UnderstudyError as error:
        if not parts:
            raise
        note = str(error)
    text = "".join(parts)
    if not text.strip():
        raise NoAnswer("The model had nothing to say to that. Try other words.")
    return text, _below(ask, ask.reply_id, note, who, reason)


def _in_words(error: UnderstudyError) -> str:
    """What is told of a failure. Where an engine is and how it failed stands in the log, for who
    runs it."""
    if isinstance(error, NobodyCanAnswer):
        many = error.retry_after >= A_MOMENT_S
        return ENGINE_AWAY.format(blocks.duration(error.retry_after) if many else "a moment")
    if type(error) in (EngineDown, EngineGone, WrongAdapter):
        return ENGINE_AWAY.format("a minute")
    return str(error)


def _worth_waiting(
    workspace: WorkspaceContext, question: QueuedQuestion, error: UnderstudyError
) -> float:
    """Seconds after which the question is tried again; 0: what went wrong is told now."""
    now = now_us()
    if isinstance(error, NotShown):
        return SLACK_AWAY_S
    if isinstance(error, TooBusy):
        waited_us = now - question.created_at
        return error.retry_after if waited_us < PATIENCE_S * 1_000_000 else 0.0
    started = workspace.queue.started_us
    from_before = question.created_at < started and now - started < WARM_UP_S * 1_000_000
    waits_for_engine = isinstance(error, Unavailable) and not isinstance(error, NoAnswer)
    return RETRY_S if from_before and waits_for_engine else 0.0


async def _show_status(
    workspace: WorkspaceContext, claim: QuestionLease, place: SlackPlace, status: str
) -> None:
    """What Slack shows while people wait; an answer does not depend on it."""
    if claim.question.response_url:
        return
    try:
        await workspace.api.quick.assistant_threads_setStatus(
            channel_id=place.channel,
            thread_ts=place.thread_ts,
            status=status,
            loading_messages=list(WAITING) if status else None,
        )
    except Transport as error:
        log.debug("No status could be shown: %s", error)


def _hint(domain: domains.Domain) -> str:
    example = domain.suggested_prompts[0] if domain.suggested_prompts else "how do I begin?"
    return f"I answer questions on {domain.title}. Ask me one, for example: {example}"
