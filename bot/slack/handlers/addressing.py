"""Whether a question was meant for the bot, or is a message in a channel where it answers all."""

from bot.slack.render import message_text
from bot.slack.workspace.context import WorkspaceContext
from data.slack.question_queue import QueuedQuestion


def addressed_to_us(question: QueuedQuestion, me: str) -> bool:
    """False for a message without a mention in a thread where the bot takes part."""
    pressed = question.again_of or question.continues or question.response_url
    return (
        bool(pressed)
        or question.channel.startswith("D")
        or message_text.mentions(question.text, me)
    )


def unasked(workspace: WorkspaceContext, question: QueuedQuestion) -> bool:
    """Whether nobody addressed the bot: a new message in a channel where it answers everything."""
    is_new = question.thread_ts == question.asked_ts
    return is_new and not addressed_to_us(question, workspace.identity.bot_user)
