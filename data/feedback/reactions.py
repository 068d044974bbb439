"""Marks: the buttons and emoji under an answer, of which the newest that stands is the thumb.

Slack delivers late, twice, and in any order, and says nothing when a button is un-pressed. So each
mark of a person (the button, each emoji of its own) remembers when it was last set or taken back
by the person's own clock, and older news of the same mark changes nothing. The thumb that counts
is that of the newest mark that stands, whatever order the news came in. A mark on an answer that
is still being written waits for its end (`settle`).
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
    db: Database, reply_id: str, person: str, mark: str, *, up: bool, standing: bool, at: int
) -> bool:
    """A person set a mark or took it back, at `at` (microseconds since the epoch). False when
    that changes nothing: it came before, or something newer did.

    Raises NotFound for an answer that is not there, Conflict for one that failed."""
    news = changed(
        db,
        "INSERT INTO marks (reply_id, person, mark, up, standing, at) SELECT ?, ?, ?, ?, ?, ? "
        "WHERE EXISTS (SELECT 1 FROM replies WHERE id = ?) "
        "ON CONFLICT (reply_id, person, mark) DO UPDATE SET up = excluded.up, "
        "standing = excluded.standing, at = excluded.at WHERE excluded.at > at",
        [reply_id, person, mark, up, standing, at, reply_id],
    )
    reply = conversations.reply(db, reply_id)
    if news and reply.status != "streaming":
        _judge(db, reply_id, person)
    return bool(news)


def settle_thumb(db: Database, reply_id: str) -> None:
    """The answer has ended: what was marked meanwhile counts."""
    if conversations.reply(db, reply_id).status not in feedback.ANSWERED:
        return
    for r in rows(db, "SELECT DISTINCT person FROM marks WHERE reply_id = ?", [reply_id]):
        _judge(db, reply_id, r["person"])


def _judge(db: Database, reply_id: str, person: str) -> None:
    newest = row(db, NEWEST, [reply_id, person])
    if newest is None:
        feedback.withdraw(db, reply_id, person, "thumb")
    else:
        feedback.thumb(db, reply_id, person, bool(newest["up"]))
