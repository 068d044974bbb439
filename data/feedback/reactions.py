"""Reactions: the buttons and emoji under an answer. The latest active one is the person's thumb.

Slack delivers events late, twice and in any order, and sends none when a button is released. So the
table `marks` has a row for each reaction of a person: the button, and each emoji separately. The
row keeps the time of the event that last set or removed the reaction, and older events do not
change it. The thumb is the latest active reaction, in whatever order the events arrive. A reaction
to an answer that is still being written takes effect when the answer ends (`settle_thumb`).
"""

from sqlite_utils import Database

from data.conversations import conversations
from data.feedback import feedback
from data.store.db import changed, row, rows

BUTTON = "button"

NEWEST = """
SELECT up FROM marks WHERE reply_id = ? AND person = ? AND standing = 1
ORDER BY at DESC, mark = 'button' DESC, mark DESC LIMIT 1
"""


def put(
    db: Database, reply_id: str, person: str, reaction: str, *, up: bool, active: bool, at: int
) -> bool:
    """Record that a person set a reaction or removed it (`active`), at `at` in microseconds since
    the epoch. Returns False if nothing changes, because this event or a later one is already
    known.

    Raises NotFound for an unknown answer, and Conflict for one that failed."""
    is_new = changed(
        db,
        "INSERT INTO marks (reply_id, person, mark, up, standing, at) SELECT ?, ?, ?, ?, ?, ? "
        "WHERE EXISTS (SELECT 1 FROM replies WHERE id = ?) "
        "ON CONFLICT (reply_id, person, mark) DO UPDATE SET up = excluded.up, "
        "standing = excluded.standing, at = excluded.at WHERE excluded.at > at",
        [reply_id, person, reaction, up, active, at, reply_id],
    )
    reply = conversations.reply(db, reply_id)
    if is_new and reply.status != "streaming":
        _apply_thumb(db, reply_id, person)
    return bool(is_new)


def settle_thumb(db: Database, reply_id: str) -> None:
    """Apply the reactions that people set while the answer was being written."""
    if conversations.reply(db, reply_id).status not in feedback.ANSWERED:
        return
    for r in rows(db, "SELECT DISTINCT person FROM marks WHERE reply_id = ?", [reply_id]):
        _apply_thumb(db, reply_id, r["person"])


def _apply_thumb(db: Database, reply_id: str, person: str) -> None:
    newest = row(db, NEWEST, [reply_id, person])
    if newest is None:
        feedback.withdraw(db, reply_id, person, "thumb")
    else:
        feedback.thumb(db, reply_id, person, bool(newest["up"]))
