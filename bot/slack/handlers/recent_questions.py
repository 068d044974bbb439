"""A person's recent questions on the Home tab, with the question whether each answer helped.

Only the person who asked is asked, and only about a complete answer that was shown alone: for two
answers in one message it would be unclear which one is meant. The rating is the same as `helped`
over HTTP.
"""

from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from bot.slack.render import form_fields
from bot.slack.render.blocks import Block, ago, one_line, section
from data.conversations import conversations
from data.feedback import feedback
from data.store.clock import now_us
from data.store.db import rows
from data.store.errors import Invalid

HELPED = "home_helped:"  # prefix of the buttons' action ids
LABELS = {"yes": "It helped", "no": "It did not help"}
ANSWERED = {1.0: "You said it helped.", 0.0: "You said it did not help."}
THUMBS = {1.0: " :+1:", 0.0: " :-1:"}
MAX_QUESTIONS = 5
RECENT_US = 7 * 24 * 3600 * 1_000_000  # older answers have no buttons


@dataclass(frozen=True)
class RecentQuestion:
    text: str
    at: int  # microseconds since the epoch
    status: str
    thumb: float | None = None
    helped: float | None = None  # 1: it helped, 0: it did not
    reply_id: str = ""  # '' if the person is not asked whether the answer helped


# The person is asked about an answer that is complete, was shown alone, was not regenerated, and is
# not the rest of another answer. An answer without text counts as failed.
RECENT_QUESTIONS = """
SELECT m.text, m.created_at AS at, t.value AS thumb, h.value AS helped,
       CASE WHEN r.status = 'done' AND a.id IS NULL THEN 'failed' ELSE r.status END AS status,
       CASE WHEN r.status = 'done' AND a.id IS NOT NULL AND r.created_at >= :since
            AND r.continues IS NULL
            AND NOT EXISTS (SELECT 1 FROM replies anew WHERE anew.again_of = r.id)
            AND NOT EXISTS (
                SELECT 1 FROM pairings p WHERE p.first_reply = r.id OR p.second_reply = r.id
            )
       THEN r.id ELSE '' END AS reply_id
FROM messages m JOIN replies r ON r.id = m.reply_id JOIN conversations c ON c.id = m.conversation_id
LEFT JOIN messages a ON a.reply_id = r.id AND a.role = 'assistant'
AND trim(a.text, ' ' || char(9, 10, 13)) <> ''
LEFT JOIN feedback t ON t.reply_id = r.id AND t.person = m.person AND t.kind = 'thumb'
AND t.live = 1
LEFT JOIN feedback h ON h.reply_id = r.id AND h.person = m.person AND h.kind = 'follow_up'
AND h.live = 1
WHERE m.person = :who AND m.role = 'user'
AND c.thread NOT LIKE '%/beside/%' -- the same question, asked again for a second answer
ORDER BY m.id DESC LIMIT :most
"""


def read(db: Database, who: str) -> list[RecentQuestion]:
    """The person's last questions, newest first."""
    given = {"who": who, "since": now_us() - RECENT_US, "most": MAX_QUESTIONS}
    return [RecentQuestion(**r) for r in rows(db, RECENT_QUESTIONS, given)]


def helped_button(action: dict[str, Any]) -> tuple[str, bool]:
    """The reply id of a pressed button, and whether the answer helped. Raises Invalid."""
    choice, _, reply_id = str(action.get("value") or "").partition(":")
    if choice not in LABELS or not reply_id:
        raise Invalid("I don't recognise that button. Please open the Home tab again.")
    return reply_id, choice == "yes"


def record_helped(db: Database, reply_id: str, who: str, helped: bool, at: int) -> None:
    """Store whether an answer helped, as pressed at `at` (microseconds since the epoch, by Slack's
    clock). A press that is older than the newest known one, or a repeated one, changes nothing.

    Raises as `feedback.follow_up` does, and Forbidden unless `who` asked the question."""
    feedback.require_asker(db, reply_id, who)
    if conversations.is_newest(db, "slack:helped", reply_id, at):
        feedback.follow_up(db, reply_id, who, helped)


# -- showing ---------------------------------------------------------------------------------


def shown(found: list[RecentQuestion]) -> list[Block]:
    """At most two blocks for each question."""
    return [block for question in found for block in _blocks(question)] or [section("None yet.")]


def _blocks(question: RecentQuestion) -> list[Block]:
    line = _line(question)
    if not question.reply_id:
        return [section(line)]
    if question.helped is None:
        buttons = [_button(question, choice) for choice in LABELS]
        return [section(f"{line}\nDid it help?"), {"type": "actions", "elements": buttons}]
    answered = section(f"{line}\n{ANSWERED[question.helped]}")
    return [{**answered, "accessory": _button(question, "no" if question.helped == 1 else "yes")}]


def _button(question: RecentQuestion, choice: str) -> Block:
    return form_fields.button(f"{HELPED}{choice}", LABELS[choice], f"{choice}:{question.reply_id}")


def _line(question: RecentQuestion) -> str:
    thumb = "" if question.thumb is None else THUMBS[question.thumb]
    failed = ", not answered" if question.status == "failed" else ""
    return f"• {one_line(question.text, 200)} _({ago(question.at)}{failed})_{thumb}"
