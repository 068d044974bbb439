"""What an answer rests on, as blocks below it: its sources, or, under a refusal, buttons for the
nearest questions and for a person's answer. Pure functions."""

import re

from bot.answering import source_wording
from bot.slack.render import form_fields
from bot.slack.render.blocks import Block, context, mention, one_line, shorten
from data.conversations.conversations import Outcome
from data.pairs.reply_sources import Source

SUGGESTION = "suggestion:"  # prefix of the buttons' action ids
SUGGESTED = re.compile(f"^{SUGGESTION}")
PERSON = "want-person"
MAX_SOURCES = 4
SHOWN = 150  # characters of a source's question
LABEL = 75  # characters that Slack allows on a button


def sources_block(
    outcome: Outcome, layout: int, sources: tuple[Source, ...], *, uncertain: bool = False
) -> list[Block]:
    """The sources of an answer in small print; empty if it has none."""
    if not sources:
        return []
    title = source_wording.heading(outcome, layout, uncertain=uncertain)
    lines = [
        f"• {one_line(s.prompt, SHOWN)} ({source_wording.approval(s, mention(s.approved_by))})"
        for s in sources[:MAX_SOURCES]
    ]
    return [context("\n".join([f"{title}:", *lines]))]


def refusal_blocks(reply_id: str, suggestions: tuple[str, ...]) -> list[Block]:
    """Buttons for the nearest questions, and for a person's answer. A button names its question by
    its position."""
    buttons = [
        form_fields.button(f"{SUGGESTION}{n}", shorten(text, LABEL), f"{n} {reply_id}")
        for n, text in enumerate(suggestions)
    ]
    person = form_fields.button(PERSON, "Ask a person", reply_id)
    heading = [context(f"{source_wording.SUGGESTIONS}:")] if buttons else []
    return [*heading, {"type": "actions", "elements": [*buttons, person]}]


def handed_over(person: str, question: str, link: str) -> str:
    """The message to the people who answer what the bot cannot."""
    where = f" (<{link}|in this thread>)" if link else ""
    return f"{mention(person)} asked a question that I could not answer{where}:\n>{question}"
