"""Answers a queued question in Slack: the status while people wait, the streamed text, and the
notes and buttons at the end. A later attempt continues where an interrupted one stopped."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlite_utils import Database

from bot.answering import side_by_side
from bot.answering.admission import TooBusy
from bot.answering.chat import Ask, Delta, Ended, Started, fallback_note
from bot.answering.plan import NobodyCanAnswer
from bot.answering.prompt import Quoted
from bot.slack.client import stream
from bot.slack.client.stream import AnswerMessage, ChannelRefused, LeaseLost, NotShown, SlackPlace
from bot.slack.client.web_api import Transport
from bot.slack.handlers import preference_buttons, question_context, refusal_buttons, regenerate
from bot.slack.payloads import person, shown_at, thread_key
from bot.slack.render import answer_sources, blocks, message_text
from bot.slack.render.blocks import Block
from bot.slack.render.message_split import reopened
from bot.slack.workspace.context import INTERNAL_ERROR, WorkspaceContext
from bot.slack.workspace.question_worker import QuestionLease
from data import domains
from data.conversations import conversations
from data.feedback import rating_totals, reactions
from data.pairs import reply_sources
from data.slack import channels, problems, question_queue
from data.slack.question_queue import EarlierAttempt, QueuedQuestion
from data.store.clock import now_us
from data.store.errors import Unavailable, UnderstudyError
from serving.client import EngineDown, EngineGone, WrongAdapter

log = logging.getLogger(__name__)

UNASKED = ("declined", "small_talk")  # not shown where nobody addressed the bot
LOADING_MESSAGES = ("Thinking it over…", "Finding the words…")
CUT_AT_LENGTH = "The answer reached its maximum length. Press Continue to read the rest."
LENGTH = "length"  # the engine's finish reason for an answer that reached its maximum length
STOPPING = "The service is restarting. The answer will continue here when it is back."
BROKE_OFF = "Something went wrong on our side during this answer. Please ask again."
ENGINE_AWAY = "I can't answer now because my engine is not responding. Please ask again in {}."
GIVE_UP = "I tried several times to answer this, but was interrupted each time. Please ask again."
SWITCHED_OFF = "An admin has switched me off in this channel. Ask me in a direct message."
EMPTY_ANSWER = "The model gave an empty answer. Try rephrasing your question."

MAX_ATTEMPTS = 25  # that lost their worker; the question itself may crash it
MAX_WAIT_S = 120  # that a question waits while too many answers are being written
WARM_UP_S = 300  # after a start, how long questions from before it wait for an engine
RETRY_S = 2.0
SLACK_AWAY_S = 20.0
MOMENT_S = 10  # a shorter wait is called "a moment"
STATUS_S = 100.0  # a status is renewed after this time, because Slack clears it after two minutes
MAX_TITLE = 75  # characters of a thread's title
STOP_POLL_S = 0.2  # between two checks whether the person pressed stop


class NoAnswer(Unavailable):
    """The engine finished without any text."""


async def answer(workspace: WorkspaceContext, lease: QuestionLease) -> None:
    """Answer a leased question, then finish it or give it back. Raises LeaseLost."""
    question = lease.question
    thread_ts = "" if question.response_url else question.thread_ts
    place = SlackPlace(question.team, question.channel, thread_ts, question.user)
    try:
        if question.withdrawn:
            await _remove_shown(workspace, lease, place)
            await _show_status(workspace, lease, place, "")
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
        elif _unasked(workspace, question):  # nobody waits for an answer
            log.info("Question %d was not answered: %s", question.id, error)
            await lease.finish()
        else:
            await _tell_failure(workspace, lease, place, error)
    except Exception:
        log.exception("The question %d could not be answered", question.id)
        if not _unasked(workspace, question):
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
        await _show_status(workspace, lease, place, "")
        await workspace.tell(place, _error_message(error), lease.question.response_url)
    await lease.finish()


async def _answer(workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace) -> None:
    """Show the answer of the engine. The engine is not asked if an earlier attempt got its
    answer."""
    question, store = lease.question, workspace.service.store
    who = person(place.team, place.user)
    if refused := await workspace.roles.refused_to_ask(place.team, place.user):
        if _addressed_to_us(question, workspace.identity.bot_user):
            await workspace.tell(place, refused, question.response_url)
        await lease.finish()
        return
    listens = await store.read(lambda db: channels.listens(db, place.team, place.channel))
    if listens == "off" and not question.response_url:
        if _addressed_to_us(question, workspace.identity.bot_user):
            await workspace.tell(place, SWITCHED_OFF)
        await lease.finish()
        return
    domain = await store.read(lambda db: domains.answering(db, who, place.team, place.channel))
    if question.again_of or question.continues:
        bot = workspace.service.settings.bot
        ask = await store.read(lambda db: regenerate.follow_up(db, question, who, domain, bot))
        if question.again_of:
            began = await store.read(
                lambda db: conversations.began_at(db, ask.thread, ask.external_id)
            )
            ask = replace(
                ask, quoted=await question_context.read_again(workspace, question, place, began)
            )
    else:
        names = await workspace.names.of(
            message_text.people_in(question.text) - {workspace.identity.bot_user}
        )
        text = message_text.plain_text(question.text, workspace.identity.bot_user, names)
        thread = thread_key(place.team, place.channel, question.thread_ts)
        asked_at = shown_at(place.team, place.channel, question.asked_ts)
        is_new = await store.read(lambda db: conversations.began_at(db, thread, asked_at))
        quoted = await question_context.read(workspace, question, place, is_new=is_new)
        if not text:
            if not _unasked(workspace, question):
                await workspace.tell(place, f"{quoted.note} {_hint(domain)}".strip())
            await lease.finish()
            return
        ask = Ask(
            person=who,
            thread=thread,
            text=text,
            domain=domain,
            external_id=asked_at,
            quoted=quoted,
        )
        if is_new and place.is_dm:
            workspace.tasks.start(_set_title(workspace, place, text), "title")
    earlier = await store.submit(lambda db: question_queue.begin(db, question, ask.reply_id))
    if question.response_url:
        await _answer_privately(workspace, lease, place, ask, earlier)
        return
    if earlier is not None:
        reply_id = earlier.reply_id
        shown = await _show_finished(workspace, lease, place, ask, earlier)
    else:
        reply_id, shown = ask.reply_id, await _ask(workspace, lease, place, ask)
    if not shown:
        await lease.finish()
        return
    await lease.finish(lambda db: _record_shown(db, reply_id, place, shown))


def _addressed_to_us(question: QueuedQuestion, me: str) -> bool:
    """False for a message without a mention in a thread where the bot takes part."""
    pressed = question.again_of or question.continues or question.response_url
    return (
        bool(pressed)
        or question.channel.startswith("D")
        or message_text.mentions(question.text, me)
    )


def _unasked(workspace: WorkspaceContext, question: QueuedQuestion) -> bool:
    """Whether nobody addressed the bot: a new message in a channel where it answers everything."""
    is_new = question.thread_ts == question.asked_ts
    return is_new and not _addressed_to_us(question, workspace.identity.bot_user)


def _record_shown(db: Database, reply_id: str, place: SlackPlace, shown: Sequence[str]) -> None:
    """Record which messages show the complete answer, and count reactions that were added
    meanwhile. A message with two answers is left out, because an emoji can't tell which one it
    rates."""
    problems.clear(db, place.team, place.channel)
    *earlier, last = (shown_at(place.team, place.channel, ts) for ts in shown)
    if not rating_totals.shown_side_by_side(db, reply_id):
        conversations.record_shown_at(db, reply_id, last, earlier)
        reactions.settle_thumb(db, reply_id)


class _Status:
    """The status that Slack shows while people wait. It is renewed before it expires, until
    `end`."""

    def __init__(
        self, workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace
    ) -> None:
        self._over = asyncio.Event()
        self._task = workspace.tasks.start(self._keep(workspace, lease, place), "status")

    def end(self) -> "asyncio.Task[None]":
        """Stop renewing the status. The returned task ends with the last call to Slack."""
        self._over.set()
        return self._task

    async def _keep(
        self, workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace
    ) -> None:
        while not self._over.is_set():
            await _show_status(workspace, lease, place, "is thinking…")
            await workspace.api.clock.wait(self._over, STATUS_S)


async def _ask(
    workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace, ask: Ask
) -> list[str]:
    """Stream an answer, or show two complete ones if a comparison asks for a preference."""
    status, other = _Status(workspace, lease, place), None
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
    status: _Status,
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
    return await _show_finished(workspace, lease, place, ask, ended)


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


async def _stream(
    workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace, ask: Ask, status: _Status
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
        below = await _below(
            workspace, ask, ask.reply_id, note, progress.fallback, progress.finish_reason
        )
        return await _finish(lease, progress.message, below)
    if lease.stopped or progress.unshown:
        await asyncio.wait([status.end()])
        await _show_status(workspace, lease, place, "")
        return []
    raise NoAnswer(EMPTY_ANSWER)


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
    status: _Status,
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
                progress.unshown = event.outcome in UNASKED and _unasked(workspace, lease.question)
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


async def _show_finished(
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
    return await _finish(lease, message, await _below_finished(workspace, ask, earlier))


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


async def _below(
    workspace: WorkspaceContext,
    ask: Ask,
    reply_id: str,
    note: str,
    fallback: str,
    finish_reason: str,
) -> list[Block]:
    """The blocks under an answer: notes about an error or a fallback, what the answer rests on, 👍
    and 👎, and buttons."""
    generated, grounds = await workspace.service.store.read(lambda db: _grounds(db, reply_id))
    cut = finish_reason == LENGTH and not note
    parts = (CUT_AT_LENGTH if cut else note, fallback, ask.quoted.note)
    notes = " ".join(part for part in parts if part)
    rest = ask.continues is not None
    return blocks.below_answer(
        reply_id, notes, cut=cut, rest=rest, generated=generated, grounds=grounds
    )


def _grounds(db: Database, reply_id: str) -> tuple[bool, list[Block]]:
    """Whether a model wrote the answer, and the blocks that say what it rests on."""
    reply = conversations.reply(db, reply_id)
    if reply.outcome == "declined":
        suggested = refusal_buttons.suggestions(db, reply_id)
        return False, answer_sources.refusal_blocks(reply_id, suggested)
    sources = reply_sources.of_reply(db, reply_id)
    shown = answer_sources.sources_block(
        reply.outcome, reply.layout, sources, uncertain=bool(reply.uncertain)
    )
    return reply.outcome == "generated", shown


async def _below_finished(
    workspace: WorkspaceContext, ask: Ask, earlier: EarlierAttempt
) -> list[Block]:
    note = BROKE_OFF if earlier.error == "internal error" else earlier.error
    fallback = fallback_note(earlier.adapter, earlier.instead_of)
    reply_id, reason = earlier.reply_id, earlier.finish_reason
    return await _below(workspace, ask, reply_id, note, fallback, reason)


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


async def _answer_privately(
    workspace: WorkspaceContext,
    lease: QuestionLease,
    place: SlackPlace,
    ask: Ask,
    earlier: EarlierAttempt | None,
) -> None:
    """The answer to `/understudy ask`, which only the person who asked sees."""
    if earlier is not None:
        text, below = earlier.text, await _below_finished(workspace, ask, earlier)
    else:
        text, below = await _complete_answer(workspace, ask)
    await lease.begin()
    for content in blocks.answers(reopened(ask.prefix, blocks.MARKDOWN) + text, below):
        await workspace.respond(place, lease.question.response_url, content)
    await lease.finish()


async def _complete_answer(workspace: WorkspaceContext, ask: Ask) -> tuple[str, list[Block]]:
    """A complete answer, and the blocks under it."""
    parts: list[str] = []
    fallback = note = finish_reason = ""
    try:
        async with contextlib.aclosing(workspace.service.chat.answer(ask)) as events:
            async for event in events:
                if isinstance(event, Started):
                    fallback = fallback_note(event.adapter, event.instead_of)
                elif isinstance(event, Delta):
                    parts.append(event.text)
                elif isinstance(event, Ended):
                    finish_reason = event.finish_reason
    except UnderstudyError as error:
        if not parts:
            raise
        note = str(error)
    text = "".join(parts)
    if not text.strip():
        raise NoAnswer(EMPTY_ANSWER)
    below = await _below(workspace, ask, ask.reply_id, note, fallback, finish_reason)
    return text, below


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


async def _show_status(
    workspace: WorkspaceContext, lease: QuestionLease, place: SlackPlace, status: str
) -> None:
    """Set the status that Slack shows while people wait. A failure does not stop the answer."""
    if lease.question.response_url or _unasked(workspace, lease.question):
        return
    try:
        await workspace.api.quick.assistant_threads_setStatus(
            channel_id=place.channel,
            thread_ts=place.thread_ts,
            status=status,
            loading_messages=list(LOADING_MESSAGES) if status else None,
        )
    except Transport as error:
        log.debug("The status could not be set: %s", error)


async def _set_title(workspace: WorkspaceContext, place: SlackPlace, question: str) -> None:
    """Name the thread in the list of conversations that Slack shows. Not every workspace has that
    list, so a failure is no problem."""
    try:
        await workspace.api.quick.assistant_threads_setTitle(
            channel_id=place.channel,
            thread_ts=place.thread_ts,
            title=blocks.shorten(" ".join(question.split()), MAX_TITLE),
        )
    except Transport as error:
        log.debug("The title could not be set: %s", error)


def _hint(domain: domains.Domain) -> str:
    example = domain.suggested_prompts[0] if domain.suggested_prompts else "How do I get started?"
    return f"I answer questions about {domain.title}. Ask me one, for example: {example}"
