"""Block Kit, built by pure functions that keep Slack's limits.

Answers are `markdown` blocks (mrkdwn would show a table as pipes); everything the bot says about
itself is a mrkdwn section. Text from outside goes through `escape` before it enters mrkdwn.
"""

import re
from typing import Any

from bot.slack.render.message_split import split
from bot.slack.render.slack_wording import in_slack
from data.store.clock import now_us

Block = dict[str, Any]

MARKDOWN = 12_000  # characters of markdown blocks in one message
SECTION = 3_000
A_MOMENT_S = 10
PERSON = re.compile(r"\bslack:[A-Z0-9]{2,20}/([A-Z0-9]{2,20})\b")

FEEDBACK = "feedback"
AGAIN, CONTINUE = "again", "continue"


def escape(text: str) -> str:
    """Text as mrkdwn shows it: no mention, no link comes out of it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def sentence(text: str) -> str:
    """What an error says, as mrkdwn and with the commands that Slack has; only mentions of people
    stay mentions, and people named as `slack:T1/U2` become ones."""
    mentions = re.sub(r"&lt;@([A-Z0-9]{2,20})&gt;", r"<@\1>", escape(in_slack(text)))
    return PERSON.sub(r"<@\1>", mentions)


def plain(text: str) -> str:
    """What an error says below an input of a form, where Slack shows nobody's name."""
    return PERSON.sub("somebody else", in_slack(text))


def shorten(text: str, limit: int) -> str:
    """`text`, or its beginning and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(text: str, limit: int) -> str:
    """Somebody's words on one line, as mrkdwn shows them."""
    return escape(shorten(" ".join(text.split()), limit))


def notice(text: str) -> str:
    """What a notification says of an answer."""
    return shorten(" ".join(text.split()), 300) or "…"


def notice_of(content: list[Block]) -> str:
    """What a notification says of a message: its first words."""
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
    return {"type": "markdown", "text": text}


def feedback(reply_id: str) -> Block:
    """👍 and 👎 under an answer; the value says which answer it was."""
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
                    "accessibility_label": "This answer is bad; say what would be better",
                },
            }
        ],
    }


def below_answer(
    reply_id: str, note: str = "", *, cut: bool = False, rest: bool = False
) -> list[Block]:
    """What stands under an answer: what went wrong with it, if anything, the thumbs, and the
    buttons for another one; for its rest, where it was `cut`. What is itself the `rest` of an
    answer is not written anew."""
    noted = [context(f":warning: {escape(note)}")] if note else []
    more = [_button(CONTINUE, "Continue", reply_id, "primary")] if cut else []
    anew = [] if rest else [_button(AGAIN, "Regenerate", reply_id)]
    buttons: list[Block] = [{"type": "actions", "elements": [*more, *anew]}] if more + anew else []
    return [*noted, feedback(reply_id), *buttons]


def _button(action_id: str, text: str, value: str, style: str = "") -> Block:
    return {
        "type": "button",
        "action_id": action_id,
        "text": {"type": "plain_text", "text": text},
        "value": value,
        **({"style": style} if style else {}),
    }


def answers(text: str, below: list[Block]) -> list[list[Block]]:
    """A whole answer as the blocks of one or more messages; `below` stands under the last."""
    parts = [part.text for part in split(text, MARKDOWN) if part.text.strip()]
    messages: list[list[Block]] = [[markdown(part)] for part in parts] or [[]]
    messages[-1] += below
    return messages


# -- words ---------------------------------------------------------------------------------------


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
    return f"{duration(seconds)} ago" if seconds >= A_MOMENT_S else "just now"


def mention(person: str) -> str:
    """`slack:T1/U2` as a mention, anything else as it is."""
    front, _, rest = person.partition(":")
    user = rest.rpartition("/")[2]
    return f"<@{user}>" if front == "slack" and user.isalnum() else escape(person)
