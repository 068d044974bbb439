"""What the bot listens to in a Slack channel: every message, mentions (the default), or nothing."""

from typing import Literal, get_args

from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import row

Listens = Literal["all", "mentions", "off"]
LISTENS: tuple[Listens, ...] = get_args(Listens)


def listens(db: Database, team: str, channel: str) -> Listens:
    """What the bot listens to in a channel."""
    sql = "SELECT listens FROM slack_channels WHERE team = ? AND channel = ?"
    found = row(db, sql, [team, channel])
    return "mentions" if found is None else found["listens"]


def set_listens(db: Database, team: str, channel: str, to: Listens, by: str) -> None:
    """Set what the bot listens to in a channel."""
    db.execute("DELETE FROM slack_channels WHERE team = ? AND channel = ?", [team, channel])
    if to != "mentions":
        db.execute(
            "INSERT INTO slack_channels (team, channel, listens, set_by, set_at) "
            "VALUES (?, ?, ?, ?, ?)",
            [team, channel, to, by, now_us()],
        )
