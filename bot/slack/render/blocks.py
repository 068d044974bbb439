"""Block Kit elements that stay within Slack's limits, built by pure functions.

Answers are `markdown` blocks, because mrkdwn would show a table as pipes. The bot's own messages
are mrkdwn sections. Text from outside goes through `escape` before it enters mrkdwn.
"""

import re
from collections.abc import Sequence
from typing import Any

from bot.slack.render.message_split import split
from bot.slack.render.slack_wording import in_slack
from data.store.clock import now_us
from data.visible_text import visible

Block = dict[str, Any]

MARKDOWN = 12_000  # characters of all markdown blocks of one message
SECTION = 3_000  # characters of one section
JUST_NOW_S = 10
PERSON = re.compile(r"\bslack:[A-Z0-9]{2,20}/([A-Z0-9]{2,20})\b")

FEEDBACK = "feedback"
REGENERATE, CONTINUE = "again", "continue"  # "again" is in messages that were posted long ago


def escape(text: str) -> str:
    """Text that mrkdwn shows literally, without mentions or links."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def sentence(text: str) -> str:
    """An error message as mrkdwn, with Slack's commands in place of the command line's. Mentions of
    people and channels stay mentions, and a person named as `slack:T1/U2` becomes one."""
    mentions = re.sub(r"&lt;([@#][A-Z0-9]{2,20})&gt;", r"<\1>", escape(in_slack(text)))
    return PERSON.sub(r"<@\1>", mentions)


def plain(text: str) -> str:
    """An error message below a form input, where Slack does not show mentions."""
    named = PERSON.match(text) is not None  # then the sentence begins with "someone"
    shown = PERSON.sub("someone else", in_slack(text))
    return visible(shown[:1].upper() + shown[1:] if named else shown)


def without_mentions(text: str) -> str:
    """Text of people for a `sentence`, which would otherwise make its mentions real ones."""
    return text.replace("<", "‹").replace(">", "›")


def shorten(text: str, limit: int) -> str:
    """`text`, cut to `limit` characters with an ellipsis at the end if it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(text: str, limit: int) -> str:
    """A person's text on one line, escaped for mrkdwn."""
    return escape(shorten(" ".join(text.split()), limit))


def notice(text: str) -> str:
    """The text of the notification for an answer."""
    return shorten(" ".join(text.split()), 300) or "…"


def notice_of(content: list[Block]) -> str:
    """The text of the notification for a message: its first block with text."""
    for block in content:
        text = block.get("text", "")
        words = text if isinstance(text, str) else str(text.get("text", ""))
        if words:
            return notice(words)
    return "…"


def section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": shorten(text, SECTION)}}


def context(text: str) -> Block:
    return {
        "type": "context",
        "elements": [{"type": "mrkdwn", "text": shorten(text, SECTION)}],
    }


def markdown(text: str) -> Block:
    return {"type": "markdown", "text": visible(text)}


def feedback(reply_id: str) -> Block:
    """👍 and 👎 under an answer. The button's value holds the reply id."""
    return {
        "type": "context_actions",
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": FEEDBACK,
                "positive_button": {
                    "text": {"type": "plain_text", "text": "Good answer"},
                    "value": f"up:{reply_id}",
                    "accessibility_label": "This answer is good",
                },
                "negative_button": {
                    "text": {"type": "plain_text", "text": "Bad answer"},
                    "value": f"down:{reply_id}",
                    "accessibility_label": "This answer is bad; suggest a better one",
                },
            }
        ],
    }


def below_answer(
    reply_id: str,
    note: str = "",
    *,
    read: str = "",
    cut: bool = False,
    rest: bool = False,
    generated: bool = True,
    grounds: Sequence[Block] = (),
) -> list[Block]:
    """The blocks under an answer: a note about a problem, if any, what was `read` with the
    question, what the answer rests on, the 👍 and 👎 buttons, and Regenerate. An answer that was
    `cut` also gets Continue. The `rest` of an answer can't be regenerated, nor can one that no
    model `generated`."""
    notes = [context(f":warning: {escape(note)}")] if note else []
    notes += [context(f":page_facing_up: {escape(read)}")] if read else []
    follow_ups = [_button(CONTINUE, "Continue", reply_id, "primary")] if cut else []
    if generated and not rest:
        follow_ups.append(_button(REGENERATE, "Regenerate", reply_id))
    buttons: list[Block] = [{"type": "actions", "elements": follow_ups}] if follow_ups else []
    return [*notes, *grounds, feedback(reply_id), *buttons]


def _button(action_id: str, text: str, value: str, style: str = "") -> Block:
    return {
        "type": "button",
        "action_id": action_id,
        "text": {"type": "plain_text", "text": text},
        "value": value,
        **({"style": style} if style else {}),
    }


def answers(text: str, below: list[Block]) -> list[list[Block]]:
    """A complete answer as the blocks of one or more messages, with `below` under the last one."""
    parts = [part.text for part in split(visible(text), MARKDOWN) if part.text.strip()]
    messages: list[list[Block]] = [[markdown(part)] for part in parts] or [[]]
    messages[-1] += below
    return messages


# -- formatting ----------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """`42 s`, `3 min`, `1 h 20 min`, `5 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if minutes < 90:
        return f"{minutes} min"
    if hours >= 48:
        return f"{round(hours / 24)} days"
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def ago(us: int) -> str:
    """How long ago `us` (epoch microseconds) was."""
    seconds = (now_us() - us) / 1_000_000
    return f"{duration(seconds)} ago" if seconds >= JUST_NOW_S else "just now"


def mention(person: str) -> str:
    """`slack:T1/U2` as a mention; any other name unchanged."""
    front, _, rest = person.partition(":")
    user = rest.rpartition("/")[2]
    return f"<@{user}>" if front == "slack" and user.isalnum() else escape(person)
