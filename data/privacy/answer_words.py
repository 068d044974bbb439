"""Erases the words of one answer, as if it had not been stored. Its figures stay."""

from sqlite_utils import Database


def erase(db: Database, reply_id: str) -> None:
    """Delete the question and the answer of a reply, and its place among the unanswered questions.
    Ratings and corrections of it stay, as do the pairs that came from these."""
    db.execute("DELETE FROM unanswered WHERE reply_id = ?", [reply_id])
    db.execute("DELETE FROM messages WHERE reply_id = ?", [reply_id])
