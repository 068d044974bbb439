"""A person's recent questions on the Home tab, and whether the answers helped.

That is asked some time after an answer, of who asked, where the answer was whole and shown alone:
between two answers it would not say which it means. It is the same judgement as `helped` over HTTP.
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

HELPED = "home_helped:"  # how the buttons' action ids begin
LABELS = {"yes": "It helped", "no": "It did not"}
SAID = {1.0: "You said it helped.", 0.0: "You said it did not help."}
THUMBS = {1.0: " :+1:", 0.0: " :-1:"}
MOST = 5
RECENT_US = 7 * 24 * 3600 * 1_000_000  # later nobody is asked, or changes what was said


@dataclass(frozen=True)
class Asked:
    text: str
    at: int  # microseconds since the epoch
    status: str
    thumb: float | None = None
    helped: float | None = None  # 1 it did, 0 it did not
    reply_id: str = ""  # '' where nobody is asked whether it helped


# Asked about is what was whole, shown alone, not written anew since, and no rest of another answer.
# An answer without a word was none.
ASKED = """
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
AND c.thread NOT LIKE '%/beside/%' -- asked a second time
ORDER BY m.id DESC LIMIT :most
"""


def read(db: Database, who: str) -> list[Asked]:
    """What the person asked last, newest first."""
    given = {"who": who, "since": now_us() - RECENT_US, "most": MOST}
    return [Asked(**r) for r in rows(db, ASKED, given)]


def helped_button(action: dict[str, Any]) -> tuple[str, bool]:
    """The reply that a press of a button speaks of, and whether it helped. Raises Invalid."""
    said, _, reply_id = str(action.get("value") or "").partition(":")
    if said not in LABELS or not reply_id:
        raise Invalid("That button says nothing that I know. Open the Home tab again.")
    return reply_id, said == "yes"


def say(db: Database, reply_id: str, who: str, helped: bool, at: int) -> None:
    """Store what was said at `at` (microseconds since the epoch, by Slack's clock); what was said
    before the newest that is known, or is told a second time, changes nothing.

    Raises as `feedback.follow_up` does, and Forbidden for others than who asked."""
    feedback.require_asker(db, reply_id, who)
    if conversations.is_newest(db, "slack:helped", reply_id, at):
        feedback.follow_up(db, reply_id, who, helped)


# -- showing ---------------------------------------------------------------------------------


def shown(found: list[Asked]) -> list[Block]:
    """At most two blocks for each question."""
    return [block for asked in found for block in _one(asked)] or [section("None yet.")]


def _one(asked: Asked) -> list[Block]:
    line = _line(asked)
    if not asked.reply_id:
        return [section(line)]
    if asked.helped is None:
        buttons = [_button(asked, said) for said in LABELS]
        return [section(f"{line}\nDid it help?"), {"type": "actions", "elements": buttons}]
    other = "no" if asked.helped == 1 else "yes"
    return [{**section(f"{line}\n{SAID[asked.helped]}"), "accessory": _button(asked, other)}]


def _button(asked: Asked, said: str) -> Block:
    return form_fields.button(f"{HELPED}{said}", LABELS[said], f"{said}:{asked.reply_id}")


def _line(asked: Asked) -> str:
    thumb = "" if asked.thumb is None else THUMBS[asked.thumb]
    failed = ", not answered" if asked.status == "failed" else ""
    return f"• {one_line(asked.text, 200)} _({ago(asked.at)}{failed})_{thumb}"
