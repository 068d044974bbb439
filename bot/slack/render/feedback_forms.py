"""What 👎 and 👍 offer: the form for the better answer, and the button behind "teach more"."""

from dataclasses import dataclass

import orjson

from bot.slack.render import form_fields
from bot.slack.render.blocks import Block, context, section

CORRECTION = "correction"
TEACH_MORE = "teach_more"
REASON, BETTER, LEARN = "reason", "better", "learn"

CONSENT = "What I write here may be learned"
OPTED_OUT = (
    "You have opted out of learning, so nothing is learned from this. Your Home tab changes that."
)


@dataclass(frozen=True)
class EarlierFeedback:
    """What a person said about an answer before."""

    reason: str = ""
    better: str = ""
    learn: bool = False  # they agreed to the better answer being learned
    opted_out: bool = False


def correction(reply_id: str, channel: str, thread_ts: str, earlier: EarlierFeedback) -> Block:
    """What was wrong, and the better answer. Both may stay empty; nothing is learned unless the
    box is ticked, and it never is beforehand, unless the person had ticked it."""
    shown = [
        form_fields.text_input(
            REASON, "What was wrong?", "Out of date, too long, made up, …", earlier.reason
        ),
        form_fields.text_input(
            BETTER, "The better answer", "As you would have liked to read it", earlier.better
        ),
    ]
    if earlier.opted_out:
        shown.append(context(OPTED_OUT))
    else:
        hint = "A reviewer reads it first. Without the tick it is kept as feedback only."
        shown.append(form_fields.checkbox(LEARN, "Learning", CONSENT, earlier.learn, hint))
    where = orjson.dumps([reply_id, channel, thread_ts]).decode()
    return form_fields.modal(CORRECTION, "What would be better?", shown, where, "Send", "Not now")


def teach_more(reply_id: str) -> list[Block]:
    """Offered to who liked an answer."""
    button = {
        "type": "button",
        "action_id": TEACH_MORE,
        "text": form_fields.plain("Teach more"),
        "value": reply_id,
    }
    text = "Thank you. Do you know another question that this answers, or a better way to say it?"
    return [section(text), {"type": "actions", "elements": [button]}]


def thanks(better: str, learning: str) -> str:
    """What is said when the form was sent; `learning` is '' when a pair was made of it, else why
    not."""
    if not better:
        return "Thank you. I have noted what was wrong with the answer."
    if not learning:
        return (
            "Thank you. Your answer waits for a reviewer; once approved, I learn from it. "
            "Your Home tab shows what becomes of it."
        )
    return f"Thank you. Your answer is kept as feedback; nothing is learned from it, {learning}."
