"""A question in Slack, answered: the status while it waits, the stream, what is said at its end."""

import asyncio
import contextlib
import logging

from bot.chat import Ask, Delta, Ended, Started, stand_in
from bot.slack import words
from bot.slack.accept import Said, shown_at
from bot.slack.api import Transport
from bot.slack.desk import Desk
from bot.slack.stream import AnswerMessage, Place
from data import conversations, domains
from data.errors import Unavailable, UnderstudyError

log = logging.getLogger(__name__)

WAITING = ("Thinking it over…", "Looking for the words…")
CUT_AT_LENGTH = "The answer was cut at its greatest length. Ask for the rest to read on."
STOPPING = "The service stopped during this answer. Please ask again."
OUR_FAULT = "Something went wrong on our side during this answer. Please ask again."


class NoAnswer(Unavailable):
    """The engine ended without a word."""


async def answer(desk: Desk, heard: Said) -> None:
    """Answer what was said, in its thread, after what was said there before it."""
    async with desk.tasks.in_order(heard.thread), desk.telling(heard.place):
        names = await desk.names.of(words.people_in(heard.text) - {desk.identity.bot_user})
        text = words.as_words(heard.text, desk.identity.bot_user, names)
        team, channel = heard.place.team, heard.place.channel
        domain = await desk.service.store.read(lambda db: domains.of_channel(db, team, channel))
        if not text:
            await desk.tell(heard.place, _hint(domain))
            return
        ask = Ask(
            person=heard.person,
            thread=heard.thread,
            text=text,
            domain=domain,
            external_id=heard.external_id,
        )
        await _show_status(desk, heard.place, "is thinking…")
        try:
            ts = await _write(desk, heard.place, ask)
        except UnderstudyError:
            await _show_status(desk, heard.place, "")
            raise
        if ts is not None:
            where = shown_at(team, channel, ts)
            await desk.service.store.submit(
                lambda db: conversations.shown_as(db, ask.reply_id, where)
            )


async def _write(desk: Desk, place: Place, ask: Ask) -> str | None:
    """Stream the answer; returns its ts. Raises what went wrong before the first word; after it,
    the words stay and a note below says what happened."""
    message: AnswerMessage | None = None
    who = note = ""
    try:
        async with contextlib.aclosing(desk.service.chat.answer(ask)) as events:
            async for event in events:
                if isinstance(event, Started):
                    who = stand_in(event.adapter, event.instead_of)
                elif isinstance(event, Delta) and (message is not None or event.text.strip()):
                    if message is None:
                        message = AnswerMessage(desk.api, place, ask.reply_id, desk.pace)
                    message.add(event.text)
                    if message.stopped:
                        break
                elif isinstance(event, Ended) and event.finish_reason == "length":
                    note = CUT_AT_LENGTH
    except asyncio.CancelledError:
        if message is not None:
            await message.finish(STOPPING)
        raise
    except UnderstudyError as error:
        if message is None:
            raise
        note = str(error)
    except Exception:
        if message is None:
            raise
        log.exception("The answer %s failed", ask.reply_id)
        note = OUR_FAULT
    if message is None:
        raise NoAnswer("The model had nothing to say to that. Try other words.")
    return await message.finish(_both(note, who))


async def answer_privately(desk: Desk, ask: Ask) -> str:
    """The whole answer of `/understudy ask`, with a note when it broke off."""
    parts: list[str] = []
    who = note = ""
    try:
        async with contextlib.aclosing(desk.service.chat.answer(ask)) as events:
            async for event in events:
                if isinstance(event, Started):
                    who = stand_in(event.adapter, event.instead_of)
                elif isinstance(event, Delta):
                    parts.append(event.text)
                elif isinstance(event, Ended) and event.finish_reason == "length":
                    note = CUT_AT_LENGTH
    except UnderstudyError as error:
        if not parts:
            raise
        note = str(error)
    text = "".join(parts)
    if not text.strip():
        raise NoAnswer("The model had nothing to say to that. Try other words.")
    below = _both(note, who)
    return f"{text}\n\n_{below}_" if below else text


def _both(note: str, who: str) -> str:
    """What went wrong with an answer, and who stood in for whom; either may be ''."""
    return f"{note} {who}".strip()


async def _show_status(desk: Desk, place: Place, status: str) -> None:
    """What Slack shows while people wait; an answer does not depend on it."""
    try:
        await desk.api.quick.assistant_threads_setStatus(
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
