"""Streams an answer into Slack messages, or shows two complete ones if a comparison asks for a
preference. What an earlier attempt finished is shown without asking the engine again."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

from bot.answering import side_by_side
from bot.answering.events import Delta, Ended, Started, fallback_note
from bot.answering.prompt import Ask, Quoted
from bot.slack.client.stream import AnswerMessage, SlackPlace
from bot.slack.handlers import (
    addressing,
    answer_notes,
    preference_buttons,
    question_context,
    waiting_status,
)
from bot.slack.handlers.answer_notes import BROKE_OFF
from bot.slack.handlers.waiting_status import WaitingStatus
from bot.slack.render import blocks
from bot.slack.render.blocks import Block
from bot.slack.render.message_split import reopened
from bot.slack.workspace.context import WorkspaceContext
from bot.slack.workspace.question_worker import QuestionLease
from data.slack import question_queue
from data.slack.question_queue import EarlierAttempt
from data.store.errors import Unavailable, UnderstudyError

log = logging.getLogger(__name__)

UNASKED = ("declined", "small_talk")  # not shown where nobody addressed the bot
STOPPING = "The service is restarting. The answer will continue here when it is back."
EMPTY_ANSWER = "The model gave an empty answer. Try rephrasing your question."
STOP_POLL_S = 0.2  # between two checks whether the person pressed stop


class NoAnswer(Unavailable):
    """The engine finished without any text."""


async def ask(
    workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace, ask: Ask
) -> list[str]:
    """Stream an answer, or show two complete ones if a comparison asks for a preference."""
    status, other = WaitingStatus(workspace, lease, place), None
    try:
        if ask.regenerates is None and ask.continues is None:
            turns = workspace.service.settings.bot.history_turns
            other = await workspace.service.store.read(
                lambda db: side_by_side.wanted(db, ask, turns)
            )
        if other is None:
            return await _stream(workspace, lease, place, ask, status)
        return await _show_both(workspace, lease, place, ask, other, status)
    except UnderstudyError:
        await asyncio.wait([status.end()])  # a later status call would stay visible
        raise
    finally:
        status.end()


async def _show_both(
    workspace: WorkspaceContext,
    lease: QuestionLease,
    place: SlackPlace,
    ask: Ask,
    other: Ask,
    status: WaitingStatus,
) -> list[str]:
    """Show two answers, or only the person's own one if the other failed. Returns the ts of the
    messages. Raises as `_stream` does."""
    service, problem = workspace.service, None
    try:
        await _until_stopped(lease, side_by_side.both(service.chat, service.store, ask, other))
    except UnderstudyError as error:
        problem = error
    ended = await service.store.read(lambda db: question_queue.earlier(db, ask.reply_id))
    if ended is None:
        if lease.stopped:
            return []
        raise problem or NoAnswer(EMPTY_ANSWER)
    await asyncio.wait([status.end()])
    return await show_finished(workspace, lease, place, ask, ended)


async def _stream(
    workspace: WorkspaceContext,
    lease: QuestionLease,
    place: SlackPlace,
    ask: Ask,
    status: WaitingStatus,
) -> list[str]:
    """Stream the answer and return the ts of its messages. An error before the first word is
    raised. After the first word, the text stays and a note below it explains the error."""
    progress, note = _Progress(), ""
    try:
        await _until_stopped(lease, _read_events(workspace, lease, place, ask, status, progress))
    except asyncio.CancelledError:
        if progress.message is not None:
            await (progress.message.abandon() if lease.lost else progress.message.suspend(STOPPING))
        raise
    except UnderstudyError as error:
        if progress.message is None:
            raise
        note = str(error)
    except Exception:
        if progress.message is None:
            raise
        log.exception("The answer %s failed", ask.reply_id)
        note = BROKE_OFF
    if progress.message is not None:
        if progress.without_quoted:
            ask = replace(ask, quoted=Quoted(note=question_context.DID_NOT_FIT))
        below = await answer_notes.below(
            workspace, ask, ask.reply_id, note, progress.fallback, progress.finish_reason
        )
        return await _finish(lease, progress.message, below)
    if lease.stopped or progress.unshown:
        await asyncio.wait([status.end()])
        await waiting_status.show_status(workspace, lease, place, "")
        return []
    raise NoAnswer(EMPTY_ANSWER)


async def _until_stopped(lease: QuestionLease, work: Coroutine[Any, Any, object]) -> None:
    """Wait for `work`, and cancel it when the person presses stop. Raises whatever it raises."""
    task = asyncio.create_task(work)
    try:
        while not task.done() and not lease.stopped:
            await asyncio.wait({task}, timeout=STOP_POLL_S)
        if task.done():
            task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


@dataclass
class _Progress:
    """The state of an answer while it is streamed."""

    message: AnswerMessage | None = None  # None before the first word
    fallback: str = ""  # note that another adapter answered instead
    finish_reason: str = ""
    without_quoted: bool = False  # the files or the thread did not fit
    unshown: bool = False  # nobody asked the bot, and it has nothing to say


async def _read_events(
    workspace: WorkspaceContext,
    lease: QuestionLease,
    place: SlackPlace,
    ask: Ask,
    status: WaitingStatus,
    progress: _Progress,
) -> None:
    """Write the engine's events into a message. The message starts with the first word and is
    shown after the last status call, because a later status would stay visible."""
    async with contextlib.aclosing(workspace.service.chat.answer(ask)) as events:
        async for event in events:
            if lease.stopped or (progress.message is not None and progress.message.stopped):
                return
            if isinstance(event, Started):
                progress.fallback = fallback_note(event.adapter, event.instead_of)
                progress.unshown = event.outcome in UNASKED and addressing.unasked(
                    workspace, lease.question
                )
            elif progress.unshown:
                continue
            elif isinstance(event, Delta) and (progress.message is not None or event.text.strip()):
                if progress.message is None:
                    progress.message = _message(
                        workspace, lease, place, ask, ask.reply_id, status.end()
                    )
                progress.message.add(event.text)
            elif isinstance(event, Ended):
                progress.finish_reason = event.finish_reason
                progress.without_quoted = event.without_quoted


async def show_finished(
    workspace: WorkspaceContext,
    lease: QuestionLease,
    place: SlackPlace,
    ask: Ask,
    earlier: EarlierAttempt,
) -> list[str]:
    """Show an answer that the engine has finished, or both answers of a pair."""
    pair = await workspace.service.store.read(
        lambda db: preference_buttons.button_pair(db, earlier.reply_id)
    )
    message = _message(workspace, lease, place, ask, earlier.reply_id)
    if pair is not None:
        message.add(pair.text)
        return await _finish(lease, message, pair.below)
    message.add(earlier.text)
    return await _finish(lease, message, await answer_notes.below_finished(workspace, ask, earlier))


async def _finish(lease: QuestionLease, message: AnswerMessage, below: list[Block]) -> list[str]:
    """Complete the message. Returns the ts of each of its parts; none if it was deleted."""
    try:
        last = await message.finish(below)
    except asyncio.CancelledError:
        if not lease.lost:
            await message.suspend(STOPPING)
        raise
    return [] if last is None else [*message.earlier_parts, last]


def _message(
    workspace: WorkspaceContext,
    lease: QuestionLease,
    place: SlackPlace,
    ask: Ask,
    reply_id: str,
    after: "asyncio.Task[None] | None" = None,
) -> AnswerMessage:
    """A message for an answer, shown once `after` has ended. The rest of an answer reopens the
    code fence or table that it continues."""
    bot_user = workspace.identity.bot_user
    message = AnswerMessage(workspace.api, bot_user, place, reply_id, workspace.pace, lease, after)
    if opening := reopened(ask.prefix, blocks.MARKDOWN):
        message.add(opening)
    return message
