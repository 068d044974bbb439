"""What stands under an answer: notes about an error, a fallback or a cut, what the answer rests on,
and the buttons."""

from sqlite_utils import Database

from bot.answering.events import fallback_note
from bot.answering.prompt import Ask
from bot.slack.handlers import refusal_buttons
from bot.slack.render import answer_sources, blocks
from bot.slack.render.blocks import Block
from bot.slack.workspace.context import WorkspaceContext
from data.conversations import conversations
from data.pairs import reply_sources
from data.slack.question_queue import EarlierAttempt

CUT_AT_LENGTH = "The answer reached its maximum length. Press Continue to read the rest."
LENGTH = "length"  # the engine's finish reason for an answer that reached its maximum length
BROKE_OFF = "Something went wrong on our side during this answer. Please ask again."


async def below(
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
        reply_id,
        notes,
        read=ask.quoted.read,
        cut=cut,
        rest=rest,
        generated=generated,
        grounds=grounds,
    )


async def below_finished(
    workspace: WorkspaceContext, ask: Ask, earlier: EarlierAttempt
) -> list[Block]:
    note = BROKE_OFF if earlier.error == "internal error" else earlier.error
    fallback = fallback_note(earlier.adapter, earlier.instead_of)
    reply_id, reason = earlier.reply_id, earlier.finish_reason
    return await below(workspace, ask, reply_id, note, fallback, reason)


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
