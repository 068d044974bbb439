"""The answer to `/understudy ask`, which only the person who asked sees."""

import contextlib

from bot.answering.events import Delta, Ended, Started, fallback_note
from bot.answering.prompt import Ask
from bot.slack.client.stream import SlackPlace
from bot.slack.handlers import answer_notes
from bot.slack.handlers.answer_stream import EMPTY_ANSWER, NoAnswer
from bot.slack.render import blocks
from bot.slack.render.blocks import Block
from bot.slack.render.message_split import reopened
from bot.slack.workspace.context import WorkspaceContext
from bot.slack.workspace.question_worker import QuestionLease
from data.slack.question_queue import EarlierAttempt
from data.store.errors import UnderstudyError


async def answer_privately(
    workspace: WorkspaceContext,
    lease: QuestionLease,
    place: SlackPlace,
    ask: Ask,
    earlier: EarlierAttempt | None,
) -> None:
    """The answer to `/understudy ask`, which only the person who asked sees."""
    if earlier is not None:
        text, below = earlier.text, await answer_notes.below_finished(workspace, ask, earlier)
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
    below = await answer_notes.below(workspace, ask, ask.reply_id, note, fallback, finish_reason)
    return text, below
