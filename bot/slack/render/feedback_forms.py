"""The form behind 👎, which asks for a better answer, and the "Teach more" offer behind 👍."""

from dataclasses import dataclass

import orjson

from bot.slack.render import form_fields
from bot.slack.render.blocks import Block, context, section

CORRECTION = "correction"
TEACH_MORE = "teach_more"
REASON, BETTER, LEARN = "reason", "better", "learn"

CONSENT = "The bot may learn from what I write here"
OPTED_OUT = (
    "You have opted out of learning, so I will not learn from this. You can change that on the "
    "Home tab."
)


@dataclass(frozen=True)
class EarlierFeedback:
    """The feedback that a person gave on an answer before."""

    reason: str = ""
    better: str = ""
    learn: bool = False  # they agreed that the bot may learn the better answer
    opted_out: bool = False


def correction(reply_id: str, channel: str, thread_ts: str, earlier: EarlierFeedback) -> Block:
    """The form that asks what was wrong and for a better answer. Both are optional. The bot learns
    only if the box is ticked, and the box starts unticked unless the person ticked it before."""
    shown = [
        form_fields.text_input(
            REASON, "What was wrong?", "Out of date, too long, made up, …", earlier.reason
        ),
        form_fields.text_input(
            BETTER, "A better answer", "The answer that you would have liked", earlier.better
        ),
    ]
    if earlier.opted_out:
        shown.append(context(OPTED_OUT))
    else:
        hint = (
            "A reviewer checks it first. If you leave the box empty, your answer is kept as "
            "feedback only."
        )
        shown.append(form_fields.checkbox(LEARN, "Learning", CONSENT, earlier.learn, hint))
    where = orjson.dumps([reply_id, channel, thread_ts]).decode()
    return form_fields.modal(CORRECTION, "What would be better?", shown, where, "Send", "Not now")


def teach_more(reply_id: str) -> list[Block]:
    """The offer to a person who liked an answer."""
    button = {
        "type": "button",
        "action_id": TEACH_MORE,
        "text": form_fields.plain("Teach more"),
        "value": reply_id,
    }
    text = "Thank you. Do you know another question that this answers, or a better wording?"
    return [section(text), {"type": "actions", "elements": [button]}]


def thanks(better: str, not_learned: str) -> str:
    """The reply to a submitted form. `not_learned` says why the bot does not learn the better
    answer ("because …"); it is empty if the answer waits for review."""
    if not better:
        return "Thank you. I have noted what was wrong with the answer."
    if not not_learned:
        return (
            "Thank you. Your answer is waiting for review. Once it is approved, I will learn from "
            "it. You can follow its status on your Home tab."
        )
    return f"Thank you. I keep your answer as feedback and will not learn from it {not_learned}."
